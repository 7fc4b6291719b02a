"""Amounts of the wire: the transaction amount and the additional amounts (DE 54).

1987, 1993   DE 4 n12, its currency in DE 49
             DE 54: account 2, type 2, currency 3, sign C or D, amount 12
2003         DE 4: currency 3, decimals 1, amount 12
             DE 54: account 2, type 2, currency 3, decimals 1, sign, amount 12
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.canonical.money import CURRENCIES, Money
from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.codecs.dialects.edition import Edition, Fields
from isoswitch.codecs.dialects.numbers import missing
from isoswitch.codecs.iso8583.message import Message

LEDGER_BALANCE = "01"
AVAILABLE_BALANCE = "02"
CASH = "40"

_LETTERS: Mapping[str, str] = {
    letters: numeric for numeric, (letters, _) in CURRENCIES.items()
}
_ITEM = 20
_ITEM_2003 = 21
_DIGITS = 12


def numeric_currency(code: str) -> str:
    """Give the numeric form of a currency code, which DE 49 may write in letters.

    Raises
    ------
    DecodeError
        Letters of no currency that we know.

    Examples
    --------
    >>> numeric_currency("EUR"), numeric_currency("978")
    ('978', '978')
    """
    if code.isascii() and code.isdecimal():
        return code
    numeric = _LETTERS.get(code)
    if numeric is None:
        raise DecodeError("unknown currency", field="49")
    return numeric


def read_amount_2003(text: str) -> Money:
    """Read ``currency exponent amount`` as minor units of the currency.

    A sender may count in other decimals than we do; the value stays the same.

    Raises
    ------
    DecodeError
        The value is no whole number of our minor units, or we do not know how
        many decimals its currency has.

    Examples
    --------
    >>> read_amount_2003("9782000000001250")
    Money(minor=1250, currency='978')
    >>> read_amount_2003("3922000000125000")
    Money(minor=1250, currency='392')
    """
    return _rescale(text[:3], int(text[3]), int(text[4:]), field="4")


def write_amount_2003(amount: Money) -> str:
    """Write ``currency exponent amount``.

    Raises
    ------
    EncodeError
        We do not know how many decimals its currency has.

    Examples
    --------
    >>> write_amount_2003(Money(1250, "392"))
    '3920000000001250'
    """
    decimals = _decimals(amount, field="4")
    return f"{amount.currency}{decimals}{amount.minor:012}"


def find_amount(text: str, *types: str) -> Money | None:
    """Find the first additional amount of one of these types, in this order.

    Items that are cut or malformed are passed over: no approval fails on them.

    Examples
    --------
    >>> find_amount("0001978C0000000050001002978D000000001250", "02", "01")
    Money(minor=-1250, currency='978')
    """
    return _find(text, types, size=_ITEM, sign_at=7)


def find_amount_2003(text: str, *types: str) -> Money | None:
    """Find an additional amount in the form of 2003.

    Raises
    ------
    DecodeError
        It cannot be told in minor units, as in `read_amount_2003`.

    Examples
    --------
    >>> find_amount_2003("00029782C000000005000", "02")
    Money(minor=5000, currency='978')
    >>> find_amount_2003("00029783D000000005000", "02")
    Money(minor=-500, currency='978')
    """
    return _find(text, types, size=_ITEM_2003, sign_at=8)


def write_additional(account: str, amount_type: str, amount: Money) -> str:
    """Write one additional amount; a negative one is a debit.

    Raises
    ------
    EncodeError
        It has more digits than there is room for.

    Examples
    --------
    >>> write_additional("00", AVAILABLE_BALANCE, Money(-1250, "978"))
    '0002978D000000001250'
    """
    return f"{account}{amount_type}{amount.currency}{_signed(amount)}"


def write_additional_2003(account: str, amount_type: str, amount: Money) -> str:
    """Write one additional amount in the form of 2003.

    Raises
    ------
    EncodeError
        It has more digits than there is room for, or we do not know how many
        decimals its currency has.

    Examples
    --------
    >>> write_additional_2003("00", CASH, Money(5000, "978"))
    '00409782C000000005000'
    """
    decimals = _decimals(amount, field="54")
    return f"{account}{amount_type}{amount.currency}{decimals}{_signed(amount)}"


def read_balance(edition: Edition, text: str) -> Money | None:
    """Read the balance among additional amounts; no approval fails on one."""
    with suppress(DecodeError):
        return edition.find_additional(text, AVAILABLE_BALANCE, LEDGER_BALANCE)
    return None


def balance_fields(edition: Edition, account: str, balance: Money) -> Fields:
    """Give the field that tells a balance; none where there is no room for it."""
    with suppress(EncodeError):
        return {54: edition.write_additional(account, AVAILABLE_BALANCE, balance)}
    return {}


def read_partial(edition: Edition, response: Message, txn: Transaction) -> Money:
    """Read the amount that a partial approval approves.

    Raises
    ------
    DecodeError
        It has none, or one that is no part of what was asked for, which nothing is not.
    """
    currency = txn.amount.currency if txn.amount else ""
    amount = edition.read_amount(response.values(), currency)
    if amount is None:
        raise missing(4)
    if amount.minor < 1 or (
        txn.amount is not None
        and (amount.currency != txn.amount.currency or amount.minor > txn.amount.minor)
    ):
        reason = "no part of the requested amount"
        raise DecodeError(reason, field="4", offset=response.offset(4))
    return amount


def _find(
    text: str, types: tuple[str, ...], *, size: int, sign_at: int
) -> Money | None:
    items = {
        text[start + 2 : start + 4]: text[start : start + size]
        for start in range(0, len(text) - size + 1, size)
    }
    for amount_type in types:
        item = items.get(amount_type, "")
        currency, decimals, sign, digits = (
            item[4:7],
            item[7:sign_at],
            item[sign_at : sign_at + 1],
            item[sign_at + 1 :],
        )
        numbers = currency + decimals + digits
        if sign and sign in "CD" and numbers.isascii() and numbers.isdecimal():
            minor = int(digits) if sign == "C" else -int(digits)
            if not decimals:
                return Money(minor, currency)
            return _rescale(currency, int(decimals), minor, field="54")
    return None


def _rescale(currency: str, decimals: int, number: int, *, field: str) -> Money:
    """Give an amount that counts in some decimals in minor units of its currency."""
    known = CURRENCIES.get(currency)
    if known is None:
        raise DecodeError("unknown currency", field=field)
    shift = known[1] - decimals
    minor, rest = divmod(number * 10 ** max(shift, 0), 10 ** max(-shift, 0))
    if rest:
        raise DecodeError("more decimals than its currency has", field=field)
    return Money(minor, currency)


def _decimals(amount: Money, *, field: str) -> int:
    known = CURRENCIES.get(amount.currency)
    if known is None:
        raise EncodeError("unknown currency", field=field)
    return known[1]


def _signed(amount: Money) -> str:
    digits = f"{abs(amount.minor):0{_DIGITS}}"
    if len(digits) > _DIGITS:
        raise EncodeError(f"longer than {_DIGITS} digits", field="54")
    return f"{'D' if amount.minor < 0 else 'C'}{digits}"
