"""Approving in an issuer's place: within its limits, recorded, and told (rule 17)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
import trio

from isoswitch.codecs.canonical.codes import EntryMode, Kind, ResponseCode
from isoswitch.codecs.canonical.secrets import Pin, Secret
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.journal.records import RecordKind
from isoswitch.ledger.holds import HoldState
from isoswitch.simulators.bookings import BookingKind
from isoswitch.simulators.cards import TestCard, get_card
from isoswitch.simulators.rules import Fault, Reaction, Rule
from isoswitch.simulators.swarm import settle
from isoswitch.simulators.world import World
from isoswitch.store.standins import Exposure
from isoswitch.switch.settings import StandInSettings, SwitchSettings
from tests.system.test_purchase import kinds

CARD = get_card("visa-partial")  # of north alone: it has no alternate
OTHER = get_card("visa-silent")
PROFILE = StandInSettings(
    name="small",
    currency="978",
    floor_minor=5_000,
    card_count_max=2,
    card_minor_max=8_000,
    total_minor_max=10_000,
    with_chip=True,
    after_silence=True,
)
SILENT = Rule(name="silent", then=Reaction(fault=Fault.SILENCE))
NORMAL: list[Rule] = []


def standing_in(profile: StandInSettings) -> Callable[[SwitchSettings], SwitchSettings]:
    """Let the switch stand in for both issuers."""

    def change(settings: SwitchSettings) -> SwitchSettings:
        return replace(
            settings,
            stand_in={profile.name: profile},
            endpoints={
                name: replace(endpoint, stand_in=profile.name)
                for name, endpoint in settings.endpoints.items()
            },
        )

    return change


@pytest.fixture
def profile() -> StandInSettings:
    """The profile of the world below; tests give another by parameter."""
    return PROFILE


@pytest.fixture
async def away(nursery: trio.Nursery, profile: StandInSettings) -> AsyncIterator[World]:
    """A network whose switch stands in, and whose north is away."""
    network = World(change=standing_in(profile))
    await nursery.start(network.run)
    network.issuers["north"].set_rules(NORMAL)
    network.cut_link("north")
    await trio.sleep(1)
    yield network
    network.heal_link("north")
    verdict = await settle(network)
    assert verdict.is_settled, verdict.describe()


async def pay(
    world: World, amount_minor: int, *, card: TestCard = CARD, pin: Pin | None = None
) -> Outcome:
    """Pay once, and give what the terminal was told."""
    belief = await world.terminals["TERM0001"].purchase(card, amount_minor, pin=pin)
    assert belief.outcome is not None
    return belief.outcome


async def owed(world: World) -> list[tuple[int, int]]:
    """Give the counts and amounts that north has not been told of."""
    assert world.store is not None
    exposures = await world.store.exposures()
    assert all(isinstance(each, Exposure) for each in exposures)
    return [(each.count, each.minor) for each in exposures]


async def test_a_small_purchase_is_approved_while_the_issuer_is_away(
    away: World,
) -> None:
    outcome = await pay(away, 1250)
    assert outcome.code is ResponseCode.APPROVED
    assert re.fullmatch(r"S\d{5}", outcome.approval_code)
    assert await owed(away) == [(1, 1250)]
    assert await kinds(away.store, "1-1") == [
        RecordKind.OPENED,
        RecordKind.STOOD_IN,
        RecordKind.CLOSED,
    ]
    assert away.store is not None
    body = (await away.store.records("1-1"))[1].record.body
    assert (body["endpoint"], body["profile"]) == ("north", "small")
    assert body["reason"] == (
        f"stand-in: BIN {CARD.pan.leading(8)}: north is down, no endpoint can be asked"
    )


async def test_the_issuer_is_told_by_an_advice_when_it_is_back(away: World) -> None:
    outcome = await pay(away, 1250)
    away.heal_link("north")
    await trio.sleep(20)
    (booking,) = away.issuers["north"].bookings.entries
    assert (booking.kind, booking.amount_minor) == (BookingKind.APPROVED, 1250)
    told = await kinds(away.store, "1-1")
    assert told[-2:] == [RecordKind.FORWARDED, RecordKind.DELIVERED]
    assert away.store is not None
    forwarded = (await away.store.records("1-1"))[-2].record.body["message"]
    assert forwarded["mti"] == "0220"
    assert forwarded["38"] == outcome.approval_code
    assert await owed(away) == []


async def test_money_stands_with_the_issuer_that_is_away(away: World) -> None:
    await pay(away, 1250)
    assert away.store is not None
    hold = await away.store.find_hold("1-1")
    assert hold is not None
    assert (hold.state, hold.debit) == (HoldState.CAPTURED, "issuer/north")


@pytest.mark.parametrize(
    ("amounts", "approved"),
    [
        pytest.param([5_000], [True], id="at the floor"),
        pytest.param([5_001], [False], id="above the floor"),
        pytest.param([100, 100, 100], [True, True, False], id="a card's count"),
        pytest.param([5_000, 3_000], [True, True], id="at a card's amount"),
        pytest.param([5_000, 3_001], [True, False], id="above a card's amount"),
        pytest.param(
            [5_000, 3_001, 3_000], [True, False, True], id="a refusal is free"
        ),
    ],
)
async def test_a_card_gets_no_more_than_its_profile_allows(
    away: World, amounts: list[int], approved: list[bool]
) -> None:
    outcomes = [await pay(away, amount) for amount in amounts]
    assert [outcome.is_approved for outcome in outcomes] == approved
    assert {outcome.code for outcome in outcomes if not outcome.is_approved} <= {
        ResponseCode.ISSUER_UNAVAILABLE
    }


async def test_an_issuer_is_owed_no_more_than_its_total(away: World) -> None:
    assert (await pay(away, 5_000)).is_approved
    assert (await pay(away, 4_000, card=OTHER)).is_approved
    assert not (await pay(away, 1_001, card=get_card("visa-duplicate"))).is_approved
    assert (await pay(away, 1_000, card=get_card("visa-duplicate"))).is_approved
    assert await owed(away) == [(3, 10_000)]


async def test_what_comes_at_once_does_not_share_the_last_of_a_limit(
    away: World,
) -> None:
    """Two at the floor fit the total; of three at once, one is declined."""
    cards = [CARD, OTHER, get_card("visa-duplicate")]
    outcomes: list[Outcome] = []

    async def pay_one(terminal: str, card: TestCard) -> None:
        belief = await away.terminals[terminal].purchase(card, 4_000)
        assert belief.outcome is not None
        outcomes.append(belief.outcome)

    async with trio.open_nursery() as nursery:
        for card, terminal in zip(
            cards, ["TERM0001", "TERM0002", "TERM0002"], strict=True
        ):
            nursery.start_soon(pay_one, terminal, card)
    assert sorted(outcome.is_approved for outcome in outcomes) == [False, True, True]
    assert await owed(away) == [(2, 8_000)]


async def test_what_the_issuer_knows_no_longer_counts(away: World) -> None:
    await pay(away, 5_000)
    await pay(away, 5_000, card=OTHER)
    assert not (await pay(away, 100, card=get_card("visa-duplicate"))).is_approved
    away.heal_link("north")
    await trio.sleep(20)
    away.cut_link("north")
    await trio.sleep(1)
    assert (await pay(away, 100, card=get_card("visa-duplicate"))).is_approved
    # The day of a card does not begin again.
    assert not (await pay(away, 3_001)).is_approved


async def test_limits_outlive_the_process(away: World) -> None:
    await pay(away, 5_000)
    away.crash_switch()
    await trio.sleep(1)
    await away.start_switch()
    await trio.sleep(1)
    assert await owed(away) == [(1, 5_000)]
    assert not (await pay(away, 3_001)).is_approved
    assert (await pay(away, 3_000)).is_approved


async def test_a_repeat_gets_the_same_approval_and_counts_once(away: World) -> None:
    terminal = away.terminals["TERM0001"]
    request = terminal.build(Kind.PURCHASE, CARD, 1250)
    first = await terminal.pay(request)
    again = await terminal.exchange(request)
    assert again is not None
    assert first.outcome is not None
    assert again.outcome.approval_code == first.outcome.approval_code
    assert await owed(away) == [(1, 1250)]


async def test_a_reversal_follows_the_advice_and_frees_the_total(away: World) -> None:
    terminal = away.terminals["TERM0001"]
    belief = await terminal.purchase(CARD, 5_000)
    await terminal.reverse(belief)
    assert await owed(away) == []
    away.heal_link("north")
    await trio.sleep(20)
    booked = [each.kind for each in away.issuers["north"].bookings.entries]
    assert booked == [BookingKind.APPROVED, BookingKind.REVERSED]


async def test_a_pin_that_nobody_verifies_is_not_taken(away: World) -> None:
    assert not (await pay(away, 1250, pin=CARD.pin)).is_approved


async def test_cash_is_not_given(away: World) -> None:
    terminal = away.terminals["TERM0001"]
    belief = await terminal.pay(terminal.build(Kind.CASH_WITHDRAWAL, CARD, 1_000))
    assert belief.outcome is not None
    assert belief.outcome.code is ResponseCode.ISSUER_UNAVAILABLE


async def test_an_expired_card_gets_nothing(away: World) -> None:
    assert not (await pay(away, 100, card=get_card("visa-expired"))).is_approved


@pytest.mark.parametrize("profile", [replace(PROFILE, currency="840")], ids=["usd"])
async def test_another_currency_has_no_limits_and_is_declined(away: World) -> None:
    assert not (await pay(away, 100)).is_approved


@pytest.mark.parametrize("profile", [replace(PROFILE, with_pin=True)], ids=["pin"])
async def test_a_profile_may_take_a_pin(away: World) -> None:
    assert (await pay(away, 100, pin=CARD.pin)).is_approved


@pytest.mark.parametrize(
    "profile",
    [replace(PROFILE, kinds=frozenset({Kind.PREAUTHORISATION}))],
    ids=["holds"],
)
async def test_what_was_set_aside_in_its_place_is_completed_by_the_issuer(
    away: World,
) -> None:
    terminal = away.terminals["TERM0001"]
    belief = await terminal.preauthorise(CARD, 5_000)
    assert belief.outcome is not None
    assert belief.outcome.is_approved
    away.heal_link("north")
    await trio.sleep(20)
    done = await terminal.complete(belief, 4_000)
    assert done.outcome is not None
    assert done.outcome.is_approved
    assert away.store is not None
    hold = await away.store.find_hold("1-1")
    assert hold is not None
    assert (hold.state, hold.captured_minor) == (HoldState.CAPTURED, 4_000)


@pytest.fixture
async def silent(
    nursery: trio.Nursery, profile: StandInSettings
) -> AsyncIterator[World]:
    """A network whose switch stands in, and whose north hears and says nothing."""
    network = World(change=standing_in(profile))
    await nursery.start(network.run)
    network.issuers["north"].set_rules([SILENT])
    yield network
    network.issuers["north"].set_rules(NORMAL)
    verdict = await settle(network)
    assert verdict.is_settled, verdict.describe()


async def test_after_silence_the_leg_is_reversed_before_the_advice(
    silent: World,
) -> None:
    outcome = await pay(silent, 1250)
    assert outcome.is_approved
    assert await kinds(silent.store, "1-1") == [
        RecordKind.OPENED,
        RecordKind.SENDING,
        RecordKind.TIMED_OUT,
        RecordKind.REVERSAL_OWED,
        RecordKind.STOOD_IN,
        RecordKind.CLOSED,
        RecordKind.FORWARDED,
    ]
    silent.issuers["north"].set_rules(NORMAL)
    await trio.sleep(60)
    booked = silent.issuers["north"].bookings.entries
    assert [each.kind for each in booked] == [
        BookingKind.APPROVED,
        BookingKind.REVERSED,
        BookingKind.APPROVED,
    ]
    assert booked[0].rrn == booked[1].rrn != booked[2].rrn


async def pay_with_odd_chip(world: World) -> Outcome:
    """Pay with chip data that are cut short."""
    terminal = world.terminals["TERM0002"]
    told = replace(
        terminal.build(Kind.PURCHASE, CARD, 1250).transaction,
        emv=Secret(bytes.fromhex("9F2701409F26081122")),
        entry_mode=EntryMode.CHIP,
    )
    belief = await terminal.pay(terminal.build_from(told))
    assert belief.sends == 1
    assert belief.outcome is not None
    return belief.outcome


async def test_chip_data_that_nobody_can_read_keep_nobody_from_standing_in(
    away: World,
) -> None:
    assert (await pay_with_odd_chip(away)).is_approved
    assert await owed(away) == [(1, 1250)]


async def test_nor_do_they_after_silence(silent: World) -> None:
    assert (await pay_with_odd_chip(silent)).is_approved
    assert await owed(silent) == [(1, 1250)]


@pytest.mark.parametrize(
    "profile", [replace(PROFILE, after_silence=False)], ids=["not after silence"]
)
async def test_silence_declines_unless_the_profile_says_otherwise(
    silent: World,
) -> None:
    assert (await pay(silent, 1250)).code is ResponseCode.ISSUER_UNAVAILABLE
    assert await owed(silent) == []
