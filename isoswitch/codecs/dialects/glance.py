"""Which request a message is, read without the rest of it.

What is turned away at the door gets no closer look than this: reading the whole
transaction would cost most of what a refusal may cost. Card messages of ISO 20022 have
no numbered fields to glance at, and are read whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from isoswitch.codecs.canonical.codes import Function, Kind
from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.codecs.canonical.values import quick
from isoswitch.codecs.dialects.dialect import Dialect
from isoswitch.codecs.dialects.mti import REQUESTS
from isoswitch.codecs.dialects.numbers import read_stan, read_transmission
from isoswitch.codecs.iso8583.message import Message


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """A request of a terminal for money: what it is, its numbers and its time.

    ``moment`` is its local time, or when it was sent.
    """

    mti: str
    kind: Kind
    is_repeat: bool
    terminal_id: str
    stan: str
    moment: datetime | None


def glance(
    dialect: Dialect, msg: Message, *, reference: datetime, currency: str
) -> Glance | None:
    """Read which request for money a message is; None when it is something else.

    Advices and reversals are something else: they tell of what has happened.

    Raises
    ------
    DecodeError
        It has no trace number, or its kind or time makes no sense.
    """
    edition, mti = dialect.edition, msg.mti
    request = REQUESTS.get(mti)
    if (
        request is None
        or request.version != edition.version
        or request.message_class not in edition.money_classes
        or request.function is not Function.REQUEST
    ):
        return None
    if not dialect.tells_by_number:
        txn = dialect.to_transaction(msg, reference=reference, currency=currency)
        return _glance_at(txn, mti)
    values = msg.values()
    try:
        moment = edition.read_local(values, reference)
    except ValueError:
        raise DecodeError(
            "not a date and time", field="12", offset=msg.offset(12)
        ) from None
    terminal_id = values.get(41)
    kind, _ = dialect.kind_of(values, mti)
    return Glance(
        mti=mti,
        kind=kind,
        is_repeat=request.is_repeat,
        terminal_id=terminal_id.rstrip() if isinstance(terminal_id, str) else "",
        stan=read_stan(values),
        moment=moment or read_transmission(msg, values, reference),
    )


def _glance_at(txn: Transaction, mti: str) -> Glance | None:
    """Give of a transaction what a glance tells."""
    if txn.function is not Function.REQUEST or txn.kind is Kind.REVERSAL:
        return None
    return Glance(
        mti=mti,
        kind=txn.kind,
        is_repeat=txn.is_repeat,
        terminal_id=txn.terminal_id,
        stan=txn.stan,
        moment=txn.local_at or txn.transmitted_at,
    )
