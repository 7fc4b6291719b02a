"""The message that tells a terminal, unasked, what became of the code that it shows.

    0640, 1640, 2640    a notification of class 6: nobody answers it
    DE 3                that of the question whether a code was paid
    DE 37               the reference that the code came with
    DE 39               what an answer to that question would say
    DE 4 and 49, 7, 11, 41, 42, and the MAC last

A layout has these fields as far as it has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.dialects.dates import format_transmission
from isoswitch.codecs.dialects.dialect import MAC_BYTES, Dialect
from isoswitch.codecs.dialects.edition import Fields
from isoswitch.codecs.iso8583.message import Message

_TYPE: Final = "640"
_ANSWERS_OF_CLASS: Final = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeNotice:
    """What became of the code that came with ``rrn``."""

    rrn: str
    code: ResponseCode
    amount: Money
    terminal_id: str
    merchant_id: str


def build_notice(
    dialect: Dialect,
    notice: CodeNotice,
    *,
    stan: str,
    transmitted_at: datetime,
    mac: bool,
) -> Message:
    """Build the message; ``mac`` leaves room for a MAC.

    Examples
    --------
    >>> from datetime import UTC
    >>> from isoswitch.codecs.dialects.registry import get_dialect
    >>> dialect = get_dialect("iso93-bcd")
    >>> notice = CodeNotice(
    ...     rrn="000100000002", code=ResponseCode.APPROVED, amount=Money(1250, "978"),
    ...     terminal_id="TERM0001", merchant_id="KIOSK0000000001")
    >>> message = build_notice(
    ...     dialect, notice, stan="7", mac=True,
    ...     transmitted_at=datetime(2026, 6, 1, 12, tzinfo=UTC))
    >>> message.mti, message[39], read_notice(dialect, message) == notice
    ('1640', '000', True)
    """
    edition, specs = dialect.edition, dialect.codec.spec.fields
    fields: Fields = {
        3: edition.requests[Kind.CODE_STATUS].transaction_type + "0000",
        7: format_transmission(transmitted_at),
        11: stan.zfill(edition.stan_digits),
        37: notice.rrn,
        39: edition.answer_codes[_ANSWERS_OF_CLASS][notice.code],
        41: notice.terminal_id,
        42: notice.merchant_id,
    }
    edition.write_amount(fields, notice.amount)
    for de in (37, 41, 42):
        if not specs[de].length:
            fields[de] = str(fields[de]).ljust(specs[de].max)
    if mac:
        fields[128 if max(fields) > 64 else 64] = bytes(MAC_BYTES)
    known = {de: value for de, value in fields.items() if de in specs}
    return dialect.codec.build(edition.version + _TYPE, known)


def read_notice(dialect: Dialect, message: Message) -> CodeNotice | None:
    """Read the message; None where it is another one."""
    edition, values = dialect.edition, message.values()
    kinds = edition.requests.get(Kind.CODE_STATUS)
    if (
        message.mti != edition.version + _TYPE
        or kinds is None
        or str(values.get(3, ""))[:2] != kinds.transaction_type
    ):
        return None
    meanings = edition.meanings[f"{_ANSWERS_OF_CLASS}1"]
    meaning = meanings.get(str(values.get(39, "")))
    amount = edition.read_amount(values, "")
    if meaning is None or amount is None:
        return None
    return CodeNotice(
        rrn=str(values.get(37, "")).rstrip(),
        code=meaning[0],
        amount=amount,
        terminal_id=str(values.get(41, "")).rstrip(),
        merchant_id=str(values.get(42, "")).rstrip(),
    )
