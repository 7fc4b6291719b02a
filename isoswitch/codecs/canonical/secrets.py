"""Values that print masked: card numbers, tracks, PIN blocks, keys.

Clear text is reached only by ``reveal()``, which only codecs and ``hsm/`` call. The
types fail closed: they cannot be pickled or serialised by accident, and formatting
them in any way gives the masked form.
"""

from __future__ import annotations

import hmac
from typing import Generic, NoReturn, TypeVar

T = TypeVar("T", str, bytes)


class Secret(Generic[T]):
    """A value whose text form never shows it.

    Examples
    --------
    >>> Secret("1234")
    Secret(***)
    >>> f"{Secret(b'abc')}"
    '***'
    """

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value: T = value

    def reveal(self) -> T:
        """Give the clear value; only codecs and ``hsm/`` may ask."""
        return self._value

    @property
    def masked(self) -> str:
        """The form that may be shown and stored."""
        return "***"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.masked})"

    def __str__(self) -> str:
        return self.masked

    def __format__(self, spec: str) -> str:
        return format(self.masked, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret) or type(self) is not type(other):
            return NotImplemented
        return hmac.compare_digest(_octets(self._value), _octets(other._value))

    def __hash__(self) -> int:
        return hash((type(self).__name__, self._value))

    def __reduce__(self) -> NoReturn:
        msg = f"{type(self).__name__} is never serialised"
        raise TypeError(msg)


class Pan(Secret[str]):
    """A primary account number: 8 to 19 digits, shown as first six and last four.

    Raises
    ------
    ValueError
        The text is not 8 to 19 decimal digits.

    Examples
    --------
    >>> Pan("5544332211009966")
    Pan(554433******9966)
    >>> Pan("5544332211009966").last4
    '9966'
    """

    __slots__ = ()

    def __init__(self, value: str) -> None:
        if not (8 <= len(value) <= 19 and value.isascii() and value.isdecimal()):
            msg = "a card number has 8 to 19 digits"
            raise ValueError(msg)
        super().__init__(value)

    @property
    def masked(self) -> str:
        """First six and last four digits (PCI DSS 3.4.1); none of short numbers."""
        return mask_pan(self._value)

    @property
    def last4(self) -> str:
        """The last four digits."""
        return self._value[-4:]

    @property
    def stored_bin(self) -> str:
        """The leading digits that may stand beside the last four.

        Eight of a number with sixteen or more, six of one with thirteen to fifteen,
        none of a shorter one (PCI DSS 3.4.1 and its table of truncation formats).

        Examples
        --------
        >>> Pan("5544332211009966").stored_bin, Pan("554433221100").stored_bin
        ('55443322', '')
        """
        length = len(self._value)
        return self._value[: 8 if length >= 16 else 6 if length >= 13 else 0]

    @property
    def lookup_digits(self) -> str:
        """The first eleven digits, for look-ups in memory: never shown or stored."""
        return self._value[:11]

    def leading(self, digits: int) -> str:
        """The leading digits, at most the eight of a BIN."""
        return self._value[: min(digits, 8)]


class ScannedCode(Secret[str]):
    """A payer's one-time code as a scanner read it; pays for whoever holds it.

    Of one that is digits the two that name the wallet and the last four are shown.

    Examples
    --------
    >>> ScannedCode("289431869362714645"), ScannedCode("hQVDUFYwMWEJ")
    (ScannedCode(28************4645), ScannedCode(***))
    """

    __slots__ = ()

    @property
    def masked(self) -> str:
        """The wallet's prefix and the last four digits."""
        text = self._value
        if len(text) < 13 or not text.isdecimal():
            return super().masked
        return f"{self.prefix}{'*' * (len(text) - 6)}{text[-4:]}"

    @property
    def prefix(self) -> str:
        """The first two characters, which name the wallet of a code of digits."""
        return self._value[:2]


class Track2(Secret[str]):
    """Track 2 equivalent data with its separator ``=`` or ``D``; never stored."""

    __slots__ = ()


class Pin(Secret[str]):
    """A clear PIN; exists in simulators and in the crypto process only."""

    __slots__ = ()


class PinBlock(Secret[bytes]):
    """A PIN block, encrypted or clear; never logged and never stored.

    Examples
    --------
    >>> PinBlock(bytes(8))
    PinBlock(***)
    """

    __slots__ = ()


class KeyValue(Secret[bytes]):
    """The bytes of a cryptographic key or component."""

    __slots__ = ()


def mask_pan(digits: str) -> str:
    """Mask a card number: first six and last four digits stay.

    Of fewer than thirteen digits none stays: they may be a security code or a PIN, and
    of a short card number the rest is soon guessed.

    Examples
    --------
    >>> mask_pan("4111111111111111")
    '411111******1111'
    >>> mask_pan("12345678")
    '********'
    """
    if len(digits) < 13:
        return "*" * len(digits)
    return digits[:6] + "*" * (len(digits) - 10) + digits[-4:]


def _octets(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
