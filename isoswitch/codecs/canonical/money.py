"""Money: an integer of minor units with its currency."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

# ISO 4217: numeric code -> (letters, digits after the decimal point).
CURRENCIES: dict[str, tuple[str, int]] = {
    "032": ("ARS", 2),
    "036": ("AUD", 2),
    "048": ("BHD", 3),
    "116": ("KHR", 2),
    "124": ("CAD", 2),
    "152": ("CLP", 0),
    "156": ("CNY", 2),
    "203": ("CZK", 2),
    "208": ("DKK", 2),
    "344": ("HKD", 2),
    "348": ("HUF", 2),
    "352": ("ISK", 0),
    "356": ("INR", 2),
    "360": ("IDR", 2),
    "376": ("ILS", 2),
    "392": ("JPY", 0),
    "398": ("KZT", 2),
    "400": ("JOD", 3),
    "410": ("KRW", 0),
    "414": ("KWD", 3),
    "418": ("LAK", 2),
    "446": ("MOP", 2),
    "458": ("MYR", 2),
    "484": ("MXN", 2),
    "504": ("MAD", 2),
    "512": ("OMR", 3),
    "554": ("NZD", 2),
    "566": ("NGN", 2),
    "578": ("NOK", 2),
    "586": ("PKR", 2),
    "608": ("PHP", 2),
    "643": ("RUB", 2),
    "682": ("SAR", 2),
    "702": ("SGD", 2),
    "704": ("VND", 0),
    "710": ("ZAR", 2),
    "752": ("SEK", 2),
    "756": ("CHF", 2),
    "764": ("THB", 2),
    "784": ("AED", 2),
    "788": ("TND", 3),
    "818": ("EGP", 2),
    "826": ("GBP", 2),
    "840": ("USD", 2),
    "901": ("TWD", 2),
    "944": ("AZN", 2),
    "946": ("RON", 2),
    "949": ("TRY", 2),
    "975": ("BGN", 2),
    "978": ("EUR", 2),
    "980": ("UAH", 2),
    "985": ("PLN", 2),
    "986": ("BRL", 2),
}


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units of an ISO 4217 numeric currency.

    Examples
    --------
    >>> str(Money(1250, "978"))
    '12.50 EUR'
    >>> str(Money(1250, "392"))
    '1250 JPY'
    >>> Money(100, "978") + Money(1, "840")
    Traceback (most recent call last):
    ValueError: amounts in different currencies: 978 and 840
    """

    minor: int
    currency: str

    def __add__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.minor + other.minor, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.minor - other.minor, self.currency)

    def __str__(self) -> str:
        letters, exponent = CURRENCIES.get(self.currency, (self.currency, 2))
        major = Decimal(self.minor).scaleb(-exponent)
        return f"{major:.{exponent}f} {letters}"

    def _same(self, other: Money) -> None:
        if self.currency != other.currency:
            msg = (
                f"amounts in different currencies: {self.currency} and {other.currency}"
            )
            raise ValueError(msg)


def parse_money(text: str, currency: str) -> Money:
    """Read a decimal amount such as ``12.50`` in a currency.

    Raises
    ------
    ValueError
        Not a positive decimal number, or more decimals than the currency has.

    Examples
    --------
    >>> parse_money("12.5", "978")
    Money(minor=1250, currency='978')
    """
    exponent = CURRENCIES.get(currency, ("", 2))[1]
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if not (digits.isascii() and digits.isdecimal()) or len(fraction) > exponent:
        msg = f"not an amount with at most {exponent} decimals"
        raise ValueError(msg)
    return Money(
        int(whole or "0") * 10**exponent + int(fraction.ljust(exponent, "0") or "0"),
        currency,
    )
