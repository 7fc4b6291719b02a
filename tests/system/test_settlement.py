"""Terminals settle batches, endpoints confirm days, and every difference is told."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import msgspec
import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.totals import Totals
from isoswitch.codecs.dialects.settlement import read_settlement
from isoswitch.hsm.port import Hsm
from isoswitch.journal.records import Record, RecordKind
from isoswitch.simulators.beliefs import Belief
from isoswitch.simulators.bookings import BookingKind
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.rules import Equals, Fault, Reaction, Rule
from isoswitch.simulators.settlement import settle, terminal_totals, upload
from isoswitch.simulators.storm import MoodyHsm
from isoswitch.simulators.terminal import Answer, Terminal
from isoswitch.simulators.world import World
from isoswitch.store.port import Store, Verdict
from isoswitch.switch.settings import SwitchSettings

FIRST = "2026-06-01"
TERMINALS = ["TERM0001", "TERM0002"]
EUR, USD = "978", "840"


def reconciling(settings: SwitchSettings) -> SwitchSettings:
    endpoints = {
        name: replace(endpoint, reconciles=True)
        for name, endpoint in settings.endpoints.items()
    }
    return replace(settings, endpoints=endpoints)


def as_unionpay(settings: SwitchSettings) -> SwitchSettings:
    listeners = tuple(replace(each, dialect="cup-pos") for each in settings.listeners)
    return replace(settings, listeners=listeners)


@pytest.fixture
async def world(nursery: trio.Nursery) -> World:
    """A network whose issuers confirm the totals of each day."""
    network = World(change=reconciling)
    await nursery.start(network.run)
    return network


def store_of(world: World) -> Store:
    assert world.store is not None
    return world.store


async def records(world: World, kind: RecordKind) -> list[Record]:
    found = [each.record for each in await store_of(world).records(limit=100_000)]
    return [record for record in found if record.kind is kind]


async def pay(terminal: Terminal, *amounts: int, card: str = "visa-ok") -> None:
    chosen = get_card(card)
    for minor in amounts:
        await terminal.purchase(chosen, minor, pin=chosen.pin)


async def settle_now(terminal: Terminal, **changes: int) -> Answer:
    totals = replace(terminal_totals(terminal.beliefs), **changes)
    answer = await settle(terminal, totals)
    assert answer is not None
    return answer


async def pay_dollars(terminal: Terminal, minor: int) -> Belief:
    card = get_card("visa-ok")
    asked = terminal.build(Kind.PURCHASE, card, minor, pin=card.pin).transaction
    in_dollars = replace(asked, amount=Money(minor, USD))
    return await terminal.pay(terminal.build_from(in_dollars))


async def settle_in(
    terminal: Terminal, currency: str, *minor: int, is_after_upload: bool = False
) -> Answer:
    """Settle one currency over debits alone."""
    totals = Totals(debits=len(minor), debits_minor=sum(minor))
    answer = await settle(
        terminal, totals, currency=currency, is_after_upload=is_after_upload
    )
    assert answer is not None
    return answer


async def close_day(world: World) -> None:
    assert world.switch is not None
    assert world.switch.services is not None
    await world.switch.services.days.cut(reason="test")
    await trio.sleep(30)


@pytest.mark.parametrize("name", TERMINALS)
async def test_a_batch_whose_totals_agree_is_closed(world: World, name: str) -> None:
    terminal = world.terminals[name]
    await pay(terminal, 1000, 500)
    await pay(terminal, 700, card="visa-declined")
    await terminal.reverse(terminal.beliefs[0])
    answer = await settle_now(terminal)
    assert answer.outcome.is_approved
    assert await store_of(world).find_batch(name) == 2


async def test_the_next_batch_begins_at_nothing(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    await pay(terminal, 1000)
    await settle_now(terminal)
    terminal.beliefs.clear()
    await pay(terminal, 300)
    answer = await settle_now(terminal)
    assert answer.outcome.is_approved
    told = await records(world, RecordKind.SETTLEMENT)
    assert [each.body["ours"]["debits_minor"] for each in told] == [1000, 300]


@pytest.mark.parametrize("name", TERMINALS)
async def test_totals_that_differ_are_answered_with_ours_and_close_nothing(
    world: World, name: str
) -> None:
    terminal = world.terminals[name]
    await pay(terminal, 1000)
    answer = await settle_now(terminal, debits_minor=999)
    assert answer.outcome.code is ResponseCode.RECONCILIATION_ERROR
    ours = read_settlement(terminal.dialect, answer.message).totals
    assert ours == Totals(debits=1, debits_minor=1000)
    assert await store_of(world).find_batch(name) == 1


@pytest.mark.parametrize("told", [1250, 0], ids=["agrees", "differs"])
async def test_a_unionpay_terminal_settles_a_batch_that_undoes_more_than_it_does(
    nursery: trio.Nursery, told: int
) -> None:
    world = World(change=as_unionpay)
    await nursery.start(world.run)
    terminal, card = world.terminals["TERM0001"], get_card("visa-ok")
    sale = await terminal.purchase(card, 1250, pin=card.pin)
    await settle_now(terminal)
    await terminal.void(sale)
    answer = await settle(terminal, Totals(credits=told and 1, credits_minor=told))
    assert answer is not None
    assert answer.outcome.is_approved is bool(told)
    assert await store_of(world).find_batch("TERM0001") == (3 if told else 2)


async def test_a_repeated_settlement_gets_its_first_answer_and_closes_once(
    world: World,
) -> None:
    terminal = world.terminals["TERM0001"]
    await pay(terminal, 1000)
    await settle_now(terminal)
    terminal.beliefs.clear()
    again = await settle_now(terminal)
    assert again.outcome.is_approved
    assert await store_of(world).find_batch("TERM0001") == 3


async def test_after_an_upload_every_difference_is_an_exception(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    await pay(terminal, 1000, 500)
    kept, forgotten = terminal.beliefs
    await settle_now(terminal, debits=9)
    unknown = replace(kept, stan="999999")
    for belief in (kept, unknown):
        outcome = await upload(terminal, belief)
        assert outcome is not None
        assert outcome.is_approved
    answer = await settle(
        terminal, terminal_totals(terminal.beliefs), is_after_upload=True
    )
    assert answer is not None
    assert answer.outcome.is_approved
    assert await store_of(world).find_batch("TERM0001") == 2
    told = await records(world, RecordKind.EXCEPTION)
    rows = await store_of(world).find_originals("TERM0001", forgotten.stan)
    assert [each.body["reason"] for each in told] == [
        "the terminal did not upload it",
        "the terminal uploaded what we do not have",
    ]
    assert told[0].body["ours"] == rows[0].id


@pytest.mark.parametrize("currencies", [(EUR, USD), (USD, EUR)])
async def test_each_currency_of_a_terminal_is_settled_for_itself(
    world: World, currencies: tuple[str, str]
) -> None:
    terminal = world.terminals["TERM0001"]
    await pay(terminal, 1000)
    await pay_dollars(terminal, 500)
    stands = {EUR: 1000, USD: 500}
    for currency in currencies:
        answer = await settle_in(terminal, currency, stands[currency])
        assert answer.outcome.is_approved
    for currency in currencies:
        assert (await settle_in(terminal, currency)).outcome.is_approved
    assert await records(world, RecordKind.EXCEPTION) == []


async def test_what_comes_between_two_currencies_is_settled_with_what_follows(
    world: World,
) -> None:
    terminal = world.terminals["TERM0001"]
    await pay(terminal, 1000)
    await pay_dollars(terminal, 500)
    assert (await settle_in(terminal, EUR, 1000)).outcome.is_approved
    await pay(terminal, 300)
    await pay_dollars(terminal, 200)
    assert (await settle_in(terminal, USD, 500, 200)).outcome.is_approved
    wrong = await settle_in(terminal, EUR, 1000, 300)
    assert wrong.outcome.code is ResponseCode.RECONCILIATION_ERROR
    assert (await settle_in(terminal, EUR, 300)).outcome.is_approved


async def test_an_upload_settles_its_own_currency_alone(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    await pay(terminal, 1000)
    dollars = await pay_dollars(terminal, 500)
    assert (await settle_in(terminal, EUR, 1000)).outcome.is_approved
    forgotten = await pay_dollars(terminal, 200)
    await pay(terminal, 300)
    answer = await settle_in(terminal, USD, 500)
    assert answer.outcome.code is ResponseCode.RECONCILIATION_ERROR
    ours = read_settlement(terminal.dialect, answer.message).totals
    assert ours == Totals(debits=2, debits_minor=700)
    assert await upload(terminal, dollars)
    assert (
        await settle_in(terminal, USD, 500, is_after_upload=True)
    ).outcome.is_approved
    (told,) = await records(world, RecordKind.EXCEPTION)
    rows = await store_of(world).find_originals("TERM0001", forgotten.stan)
    assert told.body["reason"] == "the terminal did not upload it"
    assert told.body["ours"] == rows[0].id
    assert (await settle_in(terminal, USD)).outcome.is_approved
    assert (await settle_in(terminal, EUR, 300)).outcome.is_approved


async def test_an_upload_settles_all_where_messages_name_no_currency(
    nursery: trio.Nursery,
) -> None:
    def change(settings: SwitchSettings) -> SwitchSettings:
        speaking = {"ascii": "iso2003-ascii"}
        listeners = tuple(
            replace(each, dialect=speaking.get(each.name, each.dialect))
            for each in settings.listeners
        )
        return replace(settings, listeners=listeners)

    world = World(change=change)
    await nursery.start(world.run)
    terminal = world.terminals["TERM0001"]
    for minor, dollars_minor in ((1000, 500), (300, 200)):
        await pay(terminal, minor)
        forgotten = await pay_dollars(terminal, dollars_minor)
        wrong = await settle(terminal, Totals())
        assert wrong is not None
        assert wrong.outcome.code is ResponseCode.RECONCILIATION_ERROR
        assert await upload(terminal, terminal.beliefs[-2])
        done = await settle(terminal, Totals(), is_after_upload=True)
        assert done is not None
        assert done.outcome.is_approved
        rows = await store_of(world).find_originals("TERM0001", forgotten.stan)
        told = await records(world, RecordKind.EXCEPTION)
        assert [told[-1].body["ours"]] == [rows[0].id]
    assert len(told) == 2


async def test_an_upload_that_was_refused_is_no_difference(
    nursery: trio.Nursery,
) -> None:
    moods: list[MoodyHsm] = []

    def wrap(hsm: Hsm) -> Hsm:
        moods.append(MoodyHsm(hsm))
        return moods[-1]

    world = World(wrap_hsm=wrap)
    await nursery.start(world.run)
    terminal = world.terminals["TERM0002"]
    await pay(terminal, 1000)
    await settle_now(terminal, debits=9)
    moods[0].is_away = True
    refused = await upload(terminal, terminal.beliefs[0])
    assert refused is None or not refused.is_approved
    moods[0].is_away = False
    rows = await store_of(world).batch_transactions("TERM0002", 1)
    assert Kind.BATCH_UPLOAD in {row.kind for row in rows}
    taken = await upload(terminal, terminal.beliefs[0])
    assert taken is not None
    assert taken.is_approved
    answer = await settle_in(terminal, EUR, 1000, is_after_upload=True)
    assert answer.outcome.is_approved
    assert await records(world, RecordKind.EXCEPTION) == []


async def test_a_terminal_whose_timeout_was_reversed_settles_all_the_same(
    world: World,
) -> None:
    terminal = world.terminals["TERM0001"]
    await pay(terminal, 1000)
    await pay(terminal, 400, card="mc-late")
    await trio.sleep(60)
    assert (await settle_now(terminal)).outcome.is_approved


async def test_every_endpoint_confirms_the_totals_of_a_closed_day(
    world: World,
) -> None:
    terminal = world.terminals["TERM0002"]
    await pay(terminal, 1000, 250)
    await pay(terminal, 300, card="mc-ok")
    await pay(terminal, 400, card="mc-late")
    await terminal.reverse(terminal.beliefs[1])
    await trio.sleep(60)
    await close_day(world)
    found = await store_of(world).reconciliations(FIRST)
    assert [(each.endpoint, each.verdict) for each in found] == [
        ("north", Verdict.AGREED),
        ("south", Verdict.AGREED),
    ]


async def test_a_day_on_which_nothing_moved_is_confirmed_too(world: World) -> None:
    await close_day(world)
    found = await store_of(world).reconciliations(FIRST)
    assert {each.verdict for each in found} == {Verdict.AGREED}


async def test_an_endpoint_with_other_totals_is_an_exception(world: World) -> None:
    await pay(world.terminals["TERM0001"], 1000)
    books = world.issuers["north"].bookings
    (approval,) = [each for each in books.entries if each.kind is BookingKind.APPROVED]
    books.entries[books.entries.index(approval)] = msgspec.structs.replace(
        approval, amount_minor=900
    )
    await close_day(world)
    found = await store_of(world).reconciliations(FIRST)
    assert {each.endpoint: each.verdict for each in found}["north"] is Verdict.DIFFERS
    (told,) = await records(world, RecordKind.EXCEPTION)
    assert told.body["ours"]["debits_minor"] == 1000
    assert told.body["theirs"]["debits_minor"] == 900


async def test_totals_wait_until_nothing_of_their_day_is_owed(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    await pay(terminal, 1000)
    world.cut_link("north")
    await terminal.reverse(terminal.beliefs[0])
    await close_day(world)
    found = await store_of(world).reconciliations(FIRST)
    assert {each.endpoint: each.verdict for each in found}["north"] is Verdict.OWED
    world.heal_link("north")
    await trio.sleep(120)
    found = await store_of(world).reconciliations(FIRST)
    assert {each.endpoint: each.verdict for each in found}["north"] is Verdict.AGREED


async def test_a_wrong_clock_ends_no_patience(world: World) -> None:
    terminal = world.terminals["TERM0001"]
    await pay(terminal, 1000)
    silence = Rule(
        name="silent",
        then=Reaction(fault=Fault.SILENCE, books=False),
        when={"kind": Equals(value=Kind.REVERSAL)},
    )
    world.issuers["north"].set_rules([silence])
    await terminal.reverse(terminal.beliefs[0])
    await close_day(world)
    world.nodes[0].clock.offset_s = 3600.0
    await trio.sleep(30)
    found = await store_of(world).reconciliations(FIRST)
    assert {each.endpoint: each.verdict for each in found}["north"] is Verdict.OWED
    world.issuers["north"].set_rules([])
    await trio.sleep(120)
    found = await store_of(world).reconciliations(FIRST)
    assert {each.endpoint: each.verdict for each in found}["north"] is Verdict.AGREED


@pytest.mark.parametrize("name", TERMINALS)
async def test_every_kind_is_settled_with_the_terminal_and_with_the_issuer(
    world: World, name: str
) -> None:
    terminal = world.terminals[name]
    card = get_card("visa-ok")
    await pay(terminal, 1000, 2000, 3000)
    refunded, voided, partly = terminal.beliefs
    await terminal.refund(refunded, 400)
    await terminal.void(voided)
    await terminal.reverse(partly, remaining_minor=1800)
    held = await terminal.preauthorise(card, 5000, pin=card.pin)
    await terminal.complete(held, 4000)
    await terminal.preauthorise(card, 700, pin=card.pin)
    await terminal.balance(card, pin=card.pin)
    await trio.sleep(60)
    answer = await settle_now(terminal)
    assert answer.outcome.is_approved, await records(world, RecordKind.SETTLEMENT)
    await close_day(world)
    found = await store_of(world).reconciliations(FIRST)
    told = await records(world, RecordKind.EXCEPTION)
    assert {each.verdict for each in found} == {Verdict.AGREED}, told


async def test_of_several_nodes_one_sends_the_totals_of_a_day(
    nursery: trio.Nursery,
) -> None:
    world = World(change=reconciling, nodes=2)
    await nursery.start(world.run)
    await trio.sleep(10)
    switches = [node.switch for node in world.nodes if node.switch is not None]
    assert sorted(switch.does_once() for switch in switches) == [False, True]
    await close_day(world)
    told = await records(world, RecordKind.SETTLEMENT)
    # An attempt and a verdict for each endpoint.
    assert Counter(each.body["endpoint"] for each in told) == Counter(
        dict.fromkeys(world.issuers, 2)
    )


async def test_the_totals_go_out_from_the_node_that_connects(
    nursery: trio.Nursery,
) -> None:
    def change(settings: SwitchSettings) -> SwitchSettings:
        wanted = reconciling(settings)
        owners = {"north": "sw1", "south": "sw2"}
        endpoints = {
            name: replace(endpoint, owner=owners.get(name, ""))
            for name, endpoint in wanted.endpoints.items()
        }
        return replace(wanted, endpoints=endpoints)

    world = World(change=change, nodes=2)
    await nursery.start(world.run)
    await trio.sleep(10)
    await close_day(world)
    found = await store_of(world).reconciliations(FIRST)
    assert {each.endpoint: each.verdict for each in found} == dict.fromkeys(
        world.issuers, Verdict.AGREED
    )
