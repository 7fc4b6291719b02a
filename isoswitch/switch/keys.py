"""The keys under which repeats and originals are found again.

A request is the same request when terminal, trace number, local date and time, and
message class agree (the MTI's first two digits); its origin digit only says "again".
"""

from __future__ import annotations

from datetime import datetime

from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.codecs.dialects.glance import Glance


def dedup_key(mti: str, txn: Transaction) -> str:
    """Give the key of a request as it arrived.

    Examples
    --------
    >>> from isoswitch.codecs.canonical.codes import Function, Kind
    >>> dedup_key("0201", Transaction(
    ...     kind=Kind.PURCHASE, function=Function.REQUEST, stan="000007",
    ...     terminal_id="T1", local_at=datetime(2026, 1, 2, 3, 4, 5)))
    'T1|000007|2026-01-02T03:04:05|02'
    """
    return _key(txn.terminal_id, txn.stan, _moment(txn), mti)


def glanced_key(glance: Glance) -> str:
    """Give the key of a request of which no more was read."""
    return _key(glance.terminal_id, glance.stan, glance.moment, glance.mti)


def original_key(txn: Transaction) -> str:
    """Give the key of the transaction that a reversal undoes."""
    original = txn.original
    assert original is not None, "only a reversal names an original"
    moment = original.local_at or txn.local_at or original.transmitted_at
    return _key(txn.terminal_id, original.stan, moment, original.mti or "0200")


def _moment(txn: Transaction) -> datetime | None:
    return txn.local_at or txn.transmitted_at


def _key(terminal_id: str, stan: str, moment: datetime | None, mti: str) -> str:
    return f"{terminal_id}|{stan}|{moment.isoformat() if moment else ''}|{mti[:2]}"
