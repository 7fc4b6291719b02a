"""The date that a cutover message brings: the settlement day that begins (DE 15).

1987    MMDD        its year is the one nearest to now
1993    YYMMDD
2003    CCYYMMDD
"""

from __future__ import annotations

from datetime import date, datetime

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.dialects.dates import MIDNIGHT, resolve_month_day, resolve_year
from isoswitch.codecs.dialects.dialect import Dialect
from isoswitch.codecs.dialects.edition import Fields
from isoswitch.codecs.iso8583.message import Message

DATE_FIELD = 15


def read_cutover_date(message: Message, *, reference: datetime) -> date | None:
    """Read the day that begins; None when the message names none.

    Raises
    ------
    DecodeError
        There is no such day.
    """
    text = message.get(DATE_FIELD)
    if text is None:
        return None
    digits = str(text)
    try:
        if len(digits) == 4:
            return resolve_month_day(
                digits, MIDNIGHT, reference=reference, zone=None
            ).date()
        year = (
            resolve_year(int(digits[:2]), reference=reference)
            if len(digits) == 6
            else int(digits[:-4])
        )
        return date(year, int(digits[-4:-2]), int(digits[-2:]))
    except ValueError:
        raise DecodeError("not a date", field=str(DATE_FIELD)) from None


def write_cutover_date(dialect: Dialect, day: date) -> Fields:
    """Give the field that names the day that begins.

    Examples
    --------
    >>> from isoswitch.codecs.dialects.registry import get_dialect
    >>> write_cutover_date(get_dialect("iso93-bcd"), date(2026, 6, 2))
    {15: '260602'}
    """
    width = dialect.codec.spec.fields[DATE_FIELD].max
    return {DATE_FIELD: f"{day:%Y%m%d}"[8 - width :]}
