"""The payment commands of the port, as host commands: one row each.

A row says which host command is to be sent, once for each version of a key that may be
meant, and what of its answer is the result. Everything that needs no unit to be refused
is refused here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isoswitch.codecs.canonical.errors import (
    DecodeError,
    HsmError,
    KeyRefused,
    MacMismatch,
    NotSupported,
    PinBlockInvalid,
    VerificationFailed,
)
from isoswitch.codecs.canonical.secrets import Pan
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions.dukpt_tdes import split_ksn
from isoswitch.hsm.functions.emv import ArpcMethod, SessionKey, card_block
from isoswitch.hsm.functions.ibm3624 import Ibm3624Rule
from isoswitch.hsm.functions.mac import pad
from isoswitch.hsm.functions.pin import PERMITTED
from isoswitch.hsm.handlers.arguments import (
    check_digits,
    option_of,
    pan_of,
    version_of,
)
from isoswitch.hsm.keys import STANDARD_RULE, Purpose, State
from isoswitch.hsm.payshield.fields import Value, Values
from isoswitch.hsm.payshield.keys import UnitKey, UnitKeys
from isoswitch.hsm.payshield.layouts import KeyKind, Profile
from isoswitch.hsm.port import (
    DecryptData,
    EncryptData,
    GenerateMac,
    HashData,
    Random,
    ReadPublicKey,
    Sign,
    TranslatePin,
    VerifyCardValue,
    VerifyCryptogram,
    VerifyMac,
    VerifyOffset,
    VerifyPvv,
    VerifySignature,
)
from isoswitch.hsm.splicing import splice


@dataclass(frozen=True, slots=True)
class HostCommand:
    """The letters of a host command and the values of its fields.

    ``state`` and ``version`` are those of the key that the answer judges.
    """

    code: str
    values: Values
    state: State = State.ACTIVE
    version: int = 1

    def __repr__(self) -> str:
        return f"HostCommand({self.code})"


@dataclass(frozen=True, slots=True)
class Context:
    """What a row may look at: the keys, the firmware, the result before."""

    keys: UnitKeys
    profile: Profile
    ksn_descriptor: str
    last: bytes


@dataclass(frozen=True, slots=True)
class Row:
    """How one payment command is run.

    ``requests`` gives the host commands to try until one verifies, ``result`` what the
    fields of the answer mean to the caller.
    """

    requests: Callable[[Any, Context], Sequence[HostCommand]]
    result: Callable[[Values, HostCommand], bytes]


ELSEWHERE = frozenset(
    {
        DecryptData,
        EncryptData,
        HashData,
        Random,
        ReadPublicKey,
        Sign,
        VerifySignature,
    }
)
"""What these units do in other ways or not at all; another ``Hsm`` runs it."""


def account_number(pan: Pan) -> str:
    """Give the twelve digits before the check digit.

    Examples
    --------
    >>> account_number(Pan("4761739001010010"))
    '173900101001'
    """
    return pan.reveal()[-13:-1].rjust(12, "0")


def validation_data(pan: Pan, rule: Ibm3624Rule) -> str:
    """Give the data of a PIN offset, N for the last digits of the account number.

    Raises
    ------
    NotSupported
        The rule leaves them out, which these units cannot be told.

    Examples
    --------
    >>> rule = Ibm3624Rule(table="0123456789012345", start=4, length=11)
    >>> validation_data(Pan("4761739001010010"), rule)
    '739001NFFFFF'
    """
    cut = pan.reveal()[rule.start : rule.start + rule.length]
    whole = cut.ljust(16, rule.pad)[:16]
    account = account_number(pan)[-5:]
    # The latest place: the account number stands behind the issuer's number.
    start = whole.rfind(account)
    if start < 0:
        raise NotSupported("the unit knows no rule of PIN offsets like this key's")
    return f"{whole[:start]}N{whole[start + len(account) :]}"


def _verify_mac(command: VerifyMac, context: Context) -> list[HostCommand]:
    _refuse_terminals(command.ksn)
    keys = context.keys.get_keys(command.key, Purpose.VERIFY_MAC)
    size = context.profile.mac_lengths.get(len(command.mac))
    if size is None:
        raise MacMismatch("the MAC does not match")
    requests = []
    for key in keys:
        values = _mac_values(key, command.data, size, context.profile)
        values["mac"] = command.mac
        requests.append(HostCommand("M8", values, key.state, key.plan.version))
    return requests


def _generate_mac(command: GenerateMac, context: Context) -> list[HostCommand]:
    _refuse_terminals(command.ksn)
    key = context.keys.get_keys(command.key, Purpose.GENERATE_MAC)[0]
    size = context.profile.mac_lengths.get(command.length)
    if size is None:
        lengths = " or ".join(map(str, context.profile.mac_lengths))
        raise NotSupported(f"a MAC of this unit has {lengths} bytes")
    data = command.data
    if command.splice is not None:
        data = splice(data, context.last, command.splice)
    return [HostCommand("M6", _mac_values(key, data, size, context.profile))]


def _mac_values(
    key: UnitKey, data: bytes, size: str, profile: Profile
) -> dict[str, Value]:
    algorithm = profile.mac_algorithms.get(key.plan.usage)
    if algorithm is None:
        raise NotSupported(
            f"the unit makes no MAC with a key of usage {key.plan.usage}"
        )
    if len(data) > profile.message_bytes_max:
        raise HsmError("the message is longer than the unit takes")
    return {
        "mode": "0",  # the only block of its message
        "input": "0",  # bytes as they are
        "size": size,
        "algorithm": algorithm,
        "padding": str(key.plan.mac_padding),
        "key type": key.key_type,
        "key": key.wrapped,
        "message": data,
    }


def _translate_pin(command: TranslatePin, context: Context) -> list[HostCommand]:
    formats = context.profile.pin_formats
    purpose = _source_purpose(command.ksn)
    sources = context.keys.get_keys(command.source, purpose)
    target = context.keys.get_keys(command.target, Purpose.ENCRYPT_PIN)[0]
    if (command.source_format, command.target_format) not in PERMITTED:
        raise KeyRefused("this translation between PIN block formats is not permitted")
    for pin_format in (command.source_format, command.target_format):
        _check_known(pin_format, context.profile)
    _check_format(target, command.target_format)
    if target.kind is not KeyKind.ZPK:
        raise KeyRefused("the unit translates PIN blocks to zones only")
    pan = pan_of(command.pan)
    _check_block(sources, command.block, command.source_format, command.ksn)
    values: Values = {
        "target": target.wrapped,
        "length max": _PIN_DIGITS_MAX,
        "block": command.block,
        "source format": formats[command.source_format],
        "target format": formats[command.target_format],
        "account": account_number(pan),
        "pan": pan.reveal(),
        "ksn descriptor": context.ksn_descriptor,
        "ksn": command.ksn,
    }
    return [
        HostCommand(_TRANSLATIONS[key.kind], {**values, _NAMES[key.kind]: key.wrapped})
        for key in sources
    ]


def _verify_pvv(command: VerifyPvv, context: Context) -> list[HostCommand]:
    if not 0 <= command.index <= 9:
        raise HsmError("the index of a PIN verification key is 0 to 9")
    pvks = context.keys.get_keys(command.key, Purpose.VERIFY_PVV)
    sources = _sources(command, context, _PVV_COMMANDS)
    if not _is_digits(command.pvv, range(4, 5)):
        raise VerificationFailed(_NOT_VERIFIED)
    values: Values = {"index": str(command.index), "pvv": command.pvv}
    return [
        HostCommand(code, {**source, **values, "pvk": pvk.wrapped})
        for code, source in sources
        for pvk in pvks
    ]


def _verify_offset(command: VerifyOffset, context: Context) -> list[HostCommand]:
    pvks = context.keys.get_keys(command.key, Purpose.VERIFY_OFFSET)
    pan = pan_of(command.pan)
    sources = _sources(command, context, _OFFSET_COMMANDS)
    if not _is_digits(command.offset, range(4, 13)):
        raise VerificationFailed(_NOT_VERIFIED)
    requests = []
    for code, source in sources:
        for pvk in pvks:
            rule = pvk.plan.pin_rule or STANDARD_RULE
            values: Values = {
                "pvk": pvk.wrapped,
                "length max": _PIN_DIGITS_MAX,
                "length min": f"{len(command.offset):02d}",
                "table": rule.table,
                "validation": validation_data(pan, rule),
                "offset": command.offset.ljust(12, "F"),
            }
            requests.append(HostCommand(code, {**source, **values}))
    return requests


def _sources(
    command: VerifyPvv | VerifyOffset, context: Context, codes: Mapping[KeyKind, str]
) -> list[tuple[str, Values]]:
    """Give the command for each key that the PIN block may be under, and its fields."""
    _refuse_terminals(command.ksn)
    keys = context.keys.get_keys(command.source, Purpose.DECRYPT_PIN)
    pan = pan_of(command.pan)
    _check_known(command.source_format, context.profile)
    if command.source_format == _FORMAT_4:
        raise NotSupported("the unit verifies no PIN in a block of format 4")
    try:
        _check_block(keys, command.block, command.source_format)
    except PinBlockInvalid:
        raise VerificationFailed(_NOT_VERIFIED) from None
    values: Values = {
        "block": command.block,
        "format": context.profile.pin_formats[command.source_format],
        "account": account_number(pan),
    }
    return [
        (codes[key.kind], {**values, key.kind.lower(): key.wrapped}) for key in keys
    ]


def _verify_card_value(command: VerifyCardValue, context: Context) -> list[HostCommand]:
    cvks = context.keys.get_keys(command.key, Purpose.VERIFY_CARD_VALUE)
    pan = pan_of(command.pan)
    check_digits(command.expiry, 4, "expiry date")
    check_digits(command.service_code, 3, "service code")
    if not _is_digits(command.value, range(3, 4)):
        raise VerificationFailed("the card verification value does not verify")
    values: Values = {
        "cvv": command.value,
        "pan": pan.reveal(),
        "expiry": command.expiry,
        "service code": command.service_code,
    }
    return [HostCommand("CY", {**values, "cvk": cvk.wrapped}) for cvk in cvks]


def _verify_cryptogram(
    command: VerifyCryptogram, context: Context
) -> list[HostCommand]:
    masters = context.keys.get_keys(command.key, Purpose.VERIFY_CRYPTOGRAM)
    version = version_of(command.version)
    pan, option = pan_of(command.pan), option_of(command.option)
    check_digits(command.sequence, 2, "PAN sequence number")
    if command.answer and len(command.answer) not in _ANSWER_BYTES[version.arpc]:
        raise HsmError("this cryptogram version has no answer of this length")
    code, scheme = _CRYPTOGRAMS[version.session]
    # Where no session key takes it in, the unit still wants a number.
    unpredictable = command.unpredictable or bytes(4)
    if version.session is SessionKey.MCHIP:
        unpredictable = command.unpredictable
    if (len(command.atc), len(unpredictable), len(command.arqc)) != (2, 4, 8):
        raise VerificationFailed("the cryptogram does not verify")
    values: Values = {
        "mode": _MODES[version.arpc] if command.answer else "0",
        "scheme": scheme,
        "card": card_block(pan, sequence=command.sequence, option=option),
        "atc": command.atc,
        "unpredictable": unpredictable,
        "data": pad(command.data, version.padding, 8),
        "arqc": command.arqc,
        "arc": command.answer,
        "status": command.answer[:4],
        "proprietary": command.answer[4:],
    }
    return [HostCommand(code, {**values, "master": key.wrapped}) for key in masters]


def _nothing(_answer: Values, _request: HostCommand) -> bytes:
    return b""


def _pending_version(_answer: Values, request: HostCommand) -> bytes:
    is_pending = request.state is State.PENDING
    return str(request.version).encode() if is_pending else b""


def _mac(answer: Values, _request: HostCommand) -> bytes:
    return _octets(answer, "mac")


def _pin_block(answer: Values, _request: HostCommand) -> bytes:
    return _octets(answer, "block")


def _arpc(answer: Values, request: HostCommand) -> bytes:
    if "arpc" not in answer:
        return b""
    is_short = request.values["mode"] == _MODES[ArpcMethod.AUTHENTICATED]
    return _octets(answer, "arpc")[: 4 if is_short else 8]


ROWS: Mapping[type, Row] = {
    VerifyMac: Row(_verify_mac, _pending_version),
    GenerateMac: Row(_generate_mac, _mac),
    TranslatePin: Row(_translate_pin, _pin_block),
    VerifyPvv: Row(_verify_pvv, _nothing),
    VerifyOffset: Row(_verify_offset, _nothing),
    VerifyCardValue: Row(_verify_card_value, _nothing),
    VerifyCryptogram: Row(_verify_cryptogram, _arpc),
}
"""Every payment command that a unit runs."""

_NOT_VERIFIED = "the PIN does not verify"
_PIN_DIGITS_MAX = "12"
_FORMAT_4 = 4
_BLOCK_BYTES: Mapping[Algorithm, int] = {Algorithm.TDES: 8, Algorithm.AES: 16}

# From a terminal's key, from another zone's, from one that a terminal derives.
_TRANSLATIONS: Mapping[KeyKind, str] = {
    KeyKind.TPK: "CA",
    KeyKind.ZPK: "CC",
    KeyKind.BDK: "G0",
}
_NAMES: Mapping[KeyKind, str] = {
    KeyKind.TPK: "source",
    KeyKind.ZPK: "source",
    KeyKind.BDK: "bdk",
}

_PVV_COMMANDS: Mapping[KeyKind, str] = {KeyKind.TPK: "DC", KeyKind.ZPK: "EC"}
_OFFSET_COMMANDS: Mapping[KeyKind, str] = {KeyKind.TPK: "DA", KeyKind.ZPK: "EA"}

# The command and its scheme, by how the session key is made.
_CRYPTOGRAMS: Mapping[SessionKey, tuple[str, str]] = {
    SessionKey.NONE: ("KQ", "0"),
    SessionKey.MCHIP: ("KQ", "1"),
    SessionKey.COMMON: ("KW", "2"),
}
# Verify and answer.
_MODES: Mapping[ArpcMethod, str] = {
    ArpcMethod.ENCRYPTED: "1",
    ArpcMethod.AUTHENTICATED: "3",
}
_ANSWER_BYTES: Mapping[ArpcMethod, range] = {
    ArpcMethod.ENCRYPTED: range(2, 3),
    ArpcMethod.AUTHENTICATED: range(4, 13),
}


def _octets(answer: Values, name: str) -> bytes:
    value = answer[name]
    assert isinstance(value, bytes), "the layout says so"
    return value


def _is_digits(text: str, lengths: range) -> bool:
    return len(text) in lengths and text.isascii() and text.isdecimal()


def _source_purpose(ksn: bytes) -> Purpose:
    return Purpose.DERIVE_TRANSACTION_KEYS if ksn else Purpose.DECRYPT_PIN


def _refuse_terminals(ksn: bytes) -> None:
    if ksn:
        raise NotSupported("payment HSMs do this with no key that a terminal derives")


def _check_known(pin_format: int, profile: Profile) -> None:
    if pin_format not in profile.pin_formats:
        raise NotSupported("the unit does not know this PIN block format")


def _check_block(
    keys: Sequence[UnitKey], block: bytes, pin_format: int, ksn: bytes = b""
) -> None:
    """Refuse a block, or a terminal's serial number, that none of the keys can have."""
    for key in keys:
        if ksn and key.plan.algorithm is Algorithm.AES:
            raise NotSupported("the unit takes no AES key that a terminal derives")
        _check_format(key, pin_format)
        try:
            if ksn:
                split_ksn(ksn)
        except DecodeError:
            raise PinBlockInvalid("the PIN block is not valid") from None
        if len(block) != _BLOCK_BYTES[key.plan.algorithm]:
            raise PinBlockInvalid("the PIN block is not valid")


def _check_format(key: UnitKey, pin_format: int) -> None:
    """Format 4 needs AES, and AES is for nothing but format 4 (PCI PIN 2-3)."""
    if (key.plan.algorithm is Algorithm.AES) != (pin_format == _FORMAT_4):
        raise KeyRefused("the PIN block format does not go with the key's algorithm")
