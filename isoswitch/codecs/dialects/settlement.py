"""Totals in messages: a terminal settles its batch, a host its business day.

ISO 8583 has a field for each count and sum, and one for what is left in the end::

    DE 74, 75, 76, 77    n10     credits, credit reversals, debits, debit reversals
    DE 86, 87, 88, 89    n16     their sums in minor units
    DE 97                x+n16   the net sum: D when cardholders paid, C when they got
    DE 15                        the business day that a message belongs to

UnionPay terminals put two sums with their counts into DE 48, first for domestic cards
and then for foreign ones::

    debits n12, their count n3, credits n12, their count n3, verdict n1   (twice)

Reversals have no place there and nothing may be below zero: where more was undone than
done (a sale of the batch before), debits below zero are told as credits, and credits
below zero as debits. What is more than its digits hold is told as all nines.

ISO 8583:2003 packs everything into DE 74 and 75, and nobody was found who sends it:
there totals are neither read nor written, and a batch is settled by its upload.

A batch that was found to differ is uploaded, transaction by transaction, and settled
again: with transaction type 96 (DE 3), by UnionPay terminals with code 202 or 207.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.canonical.totals import Totals
from isoswitch.codecs.dialects.dates import MIDNIGHT, resolve_month_day, resolve_year
from isoswitch.codecs.dialects.dialect import Dialect
from isoswitch.codecs.dialects.edition import Fields, FieldValue
from isoswitch.codecs.iso8583.message import Message

VERSION_2003 = "2"
DAY_FIELD = 15
CURRENCY_FIELDS = (50, 49)
AFTER_UPLOAD_TYPE = "96"
UNIONPAY_AFTER_UPLOAD = frozenset({"202", "207"})

_COUNTS: Mapping[int, str] = {
    74: "credits",
    75: "credit_reversals",
    76: "debits",
    77: "debit_reversals",
}
_NET_FIELD = 97
# From the field of a count to the field of its sum.
_SUM_OFFSET = 12
_UNIONPAY_NAME = "cup-pos"
_UNIONPAY_FIELD = 48
_UNIONPAY_LENGTH = 62
_UNIONPAY_PART = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What a settlement message says.

    ``totals`` is None where it carries none; ``is_after_upload`` says that the
    transactions of the batch were sent before.
    """

    totals: Totals | None
    currency: str
    is_after_upload: bool


def names_currency(dialect: Dialect) -> bool:
    """Whether a settlement message can say which currency it speaks of."""
    return dialect.edition.version != VERSION_2003


def read_settlement(dialect: Dialect, message: Message) -> Settlement:
    """Read the totals of a settlement request, advice or answer.

    Raises
    ------
    DecodeError
        Only a part of the totals is there.
    """
    read, is_after_upload, _ = _layout(dialect)
    has_currency = names_currency(dialect)
    named = (de for de in CURRENCY_FIELDS if has_currency and de in message)
    currency = next(named, 0)
    return Settlement(
        totals=read(message),
        currency=str(message[currency]) if currency else "",
        is_after_upload=is_after_upload(message),
    )


def do_agree(dialect: Dialect, theirs: Totals, ours: Totals) -> bool:
    """Whether two sides agree on what stands, as far as a dialect can tell it.

    Examples
    --------
    >>> from isoswitch.codecs.dialects.registry import get_dialect
    >>> undone = Totals(debit_reversals=1, debit_reversals_minor=1250)
    >>> told = Totals(credits=1, credits_minor=1250)
    >>> do_agree(get_dialect("cup-pos"), told, undone)
    True
    >>> do_agree(get_dialect("iso87-ascii"), told, undone)
    False
    """
    if dialect.name == _UNIONPAY_NAME:
        return _tell_unionpay(theirs).standing == _tell_unionpay(ours).standing
    return theirs.standing == ours.standing


def totals_fields(dialect: Dialect, totals: Totals, currency: str = "") -> Fields:
    """Give the fields that tell totals in a dialect; an answer names no currency.

    Examples
    --------
    >>> from isoswitch.codecs.dialects.registry import get_dialect
    >>> fields = totals_fields(
    ...     get_dialect("iso87-ascii"), Totals(debits=2, debits_minor=3000))
    >>> fields[76], fields[88], fields[97]
    ('0000000002', '0000000000003000', 'D0000000000003000')
    """
    fields = _layout(dialect)[2](totals)
    if currency and names_currency(dialect):
        fields[CURRENCY_FIELDS[0]] = currency
    return fields


@lru_cache(maxsize=64)
def day_fields(dialect: Dialect, date: str) -> Mapping[int, FieldValue]:
    """Give the field that names a business day.

    Examples
    --------
    >>> from isoswitch.codecs.dialects.registry import get_dialect
    >>> day_fields(get_dialect("iso87-ascii"), "2026-01-31")
    {15: '0131'}
    """
    width = dialect.codec.spec.fields[DAY_FIELD].max
    return {DAY_FIELD: date.replace("-", "")[-width:]}


def read_day(message: Message, *, reference: datetime) -> str:
    """Read the business day of a message, in the year nearest to the reference.

    Empty where the message names none.

    Raises
    ------
    DecodeError
        DE 15 is not a day.
    """
    text = str(message.get(DAY_FIELD, ""))
    if not text:
        return ""
    try:
        if len(text) == 4:
            day = resolve_month_day(text, MIDNIGHT, reference=reference, zone=None)
            return day.date().isoformat()
        year = resolve_year(int(text[-6:-4]), reference=reference)
        return (
            reference.replace(year=year, month=int(text[-4:-2]), day=int(text[-2:]))
            .date()
            .isoformat()
        )
    except ValueError:
        reason = "not a day"
        raise DecodeError(
            reason, field=str(DAY_FIELD), offset=message.offset(DAY_FIELD)
        ) from None


def _read_iso(message: Message) -> Totals | None:
    present = [de for de in _COUNTS if de in message]
    if not present:
        return None
    values: dict[str, int] = {}
    for de, name in _COUNTS.items():
        for field, key in ((de, name), (de + _SUM_OFFSET, f"{name}_minor")):
            if field not in message:
                reason = "totals are given whole or not at all"
                raise DecodeError(reason, field=str(field))
            values[key] = int(message[field])
    return Totals(**values)


def _write_iso(totals: Totals) -> Fields:
    fields: Fields = {}
    for de, name in _COUNTS.items():
        fields[de] = f"{getattr(totals, name):010}"
        fields[de + _SUM_OFFSET] = f"{getattr(totals, f'{name}_minor'):016}"
    net = totals.net_minor
    fields[_NET_FIELD] = f"{'D' if net >= 0 else 'C'}{abs(net):016}"
    return fields


def _iso_is_after_upload(message: Message) -> bool:
    return str(message.get(3, ""))[:2] == AFTER_UPLOAD_TYPE


def _read_unionpay(message: Message) -> Totals | None:
    text = str(message.get(_UNIONPAY_FIELD, ""))
    if not text:
        return None
    if len(text) != _UNIONPAY_LENGTH:
        reason = "not the totals of domestic and foreign cards"
        raise DecodeError(
            reason,
            field=str(_UNIONPAY_FIELD),
            offset=message.offset(_UNIONPAY_FIELD),
        )
    return _read_unionpay_part(text[:_UNIONPAY_PART]) + _read_unionpay_part(
        text[_UNIONPAY_PART:]
    )


def _read_unionpay_part(text: str) -> Totals:
    return Totals(
        debits_minor=int(text[:12]),
        debits=int(text[12:15]),
        credits_minor=int(text[15:27]),
        credits=int(text[27:30]),
    )


def _write_unionpay(totals: Totals) -> Fields:
    """Write what stands in the first part."""
    part = "".join(
        f"{min(minor, 10**12 - 1):012}{min(transactions, 999):03}"
        for transactions, minor in _tell_unionpay(totals).standing
    )
    return {_UNIONPAY_FIELD: f"{part}0" + "0" * _UNIONPAY_PART}


def _tell_unionpay(totals: Totals) -> Totals:
    """Give what stands without reversals, each number below zero on the other side."""
    debits, credited = totals.standing
    return Totals(
        debits=max(debits.transactions, 0) + max(-credited.transactions, 0),
        debits_minor=max(debits.minor, 0) + max(-credited.minor, 0),
        credits=max(credited.transactions, 0) + max(-debits.transactions, 0),
        credits_minor=max(credited.minor, 0) + max(-debits.minor, 0),
    )


def _unionpay_is_after_upload(message: Message) -> bool:
    return str(message.get(60, ""))[8:11] in UNIONPAY_AFTER_UPLOAD


_Layout = tuple[
    Callable[[Message], Totals | None],
    Callable[[Message], bool],
    Callable[[Totals], Fields],
]
_ISO: _Layout = (_read_iso, _iso_is_after_upload, _write_iso)
_UNIONPAY: _Layout = (_read_unionpay, _unionpay_is_after_upload, _write_unionpay)
_WITHOUT_TOTALS: _Layout = (
    lambda _: None,
    _iso_is_after_upload,
    lambda _: {},
)


def _layout(dialect: Dialect) -> _Layout:
    if dialect.name == _UNIONPAY_NAME:
        return _UNIONPAY
    return _WITHOUT_TOTALS if dialect.edition.version == VERSION_2003 else _ISO
