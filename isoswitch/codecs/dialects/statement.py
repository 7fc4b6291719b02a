"""The lines of a mini statement, in a field of additional data.

The standard has no field for them. Ours holds up to ten lines of 22 characters, the
newest first: date YYMMDD, C or D, currency 3, amount 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.transaction import StatementLine

LINES_MAX = 10
_LINE = 22
_CENTURY = 2000


def write_statement(lines: Sequence[StatementLine]) -> str:
    """Write the first lines that there is room for.

    Examples
    --------
    >>> write_statement([StatementLine(booked_on=date(2026, 1, 2),
    ...     amount=Money(-1250, "978"))])
    '260102D978000000001250'
    """
    return "".join(
        f"{line.booked_on:%y%m%d}{'D' if line.amount.minor < 0 else 'C'}"
        f"{line.amount.currency}{abs(line.amount.minor):012}"
        for line in lines[:LINES_MAX]
    )


def read_statement(text: str) -> tuple[StatementLine, ...]:
    """Read the lines; what is cut or malformed is passed over.

    Examples
    --------
    >>> read_statement("260102D978000000001250990230C978000000000001")
    (StatementLine(booked_on=datetime.date(2026, 1, 2), amount=Money(minor=-1250, \
currency='978')),)
    """
    pieces = [text[at : at + _LINE] for at in range(0, len(text), _LINE)]
    lines = (_read_line(piece) for piece in pieces[:LINES_MAX])
    return tuple(line for line in lines if line is not None)


def _read_line(text: str) -> StatementLine | None:
    day, sign, currency, digits = text[:6], text[6:7], text[7:10], text[10:]
    numbers = day + currency + digits
    if len(text) != _LINE or sign not in "CD" or not numbers.isdecimal():
        return None
    try:
        booked_on = date(_CENTURY + int(day[:2]), int(day[2:4]), int(day[4:]))
    except ValueError:
        return None
    minor = int(digits) if sign == "C" else -int(digits)
    return StatementLine(booked_on=booked_on, amount=Money(minor, currency))
