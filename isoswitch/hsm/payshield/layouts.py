"""The host commands as data: the fields of requests and answers, by firmware.

What is here comes from public sources: the tables and recorded messages of
github.com/softwaregroup-bg/ut-codec-payshield (Apache-2.0) and the definitions of
github.com/nickntg/thalessimulatorlibrary. The values marked *assumed* are in neither.
Check a profile against the manual of the unit before it goes to production; where they
differ, the difference is a row here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.hsm.keys import Usage
from isoswitch.hsm.payshield.fields import (
    KEY_BLOCK,
    Field,
    Form,
    Layout,
    is_aes,
    is_one_of,
    is_tdes,
)


class KeyKind(StrEnum):
    """What a unit calls a key, by its purpose and by who shares it."""

    BDK = "BDK"
    CVK = "CVK"
    MK_AC = "MK-AC"
    PVK = "PVK"
    TAK = "TAK"
    TPK = "TPK"
    ZAK = "ZAK"
    ZMK = "ZMK"
    ZPK = "ZPK"


KEY_BLOCK_TYPE = "FFF"
"""The type that goes with key blocks, which say themselves what they are for."""

KEY_TYPES: Mapping[KeyKind, str] = {
    KeyKind.ZMK: "000",
    KeyKind.ZPK: "001",
    KeyKind.PVK: "002",
    KeyKind.TPK: "002",
    KeyKind.TAK: "003",
    KeyKind.ZAK: "008",
    KeyKind.BDK: "009",
    KeyKind.MK_AC: "109",
    KeyKind.CVK: "402",
}
"""Which variant of which pair of the local master key wraps keys of a kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What one family of firmware takes.

    ``mac_lengths`` gives the code for a MAC of so many bytes, ``mac_algorithms`` the
    one for keys of a usage, ``pin_formats`` the one for a format of ISO 9564-1.
    ``message_bytes_max`` is the longest message of one MAC command.
    """

    name: str
    layouts: Mapping[str, Layout]
    mac_lengths: Mapping[int, str]
    mac_algorithms: Mapping[Usage, str]
    pin_formats: Mapping[int, str]
    message_bytes_max: int


def get_profile(name: str) -> Profile:
    """Give a profile.

    Raises
    ------
    ConfigError
        There is none of this name.

    Examples
    --------
    >>> get_profile("payshield").mac_lengths
    {4: '0', 8: '1'}
    """
    try:
        return PROFILES[name]
    except KeyError:
        known = ", ".join(PROFILES)
        msg = f"no payment HSM profile {name}; there are {known}"
        raise ConfigError(msg) from None


_text = partial(Field, form=Form.TEXT)
_digits = partial(Field, form=Form.DIGITS)
_hex = partial(Field, form=Form.HEX)
_bytes = partial(Field, form=Form.BYTES)
_key = partial(Field, form=Form.KEY)

# Which of several local master keys is meant; at the end of most commands.
_LMK = _text("lmk", size=2, marker="%")

_BLOCK = 8
_AES_BLOCK = 16


def _constant(text: str) -> Field:
    return _text(f"constant {text}", size=len(text), constant=text)


def _layout(
    code: str,
    *request: Field,
    gives: tuple[Field, ...] = (),
    warnings: frozenset[str] = frozenset(),
) -> Layout:
    return Layout(
        code=code, request=(*request, _LMK), response=gives, warnings=warnings
    )


def _pin_block(name: str, key: str) -> tuple[Field, Field]:
    """A PIN block is as long as a block of its key's cipher."""
    return (
        _hex(name, size=_BLOCK, when=is_tdes(key)),
        _hex(name, size=_AES_BLOCK, when=is_aes(key)),
    )


def _account(*keys: str) -> tuple[Field, Field]:
    """The twelve rightmost digits of the PAN without the check digit.

    Assumed: format 4, which takes in the whole PAN, has it up to a delimiter.
    """
    return (
        _digits("account", size=12, when=is_tdes(*keys)),
        _digits("pan", until=";", when=is_aes(*keys)),
    )


_TRANSLATION = (
    _key("source"),
    _key("target"),
    _digits("length max", size=2),
    *_pin_block("block", "source"),
    _digits("source format", size=2),
    _digits("target format", size=2),
    *_account("source", "target"),
)
_TRANSLATED = (
    _digits("pin length", size=2),
    *_pin_block("block", "target"),
    _digits("format", size=2),
)
_PVV_TAIL = (
    _key("pvk"),
    _hex("block", size=_BLOCK),
    _digits("format", size=2),
    _digits("account", size=12),
    _digits("index", size=1),
    _digits("pvv", size=4),
)
_OFFSET_TAIL = (
    _key("pvk"),
    _digits("length max", size=2),
    _hex("block", size=_BLOCK),
    _digits("format", size=2),
    _digits("length min", size=2),
    _digits("account", size=12),
    # Sixteen digits, or as many hexadecimal ones where the unit wants it encrypted.
    _text("table", size=16),
    # N stands where the last five digits of the account number go.
    _text("validation", size=12),
    # Filled up with F.
    _text("offset", size=12),
)
# A verification key longer than single DES is told by this code, and used all the same.
_LONG_KEY = frozenset({"02"})

_CARD = (
    _digits("pan", until=";"),
    _digits("expiry", size=4),
    _digits("service code", size=3),
)
_KEY_TYPE_AND_SCHEME = (_text("key type", size=3), _text("scheme", size=1))
_KCV = _text("kcv", size=6)

_COMMON: tuple[Layout, ...] = (
    Layout(
        code="A0",
        request=(
            _text("mode", size=1),
            *_KEY_TYPE_AND_SCHEME,
            _text("flag", size=1, marker=";", when=is_one_of("mode", "1")),
            _key("zmk", when=is_one_of("mode", "1")),
            _text("zone scheme", size=1, when=is_one_of("mode", "1")),
            _LMK,
            _text("usage", size=2, marker="#", when=is_one_of("scheme", KEY_BLOCK)),
            _text("algorithm", size=2, when=is_one_of("scheme", KEY_BLOCK)),
            _text("mode of use", size=1, when=is_one_of("scheme", KEY_BLOCK)),
            _text("version", size=2, when=is_one_of("scheme", KEY_BLOCK)),
            _text("exportability", size=1, when=is_one_of("scheme", KEY_BLOCK)),
            _digits("optional blocks", size=2, when=is_one_of("scheme", KEY_BLOCK)),
        ),
        response=(
            _key("key"),
            _key("zone key", when=is_one_of("mode", "1")),
            _KCV,
        ),
    ),
    _layout(
        "A6",
        _text("key type", size=3),
        _key("zmk"),
        _key("zone key"),
        _text("scheme", size=1),
        gives=(_key("key"), _KCV),
        # The key came without odd parity, which was put right.
        warnings=frozenset({"01"}),
    ),
    _layout(
        "A8",
        _text("key type", size=3),
        _key("zmk"),
        _key("key"),
        _text("scheme", size=1),
        gives=(_key("zone key"), _KCV),
    ),
    _layout(
        "BU",
        _constant("FF"),
        _text("key length", size=1),
        _key("key"),
        _text("key type", size=3, marker=";"),
        _constant(";00"),
        _text("kcv type", size=1),
        gives=(_text("kcv"),),
    ),
    _layout("CA", *_TRANSLATION, gives=_TRANSLATED),
    _layout("CC", *_TRANSLATION, gives=_TRANSLATED),
    _layout(
        "CI",
        _key("bdk"),
        _key("target"),
        _text("ksn descriptor", size=3),
        _hex("ksn", size=10),
        _hex("block", size=_BLOCK),
        _digits("target format", size=2),
        _digits("account", size=12),
        gives=_TRANSLATED,
    ),
    _layout(
        "G0",
        _key("bdk"),
        _key("target"),
        _text("ksn descriptor", size=3),
        _hex("ksn", size=10),
        _hex("block", size=_BLOCK),
        _digits("source format", size=2),
        _digits("target format", size=2),
        *_account("target"),
        gives=_TRANSLATED,
    ),
    _layout("CW", _key("cvk"), *_CARD, gives=(_digits("cvv", size=3),)),
    _layout("CY", _key("cvk"), _digits("cvv", size=3), *_CARD),
    _layout("DA", _key("tpk"), *_OFFSET_TAIL, warnings=_LONG_KEY),
    _layout("EA", _key("zpk"), *_OFFSET_TAIL, warnings=_LONG_KEY),
    _layout("DC", _key("tpk"), *_PVV_TAIL),
    _layout("EC", _key("zpk"), *_PVV_TAIL),
    # Modes: 0 verify, 1 verify and answer, 2 answer. Schemes: 0 Visa, 1 M/Chip. The
    # caller pads the data to whole blocks.
    _layout(
        "KQ",
        _digits("mode", size=1),
        _digits("scheme", size=1),
        _key("master"),
        _bytes("card", size=_BLOCK),
        _bytes("atc", size=2),
        _bytes("unpredictable", size=4),
        _bytes("data", counted=2, until=";", when=is_one_of("mode", "01")),
        _bytes("arqc", size=8),
        _bytes("arc", size=2, when=is_one_of("mode", "12")),
        gives=(_bytes("arpc", size=8, when=is_one_of("mode", "12")),),
    ),
    # Modes: as of KQ, then 3 verify and answer by method 2, 4 answer by method 2.
    # Only scheme 2, the common session key.
    _layout(
        "KW",
        _digits("mode", size=1),
        _digits("scheme", size=1),
        _key("master"),
        _bytes("card", size=_BLOCK),
        _bytes("atc", size=2),
        _bytes("data", counted=2, until=";", when=is_one_of("mode", "013")),
        _bytes("arqc", size=8),
        _bytes("arc", size=2, when=is_one_of("mode", "12")),
        _bytes("status", size=4, when=is_one_of("mode", "34")),
        _bytes("proprietary", counted=1, when=is_one_of("mode", "34")),
        # Method 2 gives four bytes of it, and zeros.
        gives=(_bytes("arpc", size=8, when=is_one_of("mode", "1234")),),
    ),
    Layout(
        code="NC",
        request=(),
        response=(_hex("lmk check value", size=8), _text("firmware")),
    ),
)

_MAC_KEY = (_digits("padding", size=1), _text("key type", size=3), _key("key"))
# Present in a message of several commands; the client sends whole messages only.
_IV = _hex("iv", size=8, when=is_one_of("mode", "23"))
_MESSAGE = _bytes("message", counted=4)

_PAYSHIELD_MAC = (
    _digits("mode", size=1),
    _digits("input", size=1),
    _digits("size", size=1),
    _digits("algorithm", size=1),
    *_MAC_KEY,
    _IV,
    _MESSAGE,
)
_PAYSHIELD_MACS = (
    _layout(
        "M6",
        *_PAYSHIELD_MAC,
        gives=(
            _hex("mac", size=4, when=is_one_of("size", "0")),
            _hex("mac", size=8, when=is_one_of("size", "1")),
        ),
    ),
    _layout(
        "M8",
        *_PAYSHIELD_MAC,
        _hex("mac", size=4, when=is_one_of("size", "0")),
        _hex("mac", size=8, when=is_one_of("size", "1")),
    ),
)
_LEGACY_MAC = (
    _digits("mode", size=1),
    _digits("input", size=1),
    _digits("algorithm", size=2),
    *_MAC_KEY,
    _IV,
    _MESSAGE,
)
_LEGACY_MACS = (
    _layout("M6", *_LEGACY_MAC, gives=(_hex("mac", size=4),)),
    _layout("M8", *_LEGACY_MAC, _hex("mac", size=4)),
)


def _by_code(*layouts: Layout) -> Mapping[str, Layout]:
    return {layout.code: layout for layout in layouts}


PROFILES: Mapping[str, Profile] = {
    "payshield": Profile(
        name="payshield",
        layouts=_by_code(*_COMMON, *_PAYSHIELD_MACS),
        mac_lengths={4: "0", 8: "1"},
        # The code for CMAC is assumed.
        mac_algorithms={
            Usage.MAC_ALGORITHM_1: "1",
            Usage.MAC_ALGORITHM_3: "3",
            Usage.CMAC: "6",
        },
        # The codes for formats 3 and 4 are assumed.
        pin_formats={0: "01", 1: "05", 3: "47", 4: "48"},
        message_bytes_max=32_000,
    ),
    "legacy": Profile(
        name="legacy",
        layouts=_by_code(*_COMMON, *_LEGACY_MACS),
        mac_lengths={4: ""},
        mac_algorithms={Usage.MAC_ALGORITHM_1: "01", Usage.MAC_ALGORITHM_3: "03"},
        pin_formats={0: "01", 1: "05"},
        # Assumed, as the buffer of a unit is a setting of its own.
        message_bytes_max=2_000,
    ),
}
"""Every known profile: units of today, and those whose MACs all have four bytes."""
