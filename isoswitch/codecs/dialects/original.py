"""The original data elements: which transaction a reversal undoes.

    DE 90, 1987 (n42)     MTI 4, STAN 6, DE 7 of the original 10,
                          acquirer 11, forwarder 11, both left-filled with 0
    DE 56, 1993 (n..35)   MTI 4, STAN 6, local time YYMMDDhhmmss 12,
                          length 2 and acquirer ..11
    DE 56, 2003 (n..41)   MTI 4, STAN 12, local time CCYYMMDDhhmmss 14, acquirer ..11

Zeros stand for what the sender does not know. A date that is none is left out: the
other elements still name the original, and a reversal is not refused for it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.transaction import OriginalData
from isoswitch.codecs.dialects.dates import (
    format_transmission,
    format_with_century,
    format_with_year,
    parse_local_with_century,
    parse_local_with_year,
    parse_transmission,
)


def read_1987(text: str, *, kind: Kind, rrn: str, reference: datetime) -> OriginalData:
    """Read DE 90; ``kind`` and ``rrn`` come from the reversal's own fields."""
    return OriginalData(
        mti=text[:4],
        stan=text[4:10],
        transmitted_at=_date_or_none(
            lambda: parse_transmission(text[10:20], reference=reference)
        ),
        acquirer_id=text[20:31].lstrip("0"),
        rrn=rrn,
        kind=kind,
    )


def write_1987(original: OriginalData, *, version: str) -> str:
    """Write DE 90.

    Examples
    --------
    >>> write_1987(OriginalData(mti="1200", stan="000017"), version="0")[:20]
    '02000000170000000000'
    """
    sent_at = original.transmitted_at
    return (
        f"{version}{original.mti[1:]}{original.stan}"
        f"{'0' * 10 if sent_at is None else format_transmission(sent_at)}"
        f"{original.acquirer_id:0>11}{'0' * 11}"
    )


def read_1993(text: str, *, kind: Kind, rrn: str, reference: datetime) -> OriginalData:
    """Read DE 56 of 1993."""
    return OriginalData(
        mti=text[:4],
        stan=text[4:10],
        local_at=_date_or_none(
            lambda: parse_local_with_year(text[10:22], reference=reference)
        ),
        acquirer_id=text[24:].lstrip("0"),
        rrn=rrn,
        kind=kind,
    )


def write_1993(
    original: OriginalData, *, version: str, local_at: datetime | None
) -> str:
    """Write DE 56 of 1993; ``local_at`` serves where the original has none."""
    local = original.local_at or local_at
    return (
        f"{version}{original.mti[1:]}{original.stan}"
        f"{'0' * 12 if local is None else format_with_year(local)}"
        f"{len(original.acquirer_id):02}{original.acquirer_id}"
    )


def read_2003(text: str, *, kind: Kind, rrn: str, reference: datetime) -> OriginalData:
    """Read DE 56 of 2003."""
    del reference  # the date is whole
    return OriginalData(
        mti=text[:4],
        stan=text[10:16] if text[4:10] == "000000" else text[4:16],
        local_at=_date_or_none(lambda: parse_local_with_century(text[16:30])),
        acquirer_id=text[30:].lstrip("0"),
        rrn=rrn,
        kind=kind,
    )


def write_2003(
    original: OriginalData, *, version: str, local_at: datetime | None
) -> str:
    """Write DE 56 of 2003; ``local_at`` serves where the original has none."""
    local = original.local_at or local_at
    return (
        f"{version}{original.mti[1:]}{original.stan:0>12}"
        f"{'0' * 14 if local is None else format_with_century(local)}"
        f"{original.acquirer_id}"
    )


def _date_or_none(parse: Callable[[], datetime]) -> datetime | None:
    try:
        return parse()
    except ValueError:
        return None
