"""What a disk must agree on with itself: journal, tables and lanes.

1.  The chain of records is whole; replaying it gives the state that the tables hold.
2.  Every transaction is opened once and closed at most once.
3.  Store and forward goes in order for each card.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.sealing import load_outcome
from isoswitch.journal.chain import walk_chain
from isoswitch.journal.records import Record, RecordKind
from isoswitch.simulators.auditor import Finding
from isoswitch.store.disk import MemoryDisk, read_record
from isoswitch.store.port import SafEntry, StoredTransaction, TransactionState
from isoswitch.switch.units import REVERSED_MEANWHILE

# A refusal opens and closes in one record.
_BEGINNINGS = frozenset({RecordKind.OPENED, RecordKind.REFUSED})
_ENDINGS = frozenset({RecordKind.CLOSED, RecordKind.REFUSED})
_ENDS_IN_A_LANE = frozenset({RecordKind.DELIVERED, RecordKind.QUARANTINED})


@dataclass(slots=True, eq=False)
class _Story:
    """What the journal tells of one transaction."""

    counts: Counter[RecordKind] = field(default_factory=Counter)
    code: str = ""


def check_journal(disk: MemoryDisk) -> Iterator[Finding]:
    """Give everything on which a disk contradicts itself."""
    verdict = walk_chain(disk.links)
    if not verdict.is_sound:
        yield Finding(transaction="journal", what="the chain of records is broken")
    stories: dict[str, _Story] = defaultdict(_Story)
    lanes = _Lanes(disk)
    for link in disk.links:
        record = read_record(link.encoded)
        story = stories[record.transaction_id]
        story.counts[record.kind] += 1
        if record.kind in _ENDINGS:
            story.code = record.body["code"]
        yield from lanes.follow(record)
    for row in disk.transactions.values():
        transfer = disk.transfers.get(row.id)
        is_returned = transfer is not None and transfer.returned_minor > 0
        yield from _check_replay(row, stories.get(row.id), is_returned=is_returned)
    yield from _check_numbers(disk)


class _Lanes:
    """The store-and-forward entries of each card and endpoint, in their order."""

    def __init__(self, disk: MemoryDisk) -> None:
        self._lanes: dict[tuple[str, str], deque[SafEntry]] = defaultdict(deque)
        self._keys: dict[tuple[str, str], str] = {}
        for entry in disk.saf.values():
            self._lanes[entry.endpoint, entry.order_key].append(entry)
            self._keys[entry.transaction_id, entry.endpoint] = entry.order_key

    def follow(self, record: Record) -> Iterator[Finding]:
        """Give what is out of order in a record."""
        if "uetr" in record.body:
            # A question about a transfer: it has no lane.
            return
        if record.kind is RecordKind.FORWARDED or record.kind in _ENDS_IN_A_LANE:
            endpoint = record.body["endpoint"]
            key = self._keys[record.transaction_id, endpoint]
            lane = self._lanes[endpoint, key]
            if not lane or lane[0].transaction_id != record.transaction_id:
                what = f"{record.kind.value} out of order on the way to {endpoint}"
                yield Finding(transaction=record.transaction_id, what=what)
            elif record.kind in _ENDS_IN_A_LANE:
                lane.popleft()


def _check_replay(
    row: StoredTransaction, story: _Story | None, *, is_returned: bool
) -> Iterator[Finding]:
    """Compare a row with what its records tell."""
    begun = sum(story.counts[kind] for kind in _BEGINNINGS) if story else 0
    if story is None or not begun:
        # The place of an original that was reversed before it came.
        if load_outcome(row.outcome) != REVERSED_MEANWHILE:
            yield Finding(transaction=row.id, what="stored, and never written down")
        return
    counts = story.counts
    ended = sum(counts[kind] for kind in _ENDINGS)
    if begun != 1 or ended > 1:
        yield Finding(transaction=row.id, what="opened or closed more than once")
    owed = counts[RecordKind.REVERSAL_OWED]
    is_closed = row.state is TransactionState.CLOSED
    if is_closed != bool(ended or owed):
        yield Finding(transaction=row.id, what="its state does not follow its records")
    is_undone = owed or counts[RecordKind.VOIDED] or counts[RecordKind.EXPIRED]
    if row.reversed and not (is_undone or is_returned):
        yield Finding(transaction=row.id, what="reversed, and nobody owes a reversal")
    if story.code and is_closed and load_outcome(row.outcome).code != story.code:
        yield Finding(
            transaction=row.id, what="its outcome does not follow its records"
        )


def _check_numbers(disk: MemoryDisk) -> Iterator[Finding]:
    """Look for a retrieval reference number that two transactions share."""
    numbers = Counter(
        row.rrn for row in disk.transactions.values() if row.kind != Kind.REVERSAL
    )
    for rrn, count in numbers.items():
        if count > 1:
            yield Finding(transaction=rrn, what=f"{count} transactions share this RRN")
