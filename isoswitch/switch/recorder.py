"""Turns what a flow decides into units of work: journal records and rows together.

A purchase needs two commits: opened and sending, then answered and closed. On a timeout
the state of the leg, the reversal that is owed and the answer are one unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.sealing import store_outcome
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.iso8583.message import Message
from isoswitch.journal.records import Record, RecordKind
from isoswitch.ledger.entries import LedgerRefused
from isoswitch.ledger.holds import Change
from isoswitch.routing.route import Route
from isoswitch.store.days import DayClosed
from isoswitch.store.port import (
    BatchClose,
    Move,
    OwnershipLost,
    SafEntry,
    SafMessage,
    Store,
    StoredTransaction,
    TransactionState,
    UnitOfWork,
)
from isoswitch.store.rows import RowMove
from isoswitch.switch.accounts import (
    Undoing,
    place_hold,
    redirect_hold,
    settle_hold,
)
from isoswitch.switch.advices import Advice, advice_entry, stood_in_move
from isoswitch.switch.businessday import BusinessDays
from isoswitch.switch.job import Job
from isoswitch.switch.numbers import Numbering
from isoswitch.switch.ports import Clock, iso_time
from isoswitch.switch.units import (
    REVERSED_MEANWHILE,
    Leg,
    Silence,
    answer_body,
    opened_body,
    redated,
    reversal_entry,
    reversal_of,
    spending,
    undone,
)

CHANGED_MEANWHILE = Outcome.declined(
    ResponseCode.ISSUER_UNAVAILABLE, "its original changed before its outcome was known"
)


class Recorder:
    """Writes down the life of transactions; every method returns when it is durable."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        node: str,
        days: BusinessDays,
    ) -> None:
        self._store = store
        self._clock = clock
        self._node = node
        self._days = days

    async def refuse(
        self, job: Job, outcome: Outcome, *, route: Route | None = None
    ) -> Outcome:
        """Open and close a transaction that no endpoint has seen.

        ``route`` is the decision that led nowhere.
        """
        job.is_closing = True
        closed = self._closed(job, outcome)
        if route is not None and not job.is_open and job.acted is None:
            closed.body["decision"] = route.to_data()
        if job.is_open:
            await self._move(job, (closed,), outcome, wipe=True)
        else:
            row = self._row(job, TransactionState.CLOSED, outcome=outcome)
            await self._enter(
                job, UnitOfWork(records=(self._opened(job), closed), opens=(row,))
            )
        return outcome

    async def sending(self, job: Job, leg: Leg, route: Route) -> None:
        """Write down the intent to send; afterwards the endpoint may have seen it."""
        body: dict[str, Any] = {
            "endpoint": leg.endpoint,
            "message": leg.message.masked(),
            "pin": leg.pin_verdict,
            "route": route.reason,
        }
        if not job.is_open and job.acted is None:
            body["decision"] = route.to_data()
        record = self._record(RecordKind.SENDING, job, body)
        if job.is_open:
            # Another endpoint is asked now: the reversal owed would be that one's.
            move = Move(
                id=job.id,
                expect=TransactionState.SENDING,
                state=TransactionState.SENDING,
                endpoint=leg.endpoint,
                sealed=leg.sealed,
            )
            unit = UnitOfWork(
                records=(record,),
                moves=(move,),
                ledger=redirect_hold(job, endpoint=job.endpoint, instead=leg.endpoint),
            )
            await self._store.commit(unit)
        else:
            row = self._row(
                job,
                TransactionState.SENDING,
                endpoint=leg.endpoint,
                sealed=leg.sealed,
            )
            unit = UnitOfWork(
                records=(self._opened(job), record),
                opens=(row,),
                rows=spending(job),
                ledger=self._place(job, leg.endpoint),
            )
            await self._enter(job, unit)
        job.is_open = True
        job.endpoint = leg.endpoint

    async def not_written(self, job: Job, leg: Leg, reason: str) -> None:
        """Write down that the endpoint cannot have seen the request."""
        body = {"endpoint": leg.endpoint, "reason": reason}
        record = self._record(RecordKind.NOT_WRITTEN, job, body)
        await self._store.commit(UnitOfWork(records=(record,)))

    async def not_processed(
        self, job: Job, leg: Leg, answer: Message, *, now: float
    ) -> None:
        """Write down an answer by which the endpoint says that it decided nothing."""
        body = answer_body(leg, answer, now=now)
        record = self._record(RecordKind.ANSWERED, job, body)
        await self._store.commit(UnitOfWork(records=(record,)))

    async def answered(
        self, job: Job, leg: Leg, answer: Message, outcome: Outcome, *, now: float
    ) -> Outcome:
        """Write down the endpoint's answer and the outcome that follows from it."""
        body = answer_body(leg, answer, now=now)
        record = self._record(RecordKind.ANSWERED, job, body)
        job.is_closing = True
        if job.reversal_wanted and outcome.is_approved:
            return await self._owe_reversal(
                job,
                leg,
                record,
                REVERSED_MEANWHILE,
                "the terminal reversed it",
                approved=outcome,
            )
        closed = self._closed(job, outcome)
        # An approval keeps its material: the terminal may still reverse it.
        wipe = not outcome.is_approved
        try:
            await self._move(job, (record, closed), outcome, wipe=wipe)
        except (LedgerRefused, OwnershipLost) as error:
            if job.acted is None or not outcome.is_approved:
                raise
            # What the issuer approved no longer fits the transaction it acts on.
            return await self._owe_reversal(
                job, leg, record, CHANGED_MEANWHILE, str(error), approved=outcome
            )
        return outcome

    async def unwanted(
        self,
        job: Job,
        leg: Leg,
        answer: Message,
        outcome: Outcome,
        *,
        instead: Outcome,
        now: float,
    ) -> Outcome:
        """Write down an approval that nobody can use, its reversal, and a decline."""
        body = answer_body(leg, answer, now=now)
        record = self._record(RecordKind.ANSWERED, job, body)
        job.is_closing = True
        return await self._owe_reversal(
            job, leg, record, instead, instead.reason, approved=outcome
        )

    async def advise(
        self, job: Job, outcome: Outcome, *, endpoint: str, sealed: bytes
    ) -> Outcome:
        """Take what was done already for true, and owe its advice to the issuer.

        Raises
        ------
        LedgerRefused
            The transaction that it acts on does not cover it; nothing was stored.
        """
        job.is_closing = True
        owed = self._record(RecordKind.ADVICE_OWED, job, {"endpoint": endpoint})
        entry = SafEntry(
            transaction_id=job.id,
            endpoint=endpoint,
            order_key=job.card_key,
            sealed=sealed,
            message=SafMessage.ADVICE,
            business_date=job.business_date,
        )
        row = self._row(
            job,
            TransactionState.CLOSED,
            outcome=outcome,
            endpoint=endpoint,
            sealed=sealed,
        )
        await self._enter(
            job,
            UnitOfWork(
                records=(self._opened(job), owed, self._closed(job, outcome)),
                opens=(row,),
                saf_puts=(entry,),
                ledger=(*self._place(job, endpoint), *settle_hold(job, outcome)),
            ),
        )
        return outcome

    async def timed_out(
        self, job: Job, leg: Leg, outcome: Outcome, *, reason: str, now: float
    ) -> Outcome:
        """Write down the silence, the reversal it calls for, and the outcome."""
        record = self._silent(job, Silence(leg=leg, reason=reason, ended_at=now))
        job.is_closing = True
        return await self._owe_reversal(job, leg, record, outcome, reason)

    async def stand_in(
        self,
        job: Job,
        advice: Advice,
        outcome: Outcome,
        *,
        route: Route,
        after: Silence | None = None,
        rows: tuple[RowMove, ...] = (),
    ) -> Outcome:
        """Approve in place of an endpoint, and owe it the advice, in one unit.

        ``after`` is the leg that nobody answered: its reversal is owed before. ``rows``
        are kept with it.

        Raises
        ------
        StandInRefused
            A limit is reached; nothing was written down.
        """
        job.is_closing = True
        endpoint = advice.limits.endpoint
        told: tuple[Record, ...] = ()
        reversals: tuple[SafEntry, ...] = ()
        if after is not None:
            owed = self._owed(job, after.leg, after.reason)
            told = (self._silent(job, after), owed)
            reversals = (reversal_entry(job, after.leg),)
        unit = UnitOfWork(
            records=(
                *told,
                self._stood_in(job, advice, route=route),
                self._closed(job, outcome),
            ),
            saf_puts=(*reversals, advice_entry(job, advice)),
            ledger=settle_hold(job, outcome),
            stand_in=replace(advice.limits, business_date=job.business_date),
            rows=rows,
        )
        if job.is_open:
            instead = redirect_hold(job, endpoint=job.endpoint, instead=endpoint)
            move = stood_in_move(job, advice, outcome)
            await self._store.commit(
                replace(unit, moves=(move,), ledger=instead + unit.ledger)
            )
            return outcome
        row = self._row(job, TransactionState.CLOSED, outcome=outcome)
        unit = replace(
            unit,
            records=(self._opened(job), *unit.records),
            opens=(replace(row, endpoint=endpoint, sealed=advice.sealed),),
            rows=rows + spending(job),
            ledger=self._place(job, endpoint) + unit.ledger,
        )
        await self._enter(job, unit)
        return outcome

    async def undo(
        self, job: Job, outcome: Outcome, original: StoredTransaction, undoing: Undoing
    ) -> Outcome:
        """Acknowledge a reversal or void, and owe its advice to the issuer."""
        job.is_closing = True
        reason = f"the terminal sent a {job.txn.kind}"
        owed = Record(
            kind=RecordKind.REVERSAL_OWED,
            transaction_id=original.id,
            at=iso_time(self._clock.now()),
            body={"endpoint": original.endpoint, "reason": reason},
        )
        await self._enter(
            job,
            UnitOfWork(
                records=(self._opened(job), owed, self._closed(job, outcome)),
                opens=(self._row(job, TransactionState.CLOSED, outcome=outcome),),
                moves=(undone(original, undoing),),
                saf_puts=(
                    reversal_of(
                        original,
                        undoing,
                        reason=job.txn.reversal_reason,
                        business_date=job.business_date,
                    ),
                ),
                ledger=undoing.changes,
            ),
        )
        return outcome

    async def take_key(
        self, job: Job, outcome: Outcome, *, key: str, stan: str, numbers: Numbering
    ) -> Outcome:
        """Acknowledge the reversal of an unknown original and take the original's key.

        Should the original still arrive, its key is found here, declined and reversed.
        """
        job.is_closing = True
        body = {"reason": outcome.reason, "original_key": key}
        exception = self._record(RecordKind.EXCEPTION, job, body)
        reversal = self._row(job, TransactionState.CLOSED, outcome=outcome)
        kind = job.txn.original.kind if job.txn.original else job.txn.kind
        tombstone = replace(
            reversal,
            id=numbers.transaction_id,
            rrn=numbers.rrn,
            dedup_key=key,
            stan=stan,
            kind=kind,
            fingerprint="",
            outcome=store_outcome(REVERSED_MEANWHILE),
            reversed=True,
        )
        await self._enter(
            job,
            UnitOfWork(
                records=(self._opened(job), exception, self._closed(job, outcome)),
                opens=(reversal, tombstone),
            ),
        )
        return outcome

    async def conclude(
        self,
        job: Job,
        outcome: Outcome,
        *,
        notes: Mapping[RecordKind, Sequence[Mapping[str, Any]]],
        batch: BatchClose | None = None,
        rows: tuple[RowMove, ...] = (),
    ) -> Outcome:
        """Open and close what moves no money itself, with what there is to note of it.

        With ``batch`` the terminal's batch is closed in the same unit, and ``rows`` are
        kept in it.
        """
        job.is_closing = True
        noted = [
            self._record(kind, job, dict(body))
            for kind, bodies in notes.items()
            for body in bodies
        ]
        row = self._row(job, TransactionState.CLOSED, outcome=outcome)
        await self._enter(
            job,
            UnitOfWork(
                records=(self._opened(job), *noted, self._closed(job, outcome)),
                opens=(row,),
                batch=batch,
                rows=rows,
            ),
        )
        return outcome

    async def leave_to_operator(
        self, job: Job, outcome: Outcome, candidates: tuple[str, ...] = ()
    ) -> Outcome:
        """Answer, and leave what it means to the operator; no money moves."""
        body = {"reason": outcome.reason, "candidates": list(candidates)}
        return await self.conclude(job, outcome, notes={RecordKind.EXCEPTION: [body]})

    async def note(
        self, kind: RecordKind, transaction_id: str, body: Mapping[str, Any]
    ) -> None:
        """Write down one fact that changes no state."""
        record = Record(
            kind=kind,
            transaction_id=transaction_id,
            at=iso_time(self._clock.now()),
            body=dict(body),
        )
        await self._store.commit(UnitOfWork(records=(record,)))

    async def _enter(self, job: Job, unit: UnitOfWork) -> None:
        """Commit the unit that a transaction enters with, on the day that is open."""
        try:
            await self._store.commit(unit)
        except DayClosed as closed:
            # Its day was cut between its arrival and its first record.
            self._days.learn(closed.open_date)
            job.redate(closed.open_date)
            await self._enter(job, redated(unit, job))

    async def _owe_reversal(
        self,
        job: Job,
        leg: Leg,
        record: Record,
        outcome: Outcome,
        reason: str,
        *,
        approved: Outcome | None = None,
    ) -> Outcome:
        """Close with a decline what may be approved; owe the reversal, if it has one.

        An inquiry has nothing to reverse.
        """
        if not leg.sealed:
            closed = self._closed(job, outcome)
            await self._move(job, (record, closed), outcome, wipe=True)
            return outcome
        owed = self._owed(job, leg, reason)
        amount = approved.amount if approved else None
        entry = replace(
            reversal_entry(job, leg), amount_minor=amount.minor if amount else None
        )
        move = Move(
            id=job.id,
            expect=TransactionState.SENDING,
            state=TransactionState.CLOSED,
            outcome=store_outcome(outcome),
            wipe=True,
            mark_reversed=True,
        )
        records = (record, owed, self._closed(job, outcome))
        await self._store.commit(
            UnitOfWork(
                records=records,
                moves=(move,),
                saf_puts=(entry,),
                ledger=settle_hold(job, outcome),
            )
        )
        return outcome

    async def _move(
        self, job: Job, records: tuple[Record, ...], outcome: Outcome, *, wipe: bool
    ) -> None:
        move = Move(
            id=job.id,
            expect=TransactionState.SENDING,
            state=TransactionState.CLOSED,
            outcome=store_outcome(outcome),
            wipe=wipe,
        )
        moves: tuple[Move, ...] = (move,)
        if job.acted and job.txn.kind is Kind.VOID and outcome.is_approved:
            moves += (undone(job.acted.row),)
            records += (self._voided(job, job.acted.row),)
        await self._store.commit(
            UnitOfWork(records=records, moves=moves, ledger=settle_hold(job, outcome))
        )

    def _voided(self, job: Job, original: StoredTransaction) -> Record:
        return Record(
            kind=RecordKind.VOIDED,
            transaction_id=original.id,
            at=iso_time(self._clock.now()),
            body={"endpoint": job.endpoint, "by": job.id},
        )

    def _place(self, job: Job, endpoint: str) -> tuple[Change, ...]:
        return place_hold(job, endpoint, opened_at=self._clock.now())

    def _silent(self, job: Job, silence: Silence) -> Record:
        body = {
            "endpoint": silence.leg.endpoint,
            "reason": silence.reason,
            "elapsed_ms": round((silence.ended_at - silence.leg.began_at) * 1000, 1),
        }
        return self._record(RecordKind.TIMED_OUT, job, body)

    def _owed(self, job: Job, leg: Leg, reason: str) -> Record:
        body = {"endpoint": leg.endpoint, "reason": reason}
        return self._record(RecordKind.REVERSAL_OWED, job, body)

    def _stood_in(self, job: Job, advice: Advice, *, route: Route) -> Record:
        body: dict[str, Any] = {
            "endpoint": advice.limits.endpoint,
            "profile": advice.limits.profile,
            "reason": advice.reason,
            "rrn": advice.rrn,
            "route": route.reason,
        }
        if not job.is_open:
            body["decision"] = route.to_data()
        return self._record(RecordKind.STOOD_IN, job, body)

    def _opened(self, job: Job) -> Record:
        body = {**opened_body(job), "message": job.request.masked()}
        return Record(
            kind=RecordKind.OPENED, transaction_id=job.id, at=job.opened_at, body=body
        )

    def _closed(self, job: Job, outcome: Outcome) -> Record:
        response = job.response(outcome)
        message = response.masked()
        # Its MAC is made when it is sent.
        message.pop(str(job.dialect.mac_field(response)), None)
        body = {
            "code": outcome.code,
            "approval_code": outcome.approval_code,
            "reason": outcome.reason,
            "message": message,
        }
        return self._record(RecordKind.CLOSED, job, body)

    def _record(self, kind: RecordKind, job: Job, body: dict[str, Any]) -> Record:
        return Record(
            kind=kind, transaction_id=job.id, at=iso_time(self._clock.now()), body=body
        )

    def _row(
        self,
        job: Job,
        state: TransactionState,
        *,
        outcome: Outcome | None = None,
        endpoint: str = "",
        sealed: bytes = b"",
    ) -> StoredTransaction:
        txn = job.txn
        shown = txn.pan or txn.code
        return StoredTransaction(
            id=job.id,
            dedup_key=job.dedup_key,
            fingerprint=job.fingerprint,
            kind=txn.kind,
            state=state,
            node=self._node,
            business_date=job.business_date,
            opened_at=job.opened_at,
            terminal_id=txn.terminal_id,
            merchant_id=job.merchant_id or txn.merchant_id,
            stan=txn.stan,
            rrn=job.rrn,
            local_at=txn.local_at.isoformat() if txn.local_at else "",
            pan_masked=shown.masked if shown else "",
            pan_hash=job.card_key,
            amount_minor=txn.amount.minor if txn.amount else 0,
            currency=txn.amount.currency if txn.amount else "",
            endpoint=endpoint,
            outcome=store_outcome(outcome) if outcome else "",
            sealed=sealed,
            original_id=job.original_id,
            verification=job.verification,
        )
