"""``route explain`` and ``route replay``: in words, in JSON, and without a card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from isoswitch.cli import app
from isoswitch.codecs.canonical.errors import IsoswitchError
from isoswitch.codecs.canonical.secrets import Pan
from isoswitch.config.load import load_network, packaged_network
from isoswitch.config.routing import load_routing
from isoswitch.journal.records import Record, RecordKind
from isoswitch.routing.bins import Span
from isoswitch.routing.facts import Facts
from isoswitch.store.port import StoredTransaction, TransactionState, UnitOfWork
from isoswitch.store.sqlite import open_sqlite_store

PACKAGED = packaged_network().read_text(encoding="utf-8")
RULES = """
[[routing.rules]]
name = "cash"
kinds = ["cash_withdrawal"]
candidates = ["south"]

[[routing.rules]]
name = "small"
currencies = ["978"]
amount_max = "20.00"
candidates = ["south", "north"]
"""
MOVED = PACKAGED.replace(
    '476173 = { primary = "north" }',
    '476173 = { primary = "south" }\n'
    '4242424242 = { primary = "south", name = "narrow" }',
)
DAY = "2026-01-31"


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Give a configuration with two rules."""
    path = tmp_path / "network.toml"
    path.write_text(PACKAGED + RULES, encoding="utf-8")
    return path


def run(*arguments: str) -> str:
    """Run a route command that ends well, and give what it prints."""
    result = CliRunner().invoke(app, ["route", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_every_step_is_told_in_words(network: Path) -> None:
    told = run("explain", "--bin", "411111", "--amount", "12.50", "-c", str(network))
    assert told.splitlines() == [
        (
            "purchase of 12.50 EUR, card 411111…, chip, MCC unknown, country 276, "
            "12:00 UTC, transaction 1-1"
        ),
        "  rule cash does not fit: kind",
        "  the card falls into BIN 411111",
        "  rule small is the first that fits",
        "  candidates: south, north",
        "→ south, then north",
    ]


def test_what_is_down_is_left_out(network: Path) -> None:
    told = json.loads(
        run(
            *("explain", "--card", "visa-ok", "--amount", "99", "--down", "north"),
            *("--json", "-c", str(network)),
        )
    )
    assert told["endpoints"] == []
    assert told["steps"][-1] == "north is left out: it is down"
    assert told["rules_passed_over"] == {"cash": "kind", "small": "largest amount"}
    assert "4761739001010010" not in str(told)


def test_too_few_digits_say_what_more_would_tell(tmp_path: Path) -> None:
    path = tmp_path / "network.toml"
    path.write_text(MOVED, encoding="utf-8")
    told = run("explain", "--bin", "424242", "-c", str(path))
    assert "with more digits the card may fall into: narrow" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bin", "4111111111111111"], "6 to 11 digits"),
        (["--bin", "41111"], "6 to 11 digits"),
        ([], "a BIN or a test card"),
        (["--bin", "411111", "--card", "visa-ok"], "a BIN or a test card"),
        (["--card", "visa-nok"], "no test card visa-nok"),
        (["--bin", "411111", "--at", "2500"], "--at is no time"),
        (["--bin", "411111", "--amount", "1.234"], "at most 2 decimals"),
        (["--bin", "411111", "--currency", "999"], "no currency of ISO 4217"),
        (["--bin", "411111", "--kind", "theft"], "no kind theft"),
        (["--bin", "411111", "--entry-mode", "guess"], "no entry-mode guess"),
        (["--bin", "411111", "--down", "west"], "no endpoint west"),
        (["--bin", "411111", "--merchant", "X"], "no merchant X"),
    ],
    ids=str,
)
def test_what_cannot_be_explained_says_why(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["route", "explain", *arguments])
    assert isinstance(result.exception, IsoswitchError)
    assert said in str(result.exception)
    assert "4111111111111111" not in str(result.exception)


@pytest.fixture
async def recorded(tmp_path: Path) -> Path:
    """Record what the packaged network decided on four cards, one of them of no BIN."""
    path = tmp_path / "network.toml"
    path.write_text(PACKAGED, encoding="utf-8")
    loaded = load_network(path)
    table = load_routing(loaded)
    store_path = loaded.file(loaded.network.store.path)
    store_path.parent.mkdir()
    numbers = [
        "4761739001010010",
        "4242424242424242",
        "4111111111111111",
        "9999990000000000",
    ]
    async with open_sqlite_store(store_path) as store:
        for place, number in enumerate(numbers):
            pan = Pan(number)
            facts = Facts(
                transaction_id=f"1-{place}",
                card=Span.of_card(pan),
                bin=pan.stored_bin,
                amount_minor=1250,
                currency="978",
            )
            route = table.find_route(facts, {})
            row = StoredTransaction(
                id=f"1-{place}",
                dedup_key=f"TERM0001|{place}",
                fingerprint="purchase",
                kind="purchase",
                state=TransactionState.CLOSED,
                node="sw1",
                business_date=DAY,
                opened_at=f"{DAY}T12:00:00.000000Z",
                terminal_id="TERM0001",
            )
            record = Record(
                kind=RecordKind.SENDING,
                transaction_id=row.id,
                at=row.opened_at,
                body={"decision": route.to_data()},
            )
            await store.commit(UnitOfWork(records=(record,), opens=(row,)))
    return path


async def test_a_day_is_decided_again(recorded: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.toml"
    changed.write_text(MOVED, encoding="utf-8")
    told = json.loads(
        run("replay", DAY, "--with", str(changed), "-c", str(recorded), "--json")
    )
    assert told == {
        "day": DAY,
        "with": str(changed),
        "decisions": 4,
        "unchanged": 2,
        "changed": [{"from": "north", "to": "south", "count": 1, "examples": ["1-0"]}],
        "other_alternates": {"count": 0, "examples": []},
        "not_exact": {"count": 1, "examples": ["1-1"]},
        "unreadable": 0,
        "assumed_up": ["north", "south"],
    }
    words = run("replay", DAY, "--with", str(changed), "-c", str(recorded))
    assert "4 decisions" in words
    assert "2 unchanged" in words
    assert "1 depend on digits that are not kept, and may go either way: 1-1" in words


async def test_the_same_configuration_changes_nothing(recorded: Path) -> None:
    told = json.loads(
        run("replay", DAY, "--with", str(recorded), "-c", str(recorded), "--json")
    )
    assert (told["unchanged"], told["changed"]) == (4, [])


async def test_a_day_without_decisions_says_so(recorded: Path) -> None:
    result = CliRunner().invoke(
        app,
        ["route", "replay", "2026-02-01", "--with", str(recorded), "-c", str(recorded)],
    )
    assert isinstance(result.exception, IsoswitchError)
    assert "no route was decided on 2026-02-01" in str(result.exception)


def test_a_check_reads_the_bin_file_too(tmp_path: Path) -> None:
    path = tmp_path / "network.toml"
    path.write_text(
        PACKAGED + '\n[routing]\nbins_file = "bins.csv"\n', encoding="utf-8"
    )
    bins = tmp_path / "bins.csv"
    bins.write_text("bin,primary\n400001,north\n", encoding="utf-8")
    good = CliRunner().invoke(app, ["check", str(path), "--json"])
    assert json.loads(good.stdout)["bins"] == 16
    bins.write_text("bin,primary\n400001,nort\n", encoding="utf-8")
    bad = CliRunner().invoke(app, ["check", str(path), "--json"])
    (problem,) = json.loads(bad.stdout)["problems"]
    assert (problem["file"], problem["line"]) == (str(bins), 2)
