"""What the commands of ``isoswitch day`` do."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.totals import Totals, TotalsLine, sum_lines
from isoswitch.commands.console import OK, confirm, plain_table, print_json, stdout
from isoswitch.commands.operate import operator_name, order_one
from isoswitch.config.load import load_network
from isoswitch.store.days import open_date
from isoswitch.store.place import Place
from isoswitch.store.reader import StoreReader, open_reader
from isoswitch.switch.control import CutDay

KEYS = {"endpoint": "endpoint", "terminal": "terminal_id"}


def list_days(config: Path | None, *, as_json: bool) -> int:
    """Print the business days."""
    with open_reader(_store(config)) as reader:
        days = reader.days()
    if as_json:
        print_json([asdict(day) for day in days])
        return OK
    table = plain_table("date", "state", "opened", "cut", "closed")
    for day in days:
        moments = (day.opened_at, day.cut_at, day.closed_at)
        table.add_row(day.date, day.state, *(each[:19] for each in moments))
    stdout().print(table)
    return OK


def show(config: Path | None, date: str, *, as_json: bool) -> int:
    """Print the totals of a day.

    Raises
    ------
    ConfigError
        There is no such day.
    """
    with open_reader(_store(config)) as reader:
        days = {day.date: day for day in reader.days()}
        date = date or open_date(days)
        if date not in days:
            msg = f"there is no business day {date!r}; `isoswitch day list` tells them"
            raise ConfigError(msg)
        lines = reader.day_totals(date)
        confirmed = _confirmations(reader, date)
    if as_json:
        print_json(
            {
                **asdict(days[date]),
                "totals": [asdict(line) for line in lines],
                "reconciliations": [
                    {"endpoint": name, "currency": currency, "verdict": verdict}
                    for (name, currency), verdict in confirmed.items()
                ],
            }
        )
        return OK
    stdout().print(f"business day {date}: {days[date].state}")
    for title, key in KEYS.items():
        stdout().print(_table(title, lines, key, confirmed))
    return OK


def close(config: Path | None, *, operator: str, yes: bool) -> int:
    """Have the running switch end the open day."""
    confirm("end the open business day, for good", yes=yes)
    order = CutDay(operator=operator_name(operator))
    date = order_one(config, order, str)
    stdout().print(f"the day is cut; {date} is open")
    return OK


def _store(config: Path | None) -> Place:
    return load_network(config).store


def _confirmations(reader: StoreReader, date: str) -> dict[tuple[str, str], str]:
    return {
        (each.endpoint, each.currency): each.verdict.value
        for each in reader.reconciliations(date)
    }


def _table(
    title: str,
    lines: list[TotalsLine],
    key: str,
    confirmed: dict[tuple[str, str], str],
) -> Table:
    table = plain_table(title, "debits", "reversed", "credits", "reversed", "net", "")
    for (name, currency), totals in sorted(sum_lines(lines, by=key).items()):
        verdict = confirmed.get((name, currency), "") if title == "endpoint" else ""
        table.add_row(name, *_cells(totals, currency), verdict)
    return table


def _cells(totals: Totals, currency: str) -> list[str]:
    parts = (
        (totals.debits, totals.debits_minor),
        (totals.debit_reversals, totals.debit_reversals_minor),
        (totals.credits, totals.credits_minor),
        (totals.credit_reversals, totals.credit_reversals_minor),
    )
    cells = [f"{count} = {Money(minor, currency)}" for count, minor in parts]
    return [*cells, str(Money(totals.net_minor, currency))]
