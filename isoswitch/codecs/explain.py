"""What a value of a data element means, in words.

A table says which elements of which edition can be explained; each explainer cuts a
value into its parts and names every part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from isoswitch.codecs.canonical.money import CURRENCIES, Money
from isoswitch.codecs.dialects import vocabulary
from isoswitch.codecs.dialects.codes import (
    MEANINGS_1987,
    MEANINGS_1993,
    MEANINGS_2003,
    MEANINGS_UNIONPAY,
    Meanings,
)
from isoswitch.codecs.dialects.entry_mode import (
    CARD_ENTRIES_1987,
    ENVIRONMENT_FLAGS_2003,
    PIN_CAPABILITIES_1987,
    POSITIONS_1993,
    READ_FLAGS_2003,
    VERIFICATION_FLAGS_2003,
)

Explanation = list[tuple[str, str]]
Explainer = Callable[[str], Explanation]

MTI = 0
"""The number under which the message type indicator is explained."""

UNKNOWN = "not assigned"


def explain_field(de: int, value: str, edition: str) -> Explanation:
    """Give the parts of a value with their meaning, in the order of the value.

    Parameters
    ----------
    de
        The data element; 0 is the message type indicator.
    value
        Its text; binary elements in hexadecimal.
    edition
        ``"1987"``, ``"1993"``, ``"2003"``, or ``"unionpay"`` for its own codes.

    Returns
    -------
    list
        Empty where this edition gives the element no codes.

    Examples
    --------
    >>> explain_field(22, "051", "1987")
    [('05 card entry', 'chip, card verification reliable'), \
('1 PIN capability', 'terminal can take a PIN')]
    >>> explain_field(39, "116", "1993")
    [('116', 'not sufficient funds -> insufficient_funds')]
    >>> explain_field(41, "TERM0001", "1987")
    []
    """
    explainer = _EXPLAINERS.get(edition, {}).get(de)
    return [] if explainer is None else explainer(value)


def explained_fields(edition: str) -> tuple[int, ...]:
    """The data elements of an edition that can be explained.

    Examples
    --------
    >>> explained_fields("1987")
    (0, 3, 22, 25, 39, 49, 54, 70, 90)
    """
    return tuple(sorted(_EXPLAINERS.get(edition, {})))


def explain_mti(value: str) -> Explanation:
    """Explain a message type indicator digit by digit.

    Examples
    --------
    >>> for part, words in explain_mti("0421"):
    ...     print(part, "-", words)
    0 version - ISO 8583:1987
    4 class - reversal or chargeback
    2 function - advice
    1 origin - acquirer repeat
    """
    digits = (
        ("version", vocabulary.VERSIONS),
        ("class", vocabulary.CLASSES),
        ("function", vocabulary.FUNCTIONS),
        ("origin", vocabulary.ORIGINS),
    )
    return [
        (f"{digit} {name}", words.get(digit, UNKNOWN))
        for digit, (name, words) in zip(value, digits, strict=False)
    ]


def explain_processing_code(value: str) -> Explanation:
    """Explain DE 3: what is done, from which account to which.

    Examples
    --------
    >>> explain_processing_code("012000")[1]
    ('20 from account', 'cheque (current)')
    """
    parts = (
        (value[:2], "transaction type", vocabulary.TRANSACTION_TYPES),
        (value[2:4], "from account", vocabulary.ACCOUNT_TYPES),
        (value[4:6], "to account", vocabulary.ACCOUNT_TYPES),
    )
    return [(f"{code} {name}", words.get(code, UNKNOWN)) for code, name, words in parts]


def explain_entry_1987(value: str) -> Explanation:
    """Explain DE 22 of 1987; a fourth digit is filler."""
    card, pin = value[:2], value[2:3]
    return [
        (f"{card} card entry", CARD_ENTRIES_1987.get(card, (None, UNKNOWN))[1]),
        (f"{pin} PIN capability", PIN_CAPABILITIES_1987.get(pin, (None, UNKNOWN))[1]),
    ]


def explain_entry_1993(value: str) -> Explanation:
    """Explain the twelve positions of DE 22 of 1993.

    Examples
    --------
    >>> explain_entry_1993("51010151134C")[6]
    ('7: 5 card data input mode', 'chip')
    """
    return [
        (f"{place}: {code} {name}", words.get(code, UNKNOWN))
        for place, (code, (name, words)) in enumerate(
            zip(value, POSITIONS_1993, strict=False), start=1
        )
    ]


def explain_entry_2003(value: str) -> Explanation:
    """Explain the flags of DE 22 of 2003, given in hexadecimal.

    Examples
    --------
    >>> explain_entry_2003("20000000" "08000000" "02000000" "01000000")
    [('card reading', 'chip'), ('verification', 'online PIN'), \
('environment', 'attended')]
    """
    maps = (
        ("card reading", value[:8], READ_FLAGS_2003),
        ("verification", value[8:16], VERIFICATION_FLAGS_2003),
        ("environment", value[16:24], ENVIRONMENT_FLAGS_2003),
    )
    return [
        (name, words.get(flag, f"flag {flag} {UNKNOWN}"))
        for name, digits, words in maps
        for flag in _flags(digits)
    ]


def explain_additional_amounts(value: str) -> Explanation:
    """Explain DE 54 of 1987 and 1993, one row for each amount.

    Examples
    --------
    >>> explain_additional_amounts("1002978C000000005000")
    [('1002978C000000005000', 'savings: account available balance, 50.00 EUR credit')]
    """
    return [
        (item, _additional_amount(item))
        for item in (value[start : start + 20] for start in range(0, len(value), 20))
    ]


def explain_original_1987(value: str) -> Explanation:
    """Explain DE 90."""
    parts = (
        ("MTI", value[:4]),
        ("trace number", value[4:10]),
        ("transmission date and time MMDDhhmmss", value[10:20]),
        ("acquirer", value[20:31]),
        ("forwarder", value[31:42]),
    )
    return [(name, part) for name, part in parts if part]


def explain_original_1993(value: str) -> Explanation:
    """Explain DE 56 of 1993."""
    parts = (
        ("MTI", value[:4]),
        ("trace number", value[4:10]),
        ("local date and time YYMMDDhhmmss", value[10:22]),
        ("acquirer", value[24:]),
    )
    return [(name, part) for name, part in parts if part]


def _explain_currency(value: str) -> Explanation:
    letters, decimals = CURRENCIES.get(value, ("", 0))
    return [(value, f"{letters}, {decimals} decimals" if letters else UNKNOWN)]


def _additional_amount(item: str) -> str:
    account = vocabulary.ACCOUNT_TYPES.get(item[:2], UNKNOWN)
    amount_type = vocabulary.AMOUNT_TYPES.get(item[2:4], UNKNOWN)
    side = {"C": "credit", "D": "debit"}.get(item[7:8], UNKNOWN)
    digits = item[8:]
    if len(item) != 20 or not digits.isdecimal():
        return "not an additional amount of 20 characters"
    return f"{account}: {amount_type}, {Money(int(digits), item[4:7])} {side}"


def _flags(digits: str) -> list[int]:
    try:
        value = int.from_bytes(bytes.fromhex(digits), "little")
    except ValueError:
        return []
    return [bit + 1 for bit in range(value.bit_length()) if value >> bit & 1]


def _by_words(words: Mapping[str, str]) -> Explainer:
    return lambda value: [(value, words.get(value, UNKNOWN))]


def _by_meanings(meanings: Meanings) -> Explainer:
    words = {
        wire: f"{words} -> {code.value}" for wire, (code, words) in meanings.items()
    }
    return _by_words(words)


_1987: Mapping[int, Explainer] = {
    MTI: explain_mti,
    3: explain_processing_code,
    22: explain_entry_1987,
    25: _by_words(vocabulary.CONDITIONS_1987),
    39: _by_meanings(MEANINGS_1987),
    49: _explain_currency,
    54: explain_additional_amounts,
    70: _by_words(vocabulary.NETWORK_CODES),
    90: explain_original_1987,
}

_1993: Mapping[int, Explainer] = {
    MTI: explain_mti,
    3: explain_processing_code,
    22: explain_entry_1993,
    24: _by_words(vocabulary.FUNCTION_CODES),
    25: _by_words(vocabulary.REASON_CODES),
    39: _by_meanings(MEANINGS_1993),
    49: _explain_currency,
    54: explain_additional_amounts,
    56: explain_original_1993,
}

_2003: Mapping[int, Explainer] = {
    MTI: explain_mti,
    3: explain_processing_code,
    22: explain_entry_2003,
    24: _by_words(vocabulary.FUNCTION_CODES),
    25: _by_words(vocabulary.REASON_CODES),
    39: _by_meanings(MEANINGS_2003),
}

_EXPLAINERS: Mapping[str, Mapping[int, Explainer]] = {
    "1987": _1987,
    "1993": _1993,
    "2003": _2003,
    "unionpay": {**_1987, 39: _by_meanings(MEANINGS_UNIONPAY)},
}
