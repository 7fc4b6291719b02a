"""``isoswitch day``: the days of a store, in a table and in JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from typer.testing import CliRunner

from isoswitch.cli import app
from isoswitch.codecs.canonical.errors import ConfigError, SwitchUnavailable
from isoswitch.codecs.canonical.money import Money
from isoswitch.commands.console import Failure
from isoswitch.config.load import packaged_network
from isoswitch.journal.records import RecordKind
from isoswitch.ledger.holds import Capture, Place
from isoswitch.store.days import DayMove, DayState
from isoswitch.store.port import Reconciliation, UnitOfWork, Verdict
from isoswitch.store.sqlite import open_sqlite_store
from tests.store.units import AT, closing, opening, record

DAY, NEXT = "2026-01-31", "2026-02-01"


async def write_days(path: Path) -> None:
    amount = Money(1250, "978")
    place = Place(id="1", debit="issuer/north", credit="merchant/M1", amount=amount)
    capture = Capture(id="1", by="1", minor=1250, business_date=DAY)
    confirmed = Reconciliation(
        business_date=DAY, endpoint="north", currency="978", verdict=Verdict.AGREED
    )
    first = DayMove(date=DAY, to=DayState.OPEN, at=AT)
    cut = DayMove(date=DAY, to=DayState.CUT, at=AT, next_date=NEXT)
    noted = (record(RecordKind.BUSINESS_DAY),)
    async with open_sqlite_store(path) as store:
        await store.commit(UnitOfWork(records=noted, day=first))
        await store.commit(replace(opening("1"), ledger=(place,)))
        await store.commit(replace(closing("1"), ledger=(capture,)))
        unit = UnitOfWork(records=noted, day=cut, reconciliations=(confirmed,))
        await store.commit(unit)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A configuration whose store has one paid purchase on a day that is cut."""
    path = tmp_path / "network.toml"
    path.write_text(packaged_network().read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "var").mkdir()
    trio.run(write_days, tmp_path / "var/isoswitch.db")
    return path


def run(network: Path, *words: str, said: str = "") -> str:
    command = ["day", *words, "--config", str(network)]
    result = CliRunner().invoke(app, command, input=said)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_the_days_are_listed_oldest_first(network: Path) -> None:
    days = json.loads(run(network, "list", "--json"))
    assert [(day["date"], day["state"]) for day in days] == [
        (DAY, "cut"),
        (NEXT, "open"),
    ]
    assert run(network, "list").index(DAY) < run(network, "list").index(NEXT)


def test_a_day_is_shown_with_its_totals_and_who_confirmed_them(network: Path) -> None:
    shown = json.loads(run(network, "show", DAY, "--json"))
    (line,) = shown["totals"]
    assert (line["endpoint"], line["totals"]["debits_minor"]) == ("north", 1250)
    assert shown["reconciliations"] == [
        {"endpoint": "north", "currency": "978", "verdict": "agreed"}
    ]
    table = run(network, "show", DAY)
    assert "12.50 EUR" in table
    assert "agreed" in table


def test_the_open_day_is_shown_by_default(network: Path) -> None:
    assert json.loads(run(network, "show", "--json"))["date"] == NEXT


def test_a_day_that_never_was_is_not_shown(network: Path) -> None:
    with pytest.raises(ConfigError, match="isoswitch day list"):
        run(network, "show", "2020-01-01")


def test_a_day_is_closed_by_the_running_switch_only(network: Path) -> None:
    with pytest.raises(SwitchUnavailable, match="no switch takes orders"):
        run(network, "close", said="y\n")
    with pytest.raises(SwitchUnavailable, match="no switch takes orders"):
        run(network, "close", "--yes")


def test_who_does_not_want_to_close_a_day_is_asked_in_time(network: Path) -> None:
    with pytest.raises(Failure, match="nothing was changed"):
        run(network, "close", said="n\n")
