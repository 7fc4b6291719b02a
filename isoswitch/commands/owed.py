"""``saf`` and ``exceptions``: what is owed and what waits for an operator."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.text import Text

from isoswitch.codecs.canonical.money import Money
from isoswitch.commands.console import OK, plain_table, print_json, stdout
from isoswitch.commands.operate import operator_name, order_one
from isoswitch.config.load import load_network
from isoswitch.journal.records import ChainedRecord, RecordKind
from isoswitch.store.place import Place
from isoswitch.store.port import SafEntry, SafState
from isoswitch.store.reader import StoreReader, open_reader
from isoswitch.switch.control import ParkSaf, ResolveException, RetrySaf
from isoswitch.switch.saforders import EXCEPTIONS, RESOLVE

REASON_CHARACTERS_MAX = 200


def list_saf(config: Path | None, *, everything: bool, as_json: bool) -> int:
    """Print what waits to be delivered, and what was set aside."""
    now = datetime.now(UTC)
    with open_reader(_store(config)) as reader:
        rows = [
            _saf_json(reader, entry, now)
            for entry in reader.saf()
            if everything or entry.state is not SafState.DELIVERED
        ]
    if as_json:
        for row in rows:
            print_json(row)
        return OK
    table = plain_table(
        "entry", "transaction", "to", "what", "amount", "age", "sent", "state", "why"
    )
    for row in rows:
        table.add_row(
            *(str(row[key]) for key in ("entry", "transaction", "endpoint", "what")),
            row["amount"],
            _age(row["age_s"]),
            f"{row['attempts']} times",
            Text(row["state"], style="red" if row["state"] == "quarantined" else ""),
            row["reason"],
        )
    stdout().print(table if rows else "nothing is owed")
    return OK


def retry(config: Path | None, entry: int, *, operator: str) -> int:
    """Have the running switch send an entry now."""
    order = RetrySaf(operator=operator_name(operator), entry=entry)
    endpoint = order_one(config, order, str, asks_on=True)
    stdout().print(f"entry {entry} goes to {endpoint} as soon as it can be reached")
    return OK


def park(config: Path | None, entry: int, *, reason: str, operator: str) -> int:
    """Have the running switch set an entry aside."""
    order = ParkSaf(
        operator=operator_name(operator),
        entry=entry,
        reason=reason[:REASON_CHARACTERS_MAX],
    )
    endpoint = order_one(config, order, str, asks_on=True)
    stdout().print(f"entry {entry} for {endpoint} is set aside; `saf retry` sends it")
    return OK


def list_exceptions(config: Path | None, *, everything: bool, as_json: bool) -> int:
    """Print what operators have to look into, and with ``everything`` what they did."""
    with open_reader(_store(config)) as reader:
        found = reader.of_kinds(*EXCEPTIONS)
        notes = {
            each.record.body["exception"]: each.record.body
            for each in reader.of_kinds(RecordKind.OPERATOR)
            if each.record.body.get("order") == RESOLVE
        }
    rows = [
        _exception_json(each, notes.get(each.seq))
        for each in found
        if everything or each.seq not in notes
    ]
    if as_json:
        for row in rows:
            print_json(row)
        return OK
    table = plain_table("exception", "at", "transaction", "what", "resolved")
    for row in rows:
        resolved = row["resolved"]
        said = f"{resolved['operator']}: {resolved['note']}" if resolved else ""
        table.add_row(
            str(row["exception"]), row["at"][:19], row["transaction"] or "-",
            row["reason"], said,
        )  # fmt: skip
    stdout().print(table if rows else "no exception waits")
    return OK


def resolve(config: Path | None, exception: int, *, note: str, operator: str) -> int:
    """Write down that an exception was dealt with."""
    order = ResolveException(
        operator=operator_name(operator),
        exception=exception,
        note=note[:REASON_CHARACTERS_MAX],
    )
    order_one(config, order, str)
    stdout().print(f"exception {exception} is resolved")
    return OK


def _saf_json(reader: StoreReader, entry: SafEntry, now: datetime) -> dict[str, Any]:
    stored = reader.find_transaction(entry.transaction_id)
    minor = entry.amount_minor
    if minor is None:
        minor = stored.amount_minor if stored else 0
    age_s = 0.0
    if stored is not None:
        opened_at = datetime.fromisoformat(stored.opened_at)
        age_s = (now - opened_at).total_seconds()
    currency = stored.currency if stored else ""
    return {
        "entry": entry.id,
        "transaction": entry.transaction_id,
        "endpoint": entry.endpoint,
        "what": entry.message,
        "amount_minor": minor,
        "currency": currency,
        "amount": str(Money(minor, currency)) if currency else "-",
        "age_s": round(age_s, 1),
        "attempts": entry.attempts,
        "state": entry.state,
        "reason": entry.reason,
    }


def _exception_json(
    chained: ChainedRecord, resolved: dict[str, Any] | None
) -> dict[str, Any]:
    record = chained.record
    return {
        "exception": chained.seq,
        "at": record.at,
        "transaction": record.transaction_id,
        "reason": record.body.get("reason", ""),
        "resolved": resolved and {key: resolved[key] for key in ("operator", "note")},
    }


def _age(seconds: float) -> str:
    """Write an age in its largest unit.

    Examples
    --------
    >>> [_age(seconds) for seconds in (5, 300, 7200, 200_000)]
    ['5 s', '5 min', '2 h', '2 d']
    """
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _store(config: Path | None) -> Place:
    return load_network(config).store
