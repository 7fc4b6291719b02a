"""A simulated payment HSM that takes payShield-style host commands by TCP.

It reads requests by the same layouts as the client writes them, and holds nothing but
the local master key that everybody knows: keys are worth no more than test values. It
also makes what only an issuer may make (CW), which the client has no command for.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import trio

from isoswitch.codecs.canonical.errors import (
    DecodeError,
    EncodeError,
    KeyRefused,
    VerificationFailed,
)
from isoswitch.codecs.canonical.secrets import KeyValue, Pan, Pin, PinBlock, Secret
from isoswitch.codecs.framing import get_framing
from isoswitch.hsm.engine import Algorithm, Use
from isoswitch.hsm.functions import cvv, emv, mac, pin, pvv
from isoswitch.hsm.functions.components import with_odd_parity
from isoswitch.hsm.functions.dukpt_tdes import BaseKey, TdesPurpose, TdesTerminals
from isoswitch.hsm.functions.emv import ArpcMethod, CryptogramVersion
from isoswitch.hsm.functions.kcv import check_values
from isoswitch.hsm.functions.key import ENCRYPT, Key, KeyPair
from isoswitch.hsm.functions.mac import MacAlgorithm, MacKey, Padding
from isoswitch.hsm.functions.pin import PinFormat, PinKey
from isoswitch.hsm.keys import MAC_ALGORITHMS
from isoswitch.hsm.octets import xor
from isoswitch.hsm.payshield.fields import KEY_BLOCK, Layout, Value, Values
from isoswitch.hsm.payshield.layouts import get_profile
from isoswitch.hsm.payshield.wire import (
    DONE,
    FRAME_BYTES_MAX,
    HEADER_CHARACTERS,
    decode_fields,
    encode_fields,
)
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.simulators.card_values import make_cvv
from isoswitch.simulators.payshield_keys import (
    ClearKey,
    UnitRefusal,
    unwrap,
    wrap_block,
    wrap_key,
)
from isoswitch.simulators.wire import Wire

LMK_CHECK_VALUE = "1122334455667788"
"""What the simulated unit reports of its local master key: any value of its own."""

FIRMWARE = "0000-0000"


class PayshieldUnit:
    """One simulated unit.

    Parameters
    ----------
    profile
        Whose firmware it plays.

    Examples
    --------
    >>> PayshieldUnit().answer(b"0007NC")
    b'0007ND0011223344556677880000-0000'
    """

    def __init__(self, profile: str = "payshield") -> None:
        self._profile = get_profile(profile)
        self._pin_formats = {
            code: PinFormat(number)
            for number, code in self._profile.pin_formats.items()
        }
        self._mac_algorithms = {
            code: MAC_ALGORITHMS[usage]
            for usage, code in self._profile.mac_algorithms.items()
        }

    def answer(self, request: bytes) -> bytes:
        """Run one command; gives the answer with the request's header."""
        header = request[:HEADER_CHARACTERS]
        code = request[HEADER_CHARACTERS : HEADER_CHARACTERS + 2].decode("latin-1")
        unknown = Layout(code=f"{code:Z<2}", request=())
        layout = self._profile.layouts.get(code, unknown)
        start = header + layout.response_code.encode()
        if layout is unknown:
            return start + _DISABLED.encode()
        try:
            values = decode_fields(layout.request, request[HEADER_CHARACTERS + 2 :])
            error, given = _HANDLERS[code](self, values)
            fields = encode_fields(layout.response, {**values, **given})
        except UnitRefusal as refusal:
            return start + refusal.error.encode()
        except (DecodeError, EncodeError, KeyRefused, ValueError):
            return start + _INPUT.encode()
        except VerificationFailed:
            return start + _NOT_VERIFIED.encode()
        return start + error.encode() + fields

    async def serve(
        self,
        port: int = 0,
        *,
        task_status: trio.TaskStatus[
            list[trio.SocketListener]
        ] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen on the loopback interface; port 0 takes a free one."""
        await trio.serve_tcp(self.talk, port, host="127.0.0.1", task_status=task_status)

    async def talk(self, stream: trio.abc.Stream) -> None:
        """Answer one connection until it closes."""
        framing = get_framing("bin2")
        wire = Wire(stream, framing, frame_bytes_max=FRAME_BYTES_MAX)
        await wire.run(lambda request: wire.send_nowait(self.answer(request)))

    def pin_format(self, code: str) -> PinFormat:
        """Give the PIN block format of a code."""
        try:
            return self._pin_formats[code]
        except KeyError:
            raise UnitRefusal("23") from None

    def mac_algorithm(self, code: str) -> MacAlgorithm:
        """Give the MAC algorithm of a code."""
        try:
            return self._mac_algorithms[code]
        except KeyError:
            raise UnitRefusal("04") from None


Answer = tuple[str, Values]

_NOT_VERIFIED, _LONG_KEY, _INPUT, _DISABLED = "01", "02", "15", "68"
_BOTH = frozenset({Use.ENCRYPT, Use.DECRYPT})
_PIN_USAGES = "P0 71 72"
_MAC_USAGES = "M0 M1 M3 M6"


def _str(values: Values, name: str) -> str:
    value = values[name]
    assert isinstance(value, str), "the layout says so"
    return value


def _octets(values: Values, name: str) -> bytes:
    value = values[name]
    assert isinstance(value, bytes), "the layout says so"
    return value


def _load(key: ClearKey) -> Key:
    return Key.load(SoftwareEngine(), key.value, key.algorithm, _BOTH)


def _pair(key: ClearKey) -> KeyPair:
    return KeyPair.load(SoftwareEngine(), key.value, ENCRYPT)


def _pan(values: Values) -> Pan:
    """Give the PAN, or one with the account number and some check digit."""
    return Pan(
        _str(values, "pan") if "pan" in values else _str(values, "account") + "0"
    )


def _diagnose(_unit: PayshieldUnit, _values: Values) -> Answer:
    value = bytes.fromhex(LMK_CHECK_VALUE)
    return DONE, {"lmk check value": value, "firmware": FIRMWARE}


# --- keys ----------------------------------------------------------------------------

_ZMK_TYPE, _KEY_ENCRYPTION = "000", "K0"
_ANY_USAGE = "B0 C0 D0 E0 K0 M0 M1 M3 M6 P0 V0 V1 V2 71 72"


def _generate_key(_unit: PayshieldUnit, values: Values) -> Answer:
    value = KeyValue(with_odd_parity(secrets.token_bytes(16)))
    given: dict[str, Value] = {"kcv": _check_value(value, Algorithm.TDES)[:6]}
    if values["scheme"] == KEY_BLOCK:
        if _str(values, "algorithm") != "T2":
            raise UnitRefusal("A7")
        given["key"] = wrap_block(
            value,
            usage=_str(values, "usage"),
            algorithm=Algorithm.TDES,
            mode=_str(values, "mode of use"),
        )
    else:
        given["key"] = wrap_key(value, _str(values, "key type"))
    if values["mode"] == "1":
        given["zone key"] = _under_zone_key(values, value)
    return DONE, given


def _import_key(_unit: PayshieldUnit, values: Values) -> Answer:
    zmk = _load(unwrap(_str(values, "zmk"), _ZMK_TYPE, _KEY_ENCRYPTION))
    cryptogram = bytes.fromhex(_str(values, "zone key")[1:])
    value = zmk.ecb(cryptogram, decrypt=True)
    even = KeyValue(with_odd_parity(value))
    wrapped = wrap_key(even, _str(values, "key type"))
    error = DONE if even.reveal() == value else _NOT_VERIFIED
    return error, {"key": wrapped, "kcv": _check_value(even, Algorithm.TDES)[:6]}


def _export_key(_unit: PayshieldUnit, values: Values) -> Answer:
    key = unwrap(_str(values, "key"), _str(values, "key type"), _ANY_USAGE)
    zone_key = _under_zone_key(values, key.value)
    return DONE, {"zone key": zone_key, "kcv": _check_value(key.value, key.algorithm)}


def _under_zone_key(values: Values, value: KeyValue) -> str:
    """Encrypt a key under a zone master key in the form of X9.17."""
    zmk = _load(unwrap(_str(values, "zmk"), _ZMK_TYPE, _KEY_ENCRYPTION))
    return "X" + zmk.ecb(value.reveal()).hex().upper()


def _give_check_value(_unit: PayshieldUnit, values: Values) -> Answer:
    key = unwrap(_str(values, "key"), _str(values, "key type"), _ANY_USAGE)
    return DONE, {"kcv": _check_value(key.value, key.algorithm)}


def _check_value(value: KeyValue, algorithm: Algorithm) -> str:
    return check_values(value, algorithm).legacy.hex().upper()


# --- PIN blocks and MACs -------------------------------------------------------------


def _translate(key_type: str, unit: PayshieldUnit, values: Values) -> Answer:
    source = unwrap(_str(values, "source"), key_type, _PIN_USAGES)
    return DONE, _moved(unit, values, source, _str(values, "source format"))


def _translate_dukpt(unit: PayshieldUnit, values: Values) -> Answer:
    base = unwrap(_str(values, "bdk"), "009", "B0")
    terminals = TdesTerminals(BaseKey.load(SoftwareEngine(), base.value))
    value = terminals.derive(_octets(values, "ksn"), TdesPurpose.PIN)
    # The older command has one format only.
    source_format = str(values.get("source format", "01"))
    return DONE, _moved(unit, values, ClearKey(value, Algorithm.TDES), source_format)


def _moved(
    unit: PayshieldUnit, values: Values, source: ClearKey, source_format: str
) -> Values:
    """Give the fields of an answer with the PIN under the target key."""
    target = unwrap(_str(values, "target"), "001", _PIN_USAGES)
    target_format = _str(values, "target format")
    source_key = PinKey(_load(source), unit.pin_format(source_format))
    target_key = PinKey(_load(target), unit.pin_format(target_format))
    pan = _pan(values)
    found = _open(_octets(values, "block"), pan, source_key)
    if (source_key.pin_format, target_key.pin_format) not in pin.PERMITTED:
        raise UnitRefusal("23")
    return {
        "pin length": f"{len(found.reveal()):02d}",
        "block": pin.encrypt(found, pan, target_key).reveal(),
        "format": target_format,
    }


def _open(block: bytes, pan: Pan, key: PinKey) -> Pin:
    try:
        return pin.decrypt(PinBlock(block), pan, key)
    except VerificationFailed:
        raise UnitRefusal("20") from None


def _mac_key(unit: PayshieldUnit, values: Values) -> MacKey:
    key = unwrap(_str(values, "key"), _str(values, "key type"), _MAC_USAGES)
    return MacKey.load(
        SoftwareEngine(),
        key.value,
        key.algorithm,
        unit.mac_algorithm(_str(values, "algorithm")),
        Padding(int(_str(values, "padding"))),
    )


def _generate_mac(unit: PayshieldUnit, values: Values) -> Answer:
    length = 8 if values.get("size") == "1" else 4
    message = _octets(values, "message")
    return DONE, {"mac": mac.generate(_mac_key(unit, values), message, length=length)}


def _verify_mac(unit: PayshieldUnit, values: Values) -> Answer:
    key = _mac_key(unit, values)
    mac.verify(key, _octets(values, "message"), _octets(values, "mac"))
    return DONE, {}


# --- cards ---------------------------------------------------------------------------


def _clear_pin(
    name: str, key_type: str, unit: PayshieldUnit, values: Values
) -> tuple[Pin, Pan]:
    key = unwrap(_str(values, name), key_type, _PIN_USAGES)
    pin_key = PinKey(_load(key), unit.pin_format(_str(values, "format")))
    pan = _pan(values)
    return _open(_octets(values, "block"), pan, pin_key), pan


def _verify_pvv(
    name: str, key_type: str, unit: PayshieldUnit, values: Values
) -> Answer:
    found, pan = _clear_pin(name, key_type, unit, values)
    pvk = _load(unwrap(_str(values, "pvk"), "002", "V0 V2"))
    index = int(_str(values, "index"))
    pvv.verify_pvv(pvk, found, pan, index=index, pvv=_str(values, "pvv"))
    return DONE, {}


def _verify_offset(
    name: str, key_type: str, unit: PayshieldUnit, values: Values
) -> Answer:
    found, _ = _clear_pin(name, key_type, unit, values)
    pvk = _load(unwrap(_str(values, "pvk"), "002", "V0 V1"))
    last_five = _str(values, "account")[-5:]
    validation = _str(values, "validation").replace("N", last_five)
    cryptogram = pvk.ecb(bytes.fromhex(validation)).hex()
    natural = [int(_str(values, "table")[int(nibble, 16)]) for nibble in cryptogram]
    length = int(_str(values, "length min"))
    expected = "".join(
        str((int(digit) - own) % 10)
        for digit, own in zip(found.reveal()[:length], natural, strict=False)
    )
    if not hmac.compare_digest(expected.ljust(12, "F"), _str(values, "offset")):
        raise UnitRefusal(_NOT_VERIFIED)
    return _LONG_KEY, {}


def _verify_cvv(_unit: PayshieldUnit, values: Values) -> Answer:
    cvv.verify_cvv(
        _pair(unwrap(_str(values, "cvk"), "402", "C0")),
        _pan(values),
        expiry=_str(values, "expiry"),
        service_code=_str(values, "service code"),
        cvv=Secret(_str(values, "cvv")),
    )
    return DONE, {}


def _generate_cvv(_unit: PayshieldUnit, values: Values) -> Answer:
    made = make_cvv(
        unwrap(_str(values, "cvk"), "402", "C0").value,
        _pan(values),
        expiry=_str(values, "expiry"),
        service_code=_str(values, "service code"),
    )
    return DONE, {"cvv": made.reveal()}


# The caller has padded the data to whole blocks already.
_CRYPTOGRAMS: Mapping[tuple[str, str], CryptogramVersion] = {
    ("KQ", "0"): emv.VISA_CVN10,
    ("KQ", "1"): replace(emv.MCHIP_SKD, padding=Padding.ZEROS),
    ("KW", "2"): replace(emv.MCHIP_COMMON, padding=Padding.ZEROS),
}
_VERIFYING, _METHOD_1, _METHOD_2 = "013", "12", "34"


def _cryptogram(code: str, _unit: PayshieldUnit, values: Values) -> Answer:
    mode = _str(values, "mode")
    version = _CRYPTOGRAMS.get((code, _str(values, "scheme")))
    if version is None:
        raise UnitRefusal("05")
    master = Key.load(
        SoftwareEngine(),
        unwrap(_str(values, "master"), "109", "E0").value,
        Algorithm.TDES,
        emv.CARD_KEY_USES,
    )
    block = _octets(values, "card")
    card_key = KeyPair.derive(master, block, xor(block, b"\xff" * 8), emv.CARD_KEY_USES)
    atc, arqc = _octets(values, "atc"), _octets(values, "arqc")
    unpredictable = _octets(values, "unpredictable") if code == "KQ" else b""
    if mode in _VERIFYING:
        data = _octets(values, "data")
        if not data or len(data) % 8:
            raise UnitRefusal("80")
        emv.verify_arqc(
            card_key,
            version,
            data,
            atc=atc,
            unpredictable=unpredictable,
            arqc=arqc,
        )
    if mode not in _METHOD_1 + _METHOD_2:
        return DONE, {}
    if mode in _METHOD_1:
        answer = _octets(values, "arc")
    else:
        version = replace(version, arpc=ArpcMethod.AUTHENTICATED)
        answer = _octets(values, "status") + _octets(values, "proprietary")
    arpc = emv.make_arpc(
        card_key,
        version,
        atc=atc,
        unpredictable=unpredictable,
        arqc=arqc,
        answer=answer,
    )
    return DONE, {"arpc": arpc.ljust(8, b"\x00")}


_HANDLERS: Mapping[str, Callable[[PayshieldUnit, Values], Answer]] = {
    "A0": _generate_key,
    "A6": _import_key,
    "A8": _export_key,
    "BU": _give_check_value,
    "CA": partial(_translate, "002"),
    "CC": partial(_translate, "001"),
    "CI": _translate_dukpt,
    "CW": _generate_cvv,
    "CY": _verify_cvv,
    "DA": partial(_verify_offset, "tpk", "002"),
    "DC": partial(_verify_pvv, "tpk", "002"),
    "EA": partial(_verify_offset, "zpk", "001"),
    "EC": partial(_verify_pvv, "zpk", "001"),
    "G0": _translate_dukpt,
    "KQ": partial(_cryptogram, "KQ"),
    "KW": partial(_cryptogram, "KW"),
    "M6": _generate_mac,
    "M8": _verify_mac,
    "NC": _diagnose,
}
