"""How the card was read and whether a PIN can be entered (DE 22), in each edition.

1987   n3: two digits of card entry, one of PIN entry capability
1993   an12: position 2 authentication capability, 7 card input mode, ...
2003   16 bytes: four maps of 32 flags, the lowest flag first in each
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from isoswitch.codecs.canonical.codes import EntryMode, PinEntry


class Entry(NamedTuple):
    """What DE 22 says."""

    mode: EntryMode
    pin_entry: PinEntry


UNKNOWN = Entry(EntryMode.UNKNOWN, PinEntry.UNKNOWN)

# 1987, positions 1 and 2: the canonical mode and the words.
CARD_ENTRIES_1987: Mapping[str, tuple[EntryMode, str]] = {
    "00": (EntryMode.UNKNOWN, "unspecified"),
    "01": (EntryMode.MANUAL, "keyed by hand"),
    "02": (EntryMode.STRIPE, "magnetic stripe, card verification may be impossible"),
    "03": (EntryMode.QR, "bar code or QR code"),
    "04": (EntryMode.MANUAL, "optical character reader"),
    "05": (EntryMode.CHIP, "chip, card verification reliable"),
    "06": (EntryMode.MANUAL, "keyed at the terminal"),
    "07": (EntryMode.CONTACTLESS_CHIP, "contactless chip"),
    "09": (EntryMode.ECOMMERCE, "electronic commerce, remote chip"),
    "10": (EntryMode.ON_FILE, "credential on file"),
    "79": (EntryMode.MANUAL, "chip unreadable, keyed by hand"),
    "80": (EntryMode.FALLBACK_STRIPE, "chip unreadable, magnetic stripe"),
    "81": (EntryMode.ECOMMERCE, "electronic commerce"),
    "82": (EntryMode.ECOMMERCE, "merchant's server"),
    "90": (EntryMode.STRIPE, "full magnetic stripe, card verification reliable"),
    "91": (EntryMode.CONTACTLESS_STRIPE, "contactless magnetic stripe"),
    "95": (EntryMode.CHIP, "chip, card verification may be unreliable"),
    "96": (EntryMode.ON_FILE, "stored value or token"),
    "98": (EntryMode.CONTACTLESS_CHIP, "contactless with a mobile device"),
}

# 1987, position 3.
PIN_CAPABILITIES_1987: Mapping[str, tuple[PinEntry, str]] = {
    "0": (PinEntry.UNKNOWN, "unspecified"),
    "1": (PinEntry.CAPABLE, "terminal can take a PIN"),
    "2": (PinEntry.INCAPABLE, "terminal cannot take a PIN"),
    "3": (PinEntry.CAPABLE, "PIN on a phone or tablet"),
    "8": (PinEntry.INCAPABLE, "PIN pad out of order"),
    "9": (PinEntry.CAPABLE, "PIN verified by the terminal"),
}

ENTRIES_1987: Mapping[str, Entry] = {
    card + pin: Entry(mode, pin_entry)
    for card, (mode, _) in CARD_ENTRIES_1987.items()
    for pin, (pin_entry, _) in {
        **{str(digit): (PinEntry.UNKNOWN, "") for digit in range(10)},
        **PIN_CAPABILITIES_1987,
    }.items()
}
"""Every DE 22 of 1987 with a known card entry."""

_CARD_CODES_1987: Mapping[EntryMode, str] = {
    EntryMode.UNKNOWN: "00",
    EntryMode.MANUAL: "01",
    EntryMode.STRIPE: "02",
    EntryMode.CHIP: "05",
    EntryMode.CONTACTLESS_CHIP: "07",
    EntryMode.CONTACTLESS_STRIPE: "91",
    EntryMode.QR: "03",
    EntryMode.ECOMMERCE: "81",
    EntryMode.ON_FILE: "10",
    EntryMode.FALLBACK_STRIPE: "80",
}

_PIN_CODES_1987: Mapping[PinEntry, str] = {
    PinEntry.UNKNOWN: "0",
    PinEntry.CAPABLE: "1",
    PinEntry.INCAPABLE: "2",
}

# What a code is looked up by: card entry, PIN capability, a PIN block is present.
EntryKey = tuple[EntryMode, PinEntry, bool]

CODES_1987: Mapping[EntryKey, str] = {
    (mode, pin_entry, has_pin): card + pin
    for mode, card in _CARD_CODES_1987.items()
    for pin_entry, pin in _PIN_CODES_1987.items()
    for has_pin in (False, True)
}

# The card schemes call a fully read stripe 90, and carry a fourth digit of filler.
CODES_SCHEME: Mapping[EntryKey, str] = {
    key: code.replace("02", "90") if key[0] is EntryMode.STRIPE else code
    for key, code in CODES_1987.items()
}
CODES_SCHEME_4: Mapping[EntryKey, str] = {
    key: code + "0" for key, code in CODES_SCHEME.items()
}

# UnionPay says in the third digit whether the message carries a PIN.
CODES_UNIONPAY: Mapping[EntryKey, str] = {
    key: code[:2] + ("1" if key[2] else "2") for key, code in CODES_1987.items()
}

# 1993: names of the twelve positions with their values in words.
POSITIONS_1993: tuple[tuple[str, Mapping[str, str]], ...] = (
    (
        "card data input capability",
        {
            "0": "unknown",
            "1": "manual, no terminal",
            "2": "magnetic stripe",
            "3": "bar code",
            "4": "optical character reader",
            "5": "chip",
            "6": "key entry",
            "A": "contactless magnetic stripe",
            "B": "magnetic stripe and key entry",
            "C": "magnetic stripe, chip and key entry",
            "D": "magnetic stripe and chip",
            "E": "chip and key entry",
            "M": "contactless chip",
            "V": "other",
        },
    ),
    (
        "cardholder authentication capability",
        {
            "0": "none",
            "1": "PIN",
            "2": "electronic signature analysis",
            "3": "biometrics",
            "4": "biographic",
            "5": "out of order",
            "6": "other",
            "9": "unknown",
        },
    ),
    ("card capture capability", {"0": "none", "1": "capture", "9": "unknown"}),
    (
        "operating environment",
        {
            "0": "no terminal",
            "1": "at the merchant's, attended",
            "2": "at the merchant's, unattended",
            "3": "away from the merchant's, attended",
            "4": "away from the merchant's, unattended",
            "5": "at the cardholder's, unattended",
            "6": "away from the cardholder's, unattended",
            "9": "unknown",
        },
    ),
    (
        "cardholder present",
        {
            "0": "present",
            "1": "not present",
            "2": "mail order",
            "3": "telephone",
            "4": "standing authorisation",
            "5": "electronic commerce",
            "9": "unknown",
        },
    ),
    ("card present", {"0": "not present", "1": "present", "9": "unknown"}),
    (
        "card data input mode",
        {
            "0": "unspecified",
            "1": "manual",
            "2": "magnetic stripe",
            "3": "bar code",
            "4": "optical character reader",
            "5": "chip",
            "6": "key entered",
            "7": "credential on file",
            "9": "chip unreadable, magnetic stripe",
            "A": "contactless magnetic stripe",
            "B": "full magnetic stripe",
            "M": "contactless chip",
            "S": "electronic commerce",
        },
    ),
    (
        "cardholder authentication method",
        {
            "0": "not authenticated",
            "1": "PIN",
            "2": "electronic signature analysis",
            "3": "biometrics",
            "4": "biographic",
            "5": "manual signature",
            "6": "other manual",
            "9": "unknown",
            "S": "electronic commerce",
        },
    ),
    (
        "authentication entity",
        {
            "0": "not authenticated",
            "1": "chip",
            "2": "terminal",
            "3": "authorising agent",
            "4": "merchant",
            "5": "other",
            "9": "unknown",
        },
    ),
    (
        "card data output capability",
        {
            "0": "unknown",
            "1": "none",
            "2": "magnetic stripe write",
            "3": "chip",
            "S": "other",
        },
    ),
    (
        "terminal output capability",
        {
            "0": "unknown",
            "1": "none",
            "2": "printing",
            "3": "display",
            "4": "printing and display",
        },
    ),
    (
        "PIN capture capability",
        {
            "0": "none",
            "1": "unknown",
            **{str(digits): f"{digits} digits" for digits in range(4, 10)},
            "A": "10 digits",
            "B": "11 digits",
            "C": "12 digits",
        },
    ),
)

INPUT_MODES_1993: Mapping[str, EntryMode] = {
    "0": EntryMode.UNKNOWN,
    "1": EntryMode.MANUAL,
    "2": EntryMode.STRIPE,
    "3": EntryMode.QR,
    "4": EntryMode.MANUAL,
    "5": EntryMode.CHIP,
    "6": EntryMode.MANUAL,
    "7": EntryMode.ON_FILE,
    "9": EntryMode.FALLBACK_STRIPE,
    "A": EntryMode.CONTACTLESS_STRIPE,
    "B": EntryMode.STRIPE,
    "M": EntryMode.CONTACTLESS_CHIP,
    "S": EntryMode.ECOMMERCE,
}

PIN_CAPABILITIES_1993: Mapping[str, PinEntry] = {
    "0": PinEntry.INCAPABLE,
    "1": PinEntry.CAPABLE,
    "2": PinEntry.INCAPABLE,
    "3": PinEntry.INCAPABLE,
    "4": PinEntry.INCAPABLE,
    "5": PinEntry.INCAPABLE,
}


class _Presence(NamedTuple):
    """Positions 1 and 4 to 7 of 1993, which follow from the entry mode."""

    capability: str
    environment: str
    cardholder: str
    card: str
    mode: str


_PRESENCES_1993: Mapping[EntryMode, _Presence] = {
    EntryMode.UNKNOWN: _Presence("0", "9", "9", "9", "0"),
    EntryMode.MANUAL: _Presence("6", "1", "0", "1", "1"),
    EntryMode.STRIPE: _Presence("2", "1", "0", "1", "2"),
    EntryMode.CHIP: _Presence("5", "1", "0", "1", "5"),
    EntryMode.CONTACTLESS_CHIP: _Presence("M", "1", "0", "1", "M"),
    EntryMode.CONTACTLESS_STRIPE: _Presence("A", "1", "0", "1", "A"),
    EntryMode.QR: _Presence("3", "1", "0", "0", "3"),
    EntryMode.ECOMMERCE: _Presence("6", "0", "5", "0", "S"),
    EntryMode.ON_FILE: _Presence("6", "0", "4", "0", "7"),
    EntryMode.FALLBACK_STRIPE: _Presence("D", "1", "0", "1", "9"),
}

# Positions 2 and 12: authentication and PIN capture capability.
_CAPTURES_1993: Mapping[PinEntry, tuple[str, str]] = {
    PinEntry.UNKNOWN: ("9", "1"),
    PinEntry.CAPABLE: ("1", "C"),
    PinEntry.INCAPABLE: ("0", "0"),
}


def read_1993(code: str) -> Entry:
    """Read the entry mode and PIN capability of a 12-position code.

    Examples
    --------
    >>> read_1993("51010151130C").mode.value
    'chip'
    >>> read_1993("?") == UNKNOWN
    True
    """
    return Entry(
        INPUT_MODES_1993.get(code[6:7], EntryMode.UNKNOWN),
        PIN_CAPABILITIES_1993.get(code[1:2], PinEntry.UNKNOWN),
    )


def _write_1993(mode: EntryMode, pin_entry: PinEntry, *, has_pin: bool) -> str:
    presence = _PRESENCES_1993[mode]
    authentication, pin_capture = _CAPTURES_1993[pin_entry]
    # An online PIN is checked by whoever authorises.
    method = "13" if has_pin else "00"
    return (
        f"{presence.capability}{authentication}0{presence.environment}"
        f"{presence.cardholder}{presence.card}{presence.mode}{method}00{pin_capture}"
    )


CODES_1993: Mapping[EntryKey, str] = {
    (mode, pin_entry, has_pin): _write_1993(mode, pin_entry, has_pin=has_pin)
    for mode in EntryMode
    for pin_entry in PinEntry
    for has_pin in (False, True)
}

# 2003: flags of the first map (how the card was read), the third (environment) and
# the second (how the cardholder was verified), numbered from 1 as in the standard.
READ_FLAGS_2003: Mapping[int, str] = {
    1: "unknown",
    2: "not taken from the card (contactless)",
    3: "keyed or optical reader",
    4: "bar code",
    5: "magnetic stripe",
    6: "chip",
    7: "account data on file",
    12: "chip read but failed",
    13: "magnetic stripe read but failed",
    14: "fallback",
}
VERIFICATION_FLAGS_2003: Mapping[int, str] = {
    1: "unknown",
    2: "none",
    3: "manual signature",
    4: "online PIN",
    5: "offline PIN in clear",
    6: "offline PIN encrypted",
    7: "offline digitised signature",
    8: "offline biometrics",
    9: "offline manual verification",
    10: "offline biographics",
    11: "account-based digital signature",
    12: "public-key digital signature",
}
ENVIRONMENT_FLAGS_2003: Mapping[int, str] = {
    1: "unknown",
    2: "attended",
    3: "unattended",
    4: "mail or telephone order",
    5: "electronic commerce",
    6: "mobile commerce",
    7: "recurring",
    8: "stored details",
}

# The flags of the first and third map that each mode sets.
_FLAGS_2003: Mapping[EntryMode, tuple[tuple[int, ...], tuple[int, ...]]] = {
    EntryMode.UNKNOWN: ((1,), (1,)),
    EntryMode.MANUAL: ((3,), (2,)),
    EntryMode.STRIPE: ((5,), (2,)),
    EntryMode.CHIP: ((6,), (2,)),
    EntryMode.CONTACTLESS_CHIP: ((2, 6), (2,)),
    EntryMode.CONTACTLESS_STRIPE: ((2, 5), (2,)),
    EntryMode.QR: ((4,), (2,)),
    EntryMode.ECOMMERCE: ((3,), (5,)),
    EntryMode.ON_FILE: ((7,), (8,)),
    EntryMode.FALLBACK_STRIPE: ((5, 14), (2,)),
}

_READ_MASK_2003 = 0x207F
_REMOTE_MASK_2003 = 0x0010


def _map_2003(flags: tuple[int, ...]) -> bytes:
    return sum(1 << (flag - 1) for flag in flags).to_bytes(4, "little")


CODES_2003: Mapping[EntryKey, bytes] = {
    (mode, pin_entry, has_pin): _map_2003(read)
    + _map_2003((4,) if has_pin else (1,))
    + _map_2003(environment)
    + _map_2003((1,))
    for mode, (read, environment) in _FLAGS_2003.items()
    for pin_entry in PinEntry
    for has_pin in (False, True)
}

_MODES_2003: Mapping[tuple[int, bool], EntryMode] = {
    (
        int.from_bytes(_map_2003(read), "little"),
        environment == (5,),
    ): mode
    for mode, (read, environment) in _FLAGS_2003.items()
}


def read_2003(code: bytes) -> Entry:
    """Read the entry mode of four flag maps.

    The PIN capability stands in another field of this edition (DE 27); only a PIN
    that was entered tells that one can be.

    Examples
    --------
    >>> key = (EntryMode.FALLBACK_STRIPE, PinEntry.CAPABLE, True)
    >>> read_2003(CODES_2003[key])
    Entry(mode=<EntryMode.FALLBACK_STRIPE: 'fallback_stripe'>, \
pin_entry=<PinEntry.CAPABLE: 'capable'>)
    """
    read = int.from_bytes(code[:2], "little") & _READ_MASK_2003
    is_remote = bool(int.from_bytes(code[8:10], "little") & _REMOTE_MASK_2003)
    mode = _MODES_2003.get((read, is_remote)) or _MODES_2003.get((read, False))
    has_pin = bool(code[4:5] and code[4] & 0x08)
    return Entry(
        mode or EntryMode.UNKNOWN,
        PinEntry.CAPABLE if has_pin else PinEntry.UNKNOWN,
    )
