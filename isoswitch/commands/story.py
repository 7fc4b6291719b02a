"""A transaction told in sentences: who was asked, who was silent, what became of it.

Each record of the journal is one sentence; the last line says where the money stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from isoswitch.clearing.transfer import Transfer
from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.money import Money
from isoswitch.commands.transfer_story import TRANSFER_ENDINGS, transfer_sentence
from isoswitch.journal.records import ChainedRecord, Record, RecordKind
from isoswitch.store.port import StoredTransaction, TransactionState
from isoswitch.switch.saforders import RETRY

Body = Mapping[str, Any]

OWED = frozenset({RecordKind.REVERSAL_OWED, RecordKind.ADVICE_OWED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One thing that happened: when, how long after the beginning, what."""

    at: str
    after_s: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """Another transaction about the same money, and what it is to this one."""

    relation: str
    transaction: StoredTransaction


RELATIONS: Mapping[str, str] = {
    Kind.REVERSAL: "reversed by",
    Kind.COMPLETION: "completed by",
    Kind.VOID: "voided by",
    Kind.REFUND: "refunded by",
    Kind.INCREMENTAL: "increased by",
}
"""What a transaction that names this one as its original did to it."""


def tell(records: Sequence[ChainedRecord]) -> list[Sentence]:
    """Give the story of a transaction, in the order in which it was written down."""
    began_at = _moment(records[0]) if records else None
    return [
        Sentence(
            at=each.record.at,
            after_s=(_moment(each) - began_at).total_seconds() if began_at else 0.0,
            text=sentence(each.record.kind, each.record.body),
        )
        for each in records
    ]


def sentence(kind: RecordKind, body: Body) -> str:
    """Say in one sentence what a record says."""
    of_transfer = transfer_sentence(kind, body)
    if of_transfer is not None:
        return of_transfer
    tells = SENTENCES.get(kind)
    if tells is not None:
        return tells(body)
    facts = ", ".join(
        f"{key} {value}" for key, value in body.items() if key != "message" and value
    )
    return f"{kind.replace('_', ' ')}: {facts}" if facts else kind.replace("_", " ")


def ending(
    stored: StoredTransaction,
    records: Sequence[ChainedRecord],
    transfer: Transfer | None = None,
) -> str:
    """Say where the money of a transaction stands; its transfer may tell more."""
    if transfer is not None and transfer.state in TRANSFER_ENDINGS:
        return TRANSFER_ENDINGS[transfer.state]
    kinds = [each.record.kind for each in records]
    if stored.state is not TransactionState.CLOSED:
        return "It is still open: its owner decides, or the sweeper reverses it."
    if not OWED.isdisjoint(kinds):
        last_owed = max(
            place for place, each in enumerate(records) if _is_new_try(each.record)
        )
        since = kinds[last_owed:]
        where = records[last_owed].record.body.get("endpoint", "its endpoint")
        if RecordKind.QUARANTINED in since and RecordKind.DELIVERED not in since:
            return f"{where} did not take it: see `isoswitch saf list`."
        if RecordKind.DELIVERED not in since:
            tries = since.count(RecordKind.FORWARDED)
            sent = {0: "not sent yet", 1: "sent once so far"}
            times = sent.get(tries, f"sent {tries} times so far")
            return f"It is still on its way to {where}, {times}."
    if stored.reversed:
        return "It is reversed: no money stays moved."
    if _is_approved(stored):
        amount = Money(stored.amount_minor, stored.currency)
        return f"It is approved and stands: {amount}."
    return "It is declined: no money has moved."


def relate(
    stored: StoredTransaction,
    original: StoredTransaction | None,
    followers: Sequence[StoredTransaction],
) -> list[Related]:
    """Give the transactions about the same money: its original, and what followed."""
    related = []
    if original is not None:
        related.append(Related(relation=f"{stored.kind} of", transaction=original))
    related += [
        Related(relation=RELATIONS.get(each.kind, "followed by"), transaction=each)
        for each in followers
    ]
    return related


def _opened(body: Body) -> str:
    what = str(body.get("kind", "request")).replace("_", " ")
    again = " (as a repeat)" if _mti(body)[3:] == "1" else ""
    who = f"terminal {body['terminal']}" if body.get("terminal") else "somebody"
    where = body.get("listener", "")
    mac = {"verified": "; its MAC is right", "failed": "; its MAC is WRONG"}
    return (
        f"{who} asks for a {what}{again} over {where}{mac.get(body.get('mac', ''), '')}"
    )


def _sending(body: Body) -> str:
    pin = ", with the PIN translated" if body.get("pin") == "translated" else ""
    why = f", because {body['route']}" if body.get("route") else ""
    return f"the switch asks {body['endpoint']}{pin}{why}"


def _answered(body: Body) -> str:
    took = f" after {body['elapsed_ms']:g} ms" if "elapsed_ms" in body else ""
    return f"{body['endpoint']} answers{took}{_code(body)}"


def _timed_out(body: Body) -> str:
    took = f" for {body['elapsed_ms']:g} ms" if "elapsed_ms" in body else ""
    return f"{body['endpoint']} is silent{took}: {body['reason']}"


def _closed(body: Body) -> str:
    code = ResponseCode(body["code"])
    reason = f": {body['reason']}" if body.get("reason") else ""
    if code.is_approval:
        number = body.get("approval_code")
        given = f" with approval code {number}" if number else ""
        return f"the switch approves to the terminal{given}{reason}"
    words = str(code).replace("_", " ")
    return f"the switch declines to the terminal ({words}){reason}"


def _forwarded(body: Body) -> str:
    what = "the reversal" if _mti(body)[1:2] == "4" else "the advice"
    attempt = body.get("attempt", 1)
    times = "" if attempt == 1 else f" again, attempt {attempt},"
    return f"the switch sends {what}{times} to {body['endpoint']} ({_mti(body)})"


def _operator(body: Body) -> str:
    facts = {k: v for k, v in body.items() if k not in ("order", "operator") and v}
    said = "".join(f", {key} {value}" for key, value in facts.items())
    return f"operator {body.get('operator', '?')} orders: {body.get('order', '')}{said}"


SENTENCES: Mapping[RecordKind, Callable[[Body], str]] = {
    RecordKind.OPENED: _opened,
    RecordKind.SENDING: _sending,
    RecordKind.ANSWERED: _answered,
    RecordKind.TIMED_OUT: _timed_out,
    RecordKind.NOT_WRITTEN: lambda body: (
        f"{body['endpoint']} has seen nothing: {body['reason']}"
    ),
    RecordKind.CLOSED: _closed,
    RecordKind.REFUSED: lambda body: (
        f"terminal {body['terminal']} was turned away: {body['reason']}"
    ),
    RecordKind.REPEATED: lambda body: (
        f"the terminal asks again ({_mti(body)}) and gets the answer it got"
    ),
    RecordKind.LATE: lambda body: (
        f"{body['endpoint']} answers too late{_code(body)}; nobody is told"
    ),
    RecordKind.UNMATCHED: lambda body: (
        f"{body['endpoint']} sends what nobody asked for: {body.get('reason', '')}"
    ),
    RecordKind.REVERSAL_OWED: lambda body: (
        f"a reversal to {body['endpoint']} is owed: {body['reason']}"
    ),
    RecordKind.ADVICE_OWED: lambda body: f"an advice to {body['endpoint']} is owed",
    RecordKind.VOIDED: lambda body: f"{body['endpoint']} voids it for {body['by']}",
    RecordKind.EXPIRED: lambda body: "nobody completed it in time: it is given free",
    RecordKind.FORWARDED: _forwarded,
    RecordKind.DELIVERED: lambda body: f"{body['endpoint']} acknowledges it",
    RecordKind.QUARANTINED: lambda body: (
        f"{body['endpoint']} does not take it ({body['reason']}): it is set aside"
    ),
    RecordKind.EXCEPTION: lambda body: (
        f"an exception for an operator: {body.get('reason', '')}"
    ),
    RecordKind.OPERATOR: _operator,
}
"""What each kind of record says, as a sentence; the rest is told by its facts."""


def _moment(chained: ChainedRecord) -> datetime:
    return datetime.fromisoformat(chained.record.at)


def _mti(body: Body) -> str:
    return str(body.get("message", {}).get("mti", ""))


def _code(body: Body) -> str:
    code = body.get("message", {}).get("39")
    return f" with code {code}" if code else ""


def _is_new_try(record: Record) -> bool:
    """Whether something is owed from here on, or what was set aside is tried again."""
    return record.kind in OWED or record.body.get("order") == RETRY


def _is_approved(stored: StoredTransaction) -> bool:
    if not stored.outcome:
        return False
    return ResponseCode(orjson.loads(stored.outcome)["code"]).is_approval
