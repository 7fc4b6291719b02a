"""``show``, ``tail`` and ``verify``: the journal, for people and for other programs.

A leg is one journal record seen as an exchange: when, which way, with whom, what the
message said (masked when it was written), what became of its MAC and its PIN.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from isoswitch.clearing.receipt import Receipt
from isoswitch.codecs.canonical.money import Money
from isoswitch.commands.console import (
    FAILED,
    OK,
    Failure,
    plain_table,
    print_json,
    stdout,
)
from isoswitch.commands.messages import message_table
from isoswitch.commands.story import Related, Sentence, ending, relate, tell
from isoswitch.commands.transfer_story import RECEIPT_ENDINGS
from isoswitch.commands.transfer_views import received_json
from isoswitch.journal.records import ChainedRecord, RecordKind
from isoswitch.store.inspection import inspect_store
from isoswitch.store.place import Place
from isoswitch.store.port import LIMIT_MAX, StoredTransaction
from isoswitch.store.reader import StoreReader, open_reader
from isoswitch.switch.numbers import to_rrn

POLL_S = 0.2
TERMINAL = "terminal"


@dataclass(frozen=True, slots=True)
class Way:
    """How a kind of record reads as a leg: its arrow, and the style of its line."""

    arrow: str
    style: str = ""


WAYS: Mapping[RecordKind, Way] = {
    RecordKind.BOOT: Way("·", "dim"),
    RecordKind.OPENED: Way("terminal → switch", "cyan"),
    RecordKind.SENDING: Way("switch → {endpoint}", "cyan"),
    RecordKind.ANSWERED: Way("{endpoint} → switch", "green"),
    RecordKind.TIMED_OUT: Way("{endpoint} ✗ silent", "yellow"),
    RecordKind.NOT_WRITTEN: Way("switch ✗ {endpoint}", "yellow"),
    RecordKind.CLOSED: Way("switch → terminal", "green"),
    RecordKind.REFUSED: Way("terminal ✗ switch", "yellow"),
    RecordKind.REPEATED: Way("terminal → switch again", "yellow"),
    RecordKind.LATE: Way("{endpoint} → switch too late", "red"),
    RecordKind.UNMATCHED: Way("{endpoint} → switch unasked", "red"),
    RecordKind.REVERSAL_OWED: Way("reversal owed to {endpoint}", "yellow"),
    RecordKind.STOOD_IN: Way("approved for {endpoint}", "yellow"),
    RecordKind.ADVICE_OWED: Way("advice owed to {endpoint}", "yellow"),
    RecordKind.VOIDED: Way("{endpoint} voided it", "yellow"),
    RecordKind.EXPIRED: Way("given free: its time was over", "yellow"),
    RecordKind.FORWARDED: Way("switch → {endpoint} from the queue", "yellow"),
    RecordKind.DELIVERED: Way("{endpoint} took it", "green"),
    RecordKind.QUARANTINED: Way("{endpoint} refuses it", "red"),
    RecordKind.EXCEPTION: Way("exception", "red"),
    RecordKind.LINK: Way("link {endpoint}", "dim"),
    RecordKind.CONDITION: Way("condition", "red"),
    RecordKind.CODE: Way("payment code", "cyan"),
    RecordKind.RECEIVED: Way("{endpoint} → switch for a customer", "green"),
    RecordKind.REPORTED: Way("{endpoint} reports", "dim"),
    RecordKind.OPERATOR: Way("operator", "magenta"),
    RecordKind.BUSINESS_DAY: Way("business day", "magenta"),
    RecordKind.SETTLEMENT: Way("settlement", "magenta"),
    RecordKind.CHECKPOINT: Way("checkpoint", "dim"),
}

_SHOWN_APART = frozenset({"message", "endpoint"})
_TOLD_BY_THE_ROUTE = frozenset({"decision"})
_SHOWN_IN_HEADLINE = frozenset({"kind", "business_date", "merchant"})
_UNTOLD = _SHOWN_APART | _TOLD_BY_THE_ROUTE | _SHOWN_IN_HEADLINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is told of a transaction, or of a transfer that was received."""

    summary: Mapping[str, Any]
    headline: Text
    ending: str
    records: Sequence[ChainedRecord]
    related: Sequence[Related] = ()


def show(place: Place, transaction_id: str, *, as_json: bool) -> int:
    """Print the story of one transaction, what is related to it, and every leg."""
    with open_reader(place) as reader:
        receipt = reader.find_receipt(transaction_id)
        told = (
            _of_transaction(reader, _find(reader, transaction_id))
            if receipt is None
            else _of_receipt(reader, receipt)
        )
    sentences = tell(told.records)
    if as_json:
        print_json(
            {
                "transaction": told.summary,
                "story": [{"at": each.at, "text": each.text} for each in sentences],
                "ending": told.ending,
                "related": [
                    {"relation": each.relation, "transaction": each.transaction.id}
                    for each in told.related
                ],
                "legs": [leg_json(record) for record in told.records],
            }
        )
        return OK
    console = stdout()
    console.print(told.headline)
    console.print(_story(sentences))
    console.print(Text(f"  {told.ending}", style="bold"))
    for each in told.related:
        console.print(Text.assemble(f"  {each.relation} ", _headline(each.transaction)))
    console.print()
    for record in told.records:
        console.print(_leg(record))
    return OK


def tail(place: Place, *, endpoint: str, last: int, follow: bool, as_json: bool) -> int:
    """Print legs as they are written down, until Ctrl-C."""
    with open_reader(place) as reader:
        head, _ = reader.head()
        console = stdout()
        seq = max(head - last, 0)
        with suppress(KeyboardInterrupt):
            for record in _follow(reader, seq, follow=follow):
                if endpoint and record.record.body.get("endpoint") != endpoint:
                    continue
                if as_json:
                    print_json(leg_json(record))
                else:
                    console.print(leg_line(record))
    return OK


def verify_journal(place: Place, *, as_json: bool) -> int:
    """Walk the hash chain, compare the tables by the rules there are, and tell."""
    verdict = inspect_store(place)
    chain = verdict.chain
    findings = list(verdict.findings)
    if not chain.is_sound:
        findings.insert(0, f"record {chain.first_bad_seq}: {chain.reason}")
    if as_json:
        print_json(
            {
                "sound": verdict.is_sound,
                "records": chain.last_seq,
                "head": chain.head.hex(),
                "findings": findings,
            }
        )
        return OK if verdict.is_sound else FAILED
    console = stdout()
    for finding in findings:
        console.print(Text.assemble(("✗ ", "red"), finding))
    if verdict.is_sound:
        text = (
            f"{chain.last_seq} records: the chain holds; payments, store and forward "
            "and ledger agree with it"
        )
        console.print(Text.assemble(("✓ ", "green"), text))
        console.print(f"  head {chain.head.hex()}", style="dim")
    return OK if verdict.is_sound else FAILED


def leg_json(chained: ChainedRecord) -> dict[str, Any]:
    """Give a leg as JSON: stable keys, masked fields."""
    record = chained.record
    body = record.body
    facts = {key: value for key, value in body.items() if key not in _SHOWN_APART}
    return facts | {
        "seq": chained.seq,
        "at": record.at,
        "transaction": record.transaction_id,
        "kind": record.kind,
        "direction": _direction(chained),
        "endpoint": body.get("endpoint", ""),
        "fields": body.get("message", {}),
    }


def leg_line(chained: ChainedRecord) -> Text:
    """Give one leg in one line."""
    record = chained.record
    way = WAYS[record.kind]
    time_of_day = record.at[11:23]
    return Text.assemble(
        (time_of_day, "dim"),
        f"  {record.transaction_id or '-':<10} ",
        (f"{_direction(chained):<28}", way.style),
        " " + "  ".join(_facts(record.body)),
    )


def _story(sentences: Sequence[Sentence]) -> RenderableType:
    table = plain_table("at", "after", "what happened")
    for each in sentences:
        table.add_row(each.at[11:23], f"{each.after_s:.3f} s", Text(each.text))
    return Padding(table, (1, 0, 1, 2))


def _of_transaction(reader: StoreReader, stored: StoredTransaction) -> Told:
    records = reader.records(stored.id)
    original = reader.find_transaction(stored.original_id)
    followers = reader.transactions(original_id=stored.id, limit=LIMIT_MAX)
    return Told(
        summary=_summary(stored),
        headline=_headline(stored),
        ending=ending(stored, records, reader.find_transfer_of(stored.id)),
        records=records,
        related=relate(stored, original, followers[::-1]),
    )


def _of_receipt(reader: StoreReader, receipt: Receipt) -> Told:
    headline = Text.assemble(
        (receipt.transaction_id, "bold"),
        f"  received transfer  {receipt.amount}  from {receipt.debtor_agent}"
        f" over {receipt.endpoint}  ",
        (receipt.state, "green" if receipt.is_final else "yellow"),
    )
    return Told(
        summary=received_json(receipt),
        headline=headline,
        ending=RECEIPT_ENDINGS[receipt.state],
        records=reader.records(receipt.transaction_id),
    )


def _find(reader: StoreReader, transaction_id: str) -> StoredTransaction:
    """Find a transaction by id; ``last`` is the newest."""
    if transaction_id == "last":
        newest = reader.transactions(limit=1)
        if newest:
            return newest[0]
    found = reader.find_transaction(transaction_id)
    if found is None:
        raise Failure(
            f"there is no transaction {_shown_id(transaction_id)}",
            fix="isoswitch tail shows ids; `isoswitch show last` takes the newest",
        )
    return found


def _shown_id(typed: str) -> str:
    """Give an id as it was typed; what is none may be a card number."""
    return typed if to_rrn(typed) else "of this name"


def _follow(
    reader: StoreReader, after_seq: int, *, follow: bool
) -> Iterator[ChainedRecord]:
    """Give the records after a place, and new ones as they come."""
    while True:
        records = reader.records(after_seq=after_seq)
        yield from records
        if records:
            after_seq = records[-1].seq
        elif not follow:
            return
        else:
            time.sleep(POLL_S)


def _summary(stored: StoredTransaction) -> dict[str, Any]:
    return {
        "id": stored.id,
        "kind": stored.kind,
        "state": stored.state,
        "business_date": stored.business_date,
        "opened_at": stored.opened_at,
        "terminal": stored.terminal_id,
        "merchant": stored.merchant_id,
        "stan": stored.stan,
        "rrn": stored.rrn,
        "pan": stored.pan_masked,
        "amount_minor": stored.amount_minor,
        "currency": stored.currency,
        "endpoint": stored.endpoint,
        "reversed": stored.reversed,
        "outcome": orjson.loads(stored.outcome) if stored.outcome else None,
    }


def _headline(stored: StoredTransaction) -> Text:
    text = Text.assemble(
        (stored.id, "bold"),
        f"  {stored.kind}  {Money(stored.amount_minor, stored.currency)}",
        f"  card {stored.pan_masked or '-'}  terminal {stored.terminal_id}",
        f" of {stored.merchant_id}  {stored.business_date}  ",
        (stored.state, "green" if stored.state == "closed" else "yellow"),
    )
    if stored.reversed:
        text.append("  reversed", "yellow")
    return text


def _direction(chained: ChainedRecord) -> str:
    body = chained.record.body
    return WAYS[chained.record.kind].arrow.format(endpoint=body.get("endpoint", "?"))


def _leg(chained: ChainedRecord) -> RenderableType:
    """Give one leg in full: its line, and its fields below."""
    fields = chained.record.body.get("message")
    line = leg_line(chained)
    if not fields:
        return line
    return Group(line, Padding(message_table(fields), (0, 0, 1, 4)))


def _facts(body: Mapping[str, Any]) -> Iterable[str]:
    """Give what a record says besides its message, shortest first to read."""
    message = body.get("message") or {}
    if "mti" in message:
        yield message["mti"]
    for key, value in body.items():
        if key not in _UNTOLD and value not in ("", None, []):
            yield f"{key} {value}"
