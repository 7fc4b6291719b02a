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
    HsmError,
    KeyRefused,
    MacMismatch,
    PinBlockInvalid,
)
from isoswitch.codecs.canonical.secrets import Pan
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions.pin import PERMITTED
from isoswitch.hsm.keys import Purpose
from isoswitch.hsm.payshield.fields import Values
from isoswitch.hsm.payshield.keys import UnitKey, UnitKeys
from isoswitch.hsm.payshield.layouts import KeyKind, Profile
from isoswitch.hsm.port import (
    DecryptData,
    EncryptData,
    GenerateMac,
    HashData,
    TranslatePin,
    VerifyMac,
)
from isoswitch.hsm.splicing import splice


@dataclass(frozen=True, slots=True)
class HostCommand:
    """The letters of a host command and the values of its fields."""

    code: str
    values: Values

    def __repr__(self) -> str:
        return f"HostCommand({self.code})"


@dataclass(frozen=True, slots=True)
class Context:
    """What a row may look at: the keys, the firmware, the result before."""

    keys: UnitKeys
    profile: Profile
    last: bytes


@dataclass(frozen=True, slots=True)
class Row:
    """How one payment command is run.

    ``requests`` gives the host commands to try until one verifies, ``result`` what the
    answer means to the caller.
    """

    requests: Callable[[Any, Context], Sequence[HostCommand]]
    result: Callable[[Values, Any], bytes]


ELSEWHERE = frozenset({EncryptData, DecryptData, HashData})
"""What these units do in other ways or not at all; another ``Hsm`` runs it."""


def account_number(pan: Pan) -> str:
    """Give the twelve digits before the check digit.

    Examples
    --------
    >>> account_number(Pan("4761739001010010"))
    '173900101001'
    """
    return pan.reveal()[-13:-1].rjust(12, "0")


def _verify_mac(command: VerifyMac, context: Context) -> list[HostCommand]:
    keys = context.keys.get_keys(command.key, Purpose.VERIFY_MAC)
    size = context.profile.mac_lengths.get(len(command.mac))
    if size is None:
        raise MacMismatch("the MAC does not match")
    requests = []
    for key in keys:
        values = _mac_values(key, command.data, size, context.profile)
        requests.append(HostCommand("M8", {**values, "mac": command.mac}))
    return requests


def _generate_mac(command: GenerateMac, context: Context) -> list[HostCommand]:
    key = context.keys.get_keys(command.key, Purpose.GENERATE_MAC)[0]
    size = context.profile.mac_lengths.get(command.length)
    if size is None:
        lengths = " or ".join(map(str, context.profile.mac_lengths))
        raise HsmError(f"a MAC of this unit has {lengths} bytes")
    data = command.data
    if command.splice is not None:
        data = splice(data, context.last, command.splice)
    return [HostCommand("M6", _mac_values(key, data, size, context.profile))]


def _mac_values(key: UnitKey, data: bytes, size: str, profile: Profile) -> Values:
    algorithm = profile.mac_algorithms.get(key.plan.usage)
    if algorithm is None:
        raise KeyRefused(f"the unit makes no MAC with a key of usage {key.plan.usage}")
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
    sources = context.keys.get_keys(command.source, Purpose.DECRYPT_PIN)
    target = context.keys.get_keys(command.target, Purpose.ENCRYPT_PIN)[0]
    formats = context.profile.pin_formats
    if (command.source_format, command.target_format) not in PERMITTED:
        raise KeyRefused("this translation between PIN block formats is not permitted")
    if not {command.source_format, command.target_format} <= set(formats):
        raise KeyRefused("the unit does not know this PIN block format")
    _check_format(target, command.target_format)
    try:
        pan = Pan(command.pan)
    except ValueError:
        raise HsmError("the PAN has not 8 to 19 digits") from None
    requests = []
    for source in sources:
        _check_format(source, command.source_format)
        if len(command.block) != _BLOCK_BYTES[source.plan.algorithm]:
            raise PinBlockInvalid("the PIN block is not valid")
        values: Values = {
            "source": source.wrapped,
            "target": target.wrapped,
            "length max": "12",
            "block": command.block,
            "source format": formats[command.source_format],
            "target format": formats[command.target_format],
            "account": account_number(pan),
            "pan": pan.reveal(),
        }
        requests.append(HostCommand(_TRANSLATIONS[source.kind], values))
    return requests


def _nothing(_answer: Values, _command: object) -> bytes:
    return b""


def _bytes_of(name: str) -> Callable[[Values, object], bytes]:
    def result(answer: Values, _command: object) -> bytes:
        value = answer[name]
        assert isinstance(value, bytes), "the layout says so"
        return value

    return result


ROWS: Mapping[type, Row] = {
    VerifyMac: Row(_verify_mac, _nothing),
    GenerateMac: Row(_generate_mac, _bytes_of("mac")),
    TranslatePin: Row(_translate_pin, _bytes_of("block")),
}
"""Every payment command that a unit runs."""

# From a terminal's key or from another zone's.
_TRANSLATIONS: Mapping[KeyKind, str] = {KeyKind.TPK: "CA", KeyKind.ZPK: "CC"}
_BLOCK_BYTES: Mapping[Algorithm, int] = {Algorithm.TDES: 8, Algorithm.AES: 16}
_FORMAT_4 = 4


def _check_format(key: UnitKey, pin_format: int) -> None:
    """Format 4 needs AES, and AES is for nothing but format 4 (PCI PIN 2-3)."""
    if (key.plan.algorithm is Algorithm.AES) != (pin_format == _FORMAT_4):
        raise KeyRefused("the PIN block format does not go with the key's algorithm")
