"""A terminal settles its batch: totals, and when they differ, one by one.

    0500 with totals ──▶ they agree ──▶ closed, accepted
                     ╰─▶ they differ ─▶ refused with our totals, still open
    0320, one each   ──▶ noted, compared with what we have
    0500 once more   ──▶ every difference is an exception; closed, accepted

What one side undid before the other heard of it is counted by one side only, so what
is compared is what stands on each side after its reversals.

Each currency is settled for itself. A batch ends with whichever is settled; what stands
in another one stays open, and is counted with the batches after it when its turn comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.canonical.totals import Totals
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.dialects.settlement import (
    do_agree,
    names_currency,
    read_settlement,
)
from isoswitch.journal.records import RecordKind
from isoswitch.store.port import BatchClose, StoredTransaction
from isoswitch.store.rows import RowMove, SettledBatch
from isoswitch.switch.accounts import MOVES_MONEY, standing_minor, stands
from isoswitch.switch.job import Job
from isoswitch.switch.services import Services

BALANCED = Outcome(code=ResponseCode.APPROVED, reason="the totals agree")
CLOSED = Outcome(code=ResponseCode.APPROVED, reason="closed after the upload")
UPLOADED = Outcome(code=ResponseCode.APPROVED, reason="noted")
DIFFERING = Outcome(
    code=ResponseCode.RECONCILIATION_ERROR,
    reason="the totals differ; upload the batch",
)
ALL_CURRENCIES = ""

Notes = Mapping[RecordKind, Sequence[Mapping[str, object]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBatch:
    """What of a terminal's batches is open in a currency: from ``since`` to ``number``.

    Without a currency it is open in all of them. ``settled`` says what came before.
    """

    terminal_id: str
    currency: str
    number: int
    since: int
    settled: SettledBatch | None

    def close(self) -> BatchClose:
        """Give what closes the open batch and begins the next."""
        return BatchClose(terminal_id=self.terminal_id, number=self.number)

    def settle(self) -> tuple[RowMove]:
        """Give what says that all until now is settled in this currency."""
        key = settled_id(self.terminal_id, self.currency)
        row = SettledBatch(id=key, number=self.number)
        return (RowMove(expect=self.settled, row=row),)


async def settle_batch(services: Services, job: Job) -> Outcome:
    """Compare a terminal's totals with ours; close its batch when nothing is open."""
    terminal = job.terminal
    assert terminal is not None, "only a registered terminal reaches a flow"
    try:
        theirs = read_settlement(job.dialect, job.request)
    except DecodeError as error:
        malformed = Outcome.declined(ResponseCode.FORMAT_ERROR, str(error))
        return await services.recorder.refuse(job, malformed)
    currency = theirs.currency or terminal.currency
    batch = await find_open(services, job, currency)
    ours = Totals()
    for line in await services.store.batch_totals(terminal.id, batch.since):
        if line.currency == currency:
            ours += line.totals
    told = theirs.totals
    facts: Mapping[str, object] = {
        "batch": batch.number,
        "currency": currency,
        "ours": asdict(ours),
        "theirs": asdict(told) if told else None,
    }
    outcome, breaks = BALANCED, list[Mapping[str, object]]()
    if theirs.is_after_upload:
        found = find_breaks(await find_open_rows(services, job, batch))
        breaks += [{"batch": batch.number, **each} for each in found]
        outcome, facts = CLOSED, {**facts, "breaks": len(breaks)}
    elif told is None or not do_agree(job.dialect, told, ours):
        outcome = replace(DIFFERING, totals=ours)
    notes: Notes = {RecordKind.SETTLEMENT: [facts], RecordKind.EXCEPTION: breaks}
    if not outcome.is_approved:
        return await services.recorder.conclude(job, outcome, notes=notes)
    return await services.recorder.conclude(
        job, outcome, notes=notes, batch=batch.close(), rows=batch.settle()
    )


async def take_upload(services: Services, job: Job) -> Outcome:
    """Note one transaction of a batch that did not balance."""
    terminal = job.terminal
    assert terminal is not None, "only a registered terminal reaches a flow"
    amount = job.txn.amount
    currency = amount.currency if amount else terminal.currency
    batch = await find_open(services, job, currency)
    rows = await find_open_rows(services, job, batch)
    stan = job.txn.original.stan if job.txn.original else job.txn.stan
    ours = next((row for row in rows if is_uploaded_as(row, job, stan)), None)
    job.original_id = ours.id if ours else ""
    body = {"batch": batch.number, "stan": stan, "ours": job.original_id}
    return await services.recorder.conclude(
        job, UPLOADED, notes={RecordKind.SETTLEMENT: [body]}
    )


async def find_open(services: Services, job: Job, currency: str) -> OpenBatch:
    """Find what is open of the batches of a job's terminal in a currency.

    Where messages cannot name a currency, what they settle is open in all of them.
    """
    terminal = job.terminal
    assert terminal is not None, "only a registered terminal reaches a flow"
    if not names_currency(job.dialect):
        currency = ALL_CURRENCIES
    number = await services.store.find_batch(terminal.id)
    key = settled_id(terminal.id, currency)
    return OpenBatch(
        terminal_id=terminal.id,
        currency=currency,
        number=number,
        since=await find_since(services, terminal.id, currency),
        settled=await services.store.find_row(SettledBatch, key),
    )


async def find_since(services: Services, terminal_id: str, currency: str) -> int:
    """Give the first of a terminal's batches that is not settled in a currency."""
    keys = {settled_id(terminal_id, each) for each in (currency, ALL_CURRENCIES)}
    found = [await services.store.find_row(SettledBatch, key) for key in sorted(keys)]
    return 1 + max(row.number if row else 0 for row in found)


async def find_open_rows(
    services: Services, job: Job, batch: OpenBatch
) -> Sequence[StoredTransaction]:
    """Give the transactions that are open in a batch's currency."""
    terminal = job.terminal
    assert terminal is not None, "only a registered terminal reaches a flow"
    rows = await services.store.batch_transactions(
        terminal.id, batch.since, currency=batch.currency
    )
    found = [(row.currency or terminal.currency, row) for row in rows]
    wanted = {batch.currency} if batch.currency else {each for each, _ in found}
    since = {
        each: await find_since(services, terminal.id, each) for each in sorted(wanted)
    }
    return [row for each, row in found if each in since and row.batch >= since[each]]


def settled_id(terminal_id: str, currency: str) -> str:
    """Give the key under which it is kept what of a terminal's batches is settled."""
    return f"{terminal_id}/{currency}"


def is_uploaded_as(row: StoredTransaction, job: Job, stan: str) -> bool:
    """Whether a terminal uploads this transaction: trace number, amount and card."""
    amount = job.txn.amount
    return (
        row.kind in MOVES_MONEY
        and stands(row)
        and row.stan == stan
        and (not job.pan_hash or row.pan_hash == job.pan_hash)
        and amount is not None
        and (amount.minor, amount.currency) == (standing_minor(row), row.currency)
    )


def find_breaks(rows: Iterable[StoredTransaction]) -> list[dict[str, str]]:
    """Name what only one side has of a batch; uploads that were refused say nothing."""
    rows = list(rows)
    uploads = [row for row in rows if row.kind == Kind.BATCH_UPLOAD and stands(row)]
    uploaded = {row.original_id for row in uploads}
    ours = [
        {"reason": "the terminal did not upload it", "ours": row.id}
        for row in rows
        if row.kind in MOVES_MONEY and stands(row) and row.id not in uploaded
    ]
    theirs = [
        {"reason": "the terminal uploaded what we do not have", "upload": row.id}
        for row in uploads
        if not row.original_id
    ]
    return ours + theirs
