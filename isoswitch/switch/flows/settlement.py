"""A terminal settles its batch: totals, and when they differ, one by one.

    0500 with totals ──▶ they agree ──▶ closed, accepted
                     ╰─▶ they differ ─▶ refused with our totals, still open
    0320, one each   ──▶ noted, compared with what we have
    0500 once more   ──▶ every difference is an exception; closed, accepted

What one side undid before the other heard of it is counted by one side only, so what
is compared is what stands on each side after its reversals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.canonical.totals import Totals
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.dialects.settlement import do_agree, read_settlement
from isoswitch.journal.records import RecordKind
from isoswitch.store.port import BatchClose, StoredTransaction
from isoswitch.switch.accounts import MOVES_MONEY, standing_minor, stands
from isoswitch.switch.job import Job
from isoswitch.switch.services import Services

BALANCED = Outcome(code=ResponseCode.APPROVED, reason="the totals agree")
CLOSED = Outcome(code=ResponseCode.APPROVED, reason="closed after the upload")
UPLOADED = Outcome(code=ResponseCode.APPROVED, reason="noted")
DIFFERENT = "the totals differ; upload the batch"

Notes = Mapping[RecordKind, Sequence[Mapping[str, object]]]


async def settle_batch(services: Services, job: Job) -> Outcome:
    """Compare a terminal's totals with ours; close its batch when nothing is open."""
    terminal = job.terminal
    assert terminal is not None, "only a registered terminal reaches a flow"
    try:
        theirs = read_settlement(job.dialect, job.request)
    except DecodeError as error:
        malformed = Outcome.declined(ResponseCode.FORMAT_ERROR, str(error))
        return await services.recorder.refuse(job, malformed)
    number = await services.store.find_batch(terminal.id)
    currency = theirs.currency or terminal.currency
    ours = Totals()
    for line in await services.store.batch_totals(terminal.id, number):
        if line.currency == currency:
            ours += line.totals
    told = theirs.totals
    facts = {
        "batch": number,
        "currency": currency,
        "ours": asdict(ours),
        "theirs": asdict(told) if told else None,
    }
    close = BatchClose(terminal_id=terminal.id, number=number)
    if theirs.is_after_upload:
        rows = await services.store.batch_transactions(terminal.id, number)
        breaks = [{"batch": number, **each} for each in find_breaks(rows)]
        notes: Notes = {
            RecordKind.SETTLEMENT: [{**facts, "breaks": len(breaks)}],
            RecordKind.EXCEPTION: breaks,
        }
        return await services.recorder.conclude(job, CLOSED, notes=notes, batch=close)
    notes = {RecordKind.SETTLEMENT: [facts]}
    if told is not None and do_agree(job.dialect, told, ours):
        return await services.recorder.conclude(job, BALANCED, notes=notes, batch=close)
    differing = Outcome(
        code=ResponseCode.RECONCILIATION_ERROR, reason=DIFFERENT, totals=ours
    )
    return await services.recorder.conclude(job, differing, notes=notes)


async def take_upload(services: Services, job: Job) -> Outcome:
    """Note one transaction of a batch that did not balance."""
    terminal = job.terminal
    assert terminal is not None, "only a registered terminal reaches a flow"
    number = await services.store.find_batch(terminal.id)
    rows = await services.store.batch_transactions(terminal.id, number)
    stan = job.txn.original.stan if job.txn.original else job.txn.stan
    ours = next((row for row in rows if is_uploaded_as(row, job, stan)), None)
    job.original_id = ours.id if ours else ""
    body = {"batch": number, "stan": stan, "ours": job.original_id}
    return await services.recorder.conclude(
        job, UPLOADED, notes={RecordKind.SETTLEMENT: [body]}
    )


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
    """Name what only one side has of a batch that was uploaded."""
    rows = list(rows)
    uploads = [row for row in rows if row.kind == Kind.BATCH_UPLOAD]
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
