"""What ``isoswitch route`` does: one decision in words, or a day decided again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from rich.text import Text

from isoswitch.codecs.canonical.codes import EntryMode, Kind
from isoswitch.codecs.canonical.money import Money, parse_money
from isoswitch.commands.console import (
    OK,
    USAGE,
    Failure,
    one_of,
    plain_table,
    print_json,
    stdout,
)
from isoswitch.config.load import load_network
from isoswitch.config.model import Network
from isoswitch.config.routing import load_routing, to_minute
from isoswitch.routing.bins import BinRow, Span
from isoswitch.routing.facts import Facts
from isoswitch.routing.health import EndpointState
from isoswitch.routing.replay import Replayed, replay, to_decision
from isoswitch.routing.route import Route
from isoswitch.routing.rules import find_unmet
from isoswitch.routing.table import RoutingTable
from isoswitch.simulators.cards import CARDS
from isoswitch.store.reader import StoreReader, open_reader

EXAMPLES_MAX = 5
NOBODY = "nobody"
_BIN = re.compile(r"\d{6,11}", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)

Member = TypeVar("Member", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A transaction as people type it."""

    bin_digits: str
    card: str
    kind: str
    amount: str
    currency: str
    mcc: str
    merchant: str
    country: str
    entry_mode: str
    at: str
    down: tuple[str, ...]
    transaction: str


def explain(config: Path | None, wish: Wish, *, as_json: bool) -> int:
    """Print where a transaction would go, and every step that leads there."""
    loaded = load_network(config)
    table = load_routing(loaded)
    network = loaded.network
    facts = _facts(network, wish)
    states = {
        one_of(each, network.endpoints, "endpoint"): EndpointState(is_up=False)
        for each in wish.down
    }
    route = table.find_route(facts, states)
    row = table.bins.find(facts.card)
    narrower = sorted(_narrower(table, facts.card, row))
    passed_over = list(_passed_over(table, facts, row))
    if as_json:
        print_json(
            {
                "endpoints": route.endpoints,
                "reason": route.reason,
                "steps": route.words(),
                "rules_passed_over": dict(passed_over),
                "narrower_bins": narrower,
                "facts": facts.to_data(),
            }
        )
        return OK
    _tell(route, passed_over, narrower)
    return OK


def replay_day(config: Path | None, day: str, changed: Path, *, as_json: bool) -> int:
    """Print what another configuration would have decided on a day."""
    loaded = load_network(config)
    old, new = load_routing(loaded), load_routing(load_network(changed))
    with open_reader(loaded.store) as reader:
        again = _Again()
        for each in _replayed(reader, day, old, new, again):
            again.add(each)
    if not again.total:
        raise Failure(
            f"no route was decided on {day}",
            fix="name a business day of this store, such as 2026-01-31",
        )
    if as_json:
        print_json({"day": day, "with": str(changed), **again.to_json()})
    else:
        again.tell(day, changed)
    return OK


@dataclass(slots=True)
class _Again:
    """What a day comes to when it is decided again."""

    total: int = 0
    unreadable: int = 0
    moved: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    reordered: list[str] = field(default_factory=list)
    inexact: list[str] = field(default_factory=list)
    assumed: set[str] = field(default_factory=set)

    def add(self, replayed: Replayed) -> None:
        """Count one decision."""
        self.total += 1
        self.assumed |= replayed.assumed
        if not replayed.is_exact:
            self.inexact.append(replayed.transaction_id)
            return
        after = replayed.possible[0]
        move = (_first(replayed.before), _first(after))
        if move[0] != move[1]:
            self.moved.setdefault(move, []).append(replayed.transaction_id)
        elif replayed.before != after:
            self.reordered.append(replayed.transaction_id)

    @property
    def unchanged(self) -> int:
        """How many decisions are the same."""
        moved = sum(len(ids) for ids in self.moved.values())
        return self.total - moved - len(self.reordered) - len(self.inexact)

    def to_json(self) -> dict[str, Any]:
        """Give the figures for other programs."""
        return {
            "decisions": self.total,
            "unchanged": self.unchanged,
            "changed": [
                {
                    "from": before,
                    "to": after,
                    "count": len(ids),
                    "examples": ids[:EXAMPLES_MAX],
                }
                for (before, after), ids in self._moves()
            ],
            "other_alternates": _sample(self.reordered),
            "not_exact": _sample(self.inexact),
            "unreadable": self.unreadable,
            "assumed_up": sorted(self.assumed),
        }

    def tell(self, day: str, changed: Path) -> None:
        """Print the figures for people."""
        console = stdout()
        console.print(
            f"{self.total} decisions of {day} with {changed}: "
            f"{self.unchanged} unchanged"
        )
        if self.moved:
            table = plain_table("was asked first", "would be", "count", "such as")
            for (before, after), ids in self._moves():
                table.add_row(
                    before, after, str(len(ids)), " ".join(ids[:EXAMPLES_MAX])
                )
            console.print(table)
        for what, ids in (
            ("would have other alternates", self.reordered),
            ("depend on digits that are not kept, and may go either way", self.inexact),
        ):
            if ids:
                some = " ".join(ids[:EXAMPLES_MAX])
                console.print(f"{len(ids)} {what}: {some}")
        if self.unreadable:
            console.print(f"{self.unreadable} records cannot be decided again")
        if self.assumed:
            names = ", ".join(sorted(self.assumed))
            console.print(f"taken to be up, for nothing was known of them: {names}")

    def _moves(self) -> list[tuple[tuple[str, str], list[str]]]:
        return sorted(self.moved.items(), key=lambda each: (-len(each[1]), each[0]))


def _replayed(
    reader: StoreReader,
    day: str,
    old: RoutingTable,
    new: RoutingTable,
    again: _Again,
) -> Iterator[Replayed]:
    """Decide every recorded decision of a day again."""
    for chained in reader.records_of_day(day):
        data = chained.record.body.get("decision")
        if data is None:
            continue
        try:
            decision = to_decision(chained.record.transaction_id, data)
        except (KeyError, ValueError):
            again.unreadable += 1
            continue
        yield replay(decision, old=old, new=new)


def _facts(network: Network, wish: Wish) -> Facts:
    span, digits = _card(wish)
    currency = wish.currency or network.switch.currency
    merchant = None
    if wish.merchant:
        name = one_of(wish.merchant, network.merchants, "merchant")
        merchant = network.merchants[name]
    if not _TIME.fullmatch(wish.at):
        raise Failure("--at is no time", fix="write --at 22:30", exit_code=USAGE)
    try:
        amount = parse_money(wish.amount, currency)
    except ValueError as exc:
        raise Failure(f"--amount is {exc}", exit_code=USAGE) from None
    return Facts(
        transaction_id=wish.transaction,
        card=span,
        bin=digits,
        kind=_member(Kind, wish.kind, "--kind"),
        amount_minor=amount.minor,
        currency=currency,
        mcc=wish.mcc or (merchant.mcc if merchant else ""),
        merchant_id=wish.merchant,
        country=wish.country
        or (merchant.country if merchant else None)
        or network.switch.country,
        entry_mode=_member(EntryMode, wish.entry_mode, "--entry-mode"),
        minute=to_minute(wish.at),
    )


def _card(wish: Wish) -> tuple[Span, str]:
    """Give where the card lies, and what of its BIN may be shown."""
    if bool(wish.bin_digits) == bool(wish.card):
        raise Failure(
            "give a BIN or a test card",
            fix="--bin 411111, or --card visa-ok",
            exit_code=USAGE,
        )
    if wish.card:
        pan = CARDS[one_of(wish.card, CARDS, "test card")].pan
        return Span.of_card(pan), pan.stored_bin
    if not _BIN.fullmatch(wish.bin_digits):
        raise Failure(
            "--bin is not 6 to 11 digits",
            fix="leave out the rest of the card number: it is never needed",
            exit_code=USAGE,
        )
    return Span.of_digits(wish.bin_digits), wish.bin_digits[:8]


def _member(kind: type[Member], value: str, option: str) -> Member:
    return kind(one_of(value, [each.value for each in kind], f"{option[2:]}"))


def _passed_over(
    table: RoutingTable, facts: Facts, row: BinRow | None
) -> Iterator[tuple[str, str]]:
    """Give the rules before the one that fits, and what each asks in vain."""
    for rule in table.rules if row else ():
        assert row is not None, "no rule is asked without a row"
        unmet = find_unmet(rule, facts, row)
        if not unmet:
            return
        yield rule.name, unmet


def _narrower(table: RoutingTable, span: Span, row: BinRow | None) -> set[str]:
    """Name the rows that more digits of the card could lead to."""
    return {
        other.label
        for _, other in table.bins.segments(span)
        if other is not None and other is not row
    }


def _tell(
    route: Route, passed_over: list[tuple[str, str]], narrower: list[str]
) -> None:
    console = stdout()
    facts = route.facts
    hours, minutes = divmod(facts.minute, 60)
    console.print(
        f"{facts.kind} of {Money(facts.amount_minor, facts.currency)}, "
        f"card {facts.bin}…, {facts.entry_mode}, MCC {facts.mcc or 'unknown'}, "
        f"country {facts.country}, {hours:02}:{minutes:02} UTC, "
        f"transaction {facts.transaction_id}"
    )
    for name, unmet in passed_over:
        console.print(Text(f"  rule {name} does not fit: {unmet}", style="dim"))
    for sentence in route.words():
        console.print(Text(f"  {sentence}"))
    order = ", then ".join(route.endpoints)
    style = "green" if order else "red"
    console.print(Text(f"→ {order or 'nobody can be asked'}", style=style))
    if narrower:
        console.print(f"with more digits the card may fall into: {', '.join(narrower)}")


def _first(endpoints: tuple[str, ...]) -> str:
    return endpoints[0] if endpoints else NOBODY


def _sample(ids: list[str]) -> dict[str, Any]:
    return {"count": len(ids), "examples": ids[:EXAMPLES_MAX]}
