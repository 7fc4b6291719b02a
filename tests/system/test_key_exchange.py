"""Working keys change while money moves, and no payment notices."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import (
    HsmError,
    HsmUnavailable,
    IsoswitchError,
    KeyRefused,
    VerificationFailed,
)
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.dialects.key_change import KeyPurpose
from isoswitch.hsm.keychange import KeyStore
from isoswitch.hsm.port import (
    ActivateKey,
    AgreeKey,
    AnyCommand,
    Hsm,
    ImportKey,
    ListKeys,
    OfferKey,
)
from isoswitch.hsm.settings import Environment
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.requests import TerminalProfile
from isoswitch.simulators.rules import Equals, Fault, Fixed, OneOf, Reaction, Rule
from isoswitch.simulators.swarm import settle
from isoswitch.simulators.terminal import Terminal
from isoswitch.simulators.world import KEKS, MERCHANT, World
from isoswitch.switch.keyexchange import CHANGED, Change
from isoswitch.switch.keyjournal import KeyEvent, note_key
from isoswitch.switch.settings import (
    KeyExchangeSettings,
    ListenerSettings,
    SwitchSettings,
)

CARDS = {"north": "visa-ok", "south": "mc-ok"}
OVERLAP_S = 60.0
KEY_CHANGE = {"kind": Equals(value=Kind.KEY_CHANGE)}
SLOW = Rule(name="slow", then=Reaction(delay=Fixed(delay_s=2.0)), when={})
NAMES = {KeyPurpose.PIN: "north/zpk", KeyPurpose.MAC: "north/zak"}
CUP = ListenerSettings(
    name="cup", host="", port=0, dialect="cup-pos", framing="bin2", header="tpdu"
)


def with_key_exchange(**more: float) -> Callable[[SwitchSettings], SwitchSettings]:
    """Give every link and terminal what it needs to change its keys."""

    def change(settings: SwitchSettings) -> SwitchSettings:
        endpoints = {
            name: replace(
                endpoint,
                key_exchange=KeyExchangeSettings(
                    under=KEKS[name],
                    is_legacy=KEKS[name].endswith("/zmk"),
                    overlap_s=OVERLAP_S,
                    retry_s=10.0,
                    **more,  # type: ignore[arg-type]  # numbers of either kind
                ),
            )
            for name, endpoint in settings.endpoints.items()
        }
        terminals = {
            name: replace(
                terminal, tmk=f"{name}/tmk", is_legacy=True, key_overlap_s=OVERLAP_S
            )
            for name, terminal in settings.terminals.items()
        }
        return replace(
            settings,
            endpoints=endpoints,
            terminals=terminals,
            listeners=(*settings.listeners, CUP),
        )

    return change


@asynccontextmanager
async def audited(nursery: trio.Nursery, world: World) -> AsyncIterator[World]:
    """Run a world, and audit all sides when the test is over."""
    await nursery.start(world.run)
    yield world
    verdict = await settle(world)
    assert verdict.is_settled, verdict.describe()
    for issuer in world.issuers.values():
        assert not issuer.counts["wrong mac"]
        assert not issuer.counts["bad pin block"]
    for terminal in world.terminals.values():
        assert not terminal.counts["wrong mac"]


@pytest.fixture
async def world(nursery: trio.Nursery) -> AsyncIterator[World]:
    """A network whose keys change on an order only."""
    async with audited(nursery, World(change=with_key_exchange())) as each:
        yield each


@pytest.fixture
async def ageing(nursery: trio.Nursery) -> AsyncIterator[World]:
    """A network whose keys change every ten minutes."""
    async with audited(nursery, World(change=with_key_exchange(age_s=600))) as each:
        yield each


@pytest.fixture
async def counting(nursery: trio.Nursery) -> AsyncIterator[World]:
    """A network whose keys change after five requests."""
    async with audited(nursery, World(change=with_key_exchange(uses_max=5))) as each:
        yield each


@pytest.fixture
async def watching(nursery: trio.Nursery) -> AsyncIterator[World]:
    """A network whose keys change after two wrong MACs in a row."""
    world = World(change=with_key_exchange(mac_failures_max=2))
    async with audited(nursery, world) as each:
        yield each


async def pay(world: World, endpoint: str, terminal: str = "TERM0001") -> BeliefState:
    """Pay with a card of an issuer, with PIN."""
    card = get_card(CARDS[endpoint])
    belief = await world.terminals[terminal].purchase(card, 1250, pin=card.pin)
    return belief.state


async def order(world: World, endpoint: str) -> list[Change]:
    """Change the keys of a link on an operator's word, at the first node."""
    assert world.switch is not None
    assert world.switch.services is not None
    return await world.switch.keys.order(
        world.switch.services, endpoint, operator="ann"
    )


async def versions(world: World, name: str) -> dict[int, str]:
    """Give the states of a key by version, as the crypto process knows them."""
    (listed,) = await world.hsm.run(ListKeys())
    return {
        each["version"]: each["state"]
        for each in json.loads(listed)
        if each["name"] == name
    }


async def events(world: World, name: str) -> list[str]:
    """Give what the journal says of a key."""
    assert world.store is not None
    return [
        each.record.body["event"] for each in await world.store.records(f"key/{name}")
    ]


@pytest.mark.parametrize("endpoint", CARDS)
async def test_we_send_an_issuer_new_keys(world: World, endpoint: str) -> None:
    assert await pay(world, endpoint) is BeliefState.APPROVED
    changes = await order(world, endpoint)
    assert [(each.key, each.version, each.result) for each in changes] == [
        (f"{endpoint}/zpk", 2, "changed"),
        (f"{endpoint}/zak", 2, "changed"),
    ]
    for name in ("zpk", "zak"):
        states = await versions(world, f"{endpoint}/{name}")
        assert states == {1: "retired", 2: "active"}
        assert await events(world, f"{endpoint}/{name}") == [
            KeyEvent.OFFERED,
            KeyEvent.CONFIRMED,
            KeyEvent.ACTIVATED,
        ]
    await trio.sleep(OVERLAP_S + 1)
    assert await pay(world, endpoint) is BeliefState.APPROVED


@pytest.mark.parametrize("purpose", KeyPurpose)
@pytest.mark.parametrize("endpoint", CARDS)
async def test_an_issuer_sends_us_a_new_key(
    world: World, endpoint: str, purpose: KeyPurpose
) -> None:
    issuer = world.issuers[endpoint]
    assert await issuer.change_key(purpose) is ResponseCode.APPROVED
    name = f"{endpoint}/{'zpk' if purpose is KeyPurpose.PIN else 'zak'}"
    assert await versions(world, name) == {1: "retired", 2: "active"}
    assert await events(world, name) == [KeyEvent.ACCEPTED, KeyEvent.ACTIVATED]
    await trio.sleep(OVERLAP_S + 1)
    assert await pay(world, endpoint) is BeliefState.APPROVED


@pytest.mark.parametrize("endpoint", CARDS)
async def test_a_key_with_a_wrong_check_value_is_declined(
    world: World, endpoint: str
) -> None:
    issuer = world.issuers[endpoint]
    code = await issuer.change_key(KeyPurpose.MAC, is_spoilt=True)
    assert code is ResponseCode.CRYPTOGRAPHIC_ERROR
    assert await versions(world, f"{endpoint}/zak") == {1: "active"}
    assert await pay(world, endpoint) is BeliefState.APPROVED


async def test_a_key_that_the_issuer_declines_is_dropped(world: World) -> None:
    refusing = Reaction(fields={39: "96"})
    rule = Rule(name="refuses keys", then=refusing, when=KEY_CHANGE, times_max=1)
    world.issuers["north"].set_rules([rule])
    (change,) = await order(world, "north")
    assert change.result == "declined with system_malfunction"
    assert await versions(world, "north/zpk") == {1: "active"}
    assert await events(world, "north/zpk") == [KeyEvent.OFFERED, KeyEvent.REFUSED]


async def test_a_key_confirmed_with_another_check_value_is_dropped(
    world: World,
) -> None:
    wrong = Reaction(fields={120: "000000"})
    rule = Rule(name="other key", then=wrong, when=KEY_CHANGE, times_max=1)
    world.issuers["north"].set_rules([rule])
    (change,) = await order(world, "north")
    assert change.result == "confirmed with another check value"
    assert await versions(world, "north/zpk") == {1: "active"}


@pytest.mark.parametrize("endpoint", CARDS)
async def test_after_a_lost_answer_the_same_key_is_offered_again(
    world: World, endpoint: str
) -> None:
    """The issuer took the key and uses it; we learn of that later only."""
    lost = Reaction(fault=Fault.SILENCE)
    rule = Rule(name="lost", then=lost, when=KEY_CHANGE, times_max=2)
    world.issuers[endpoint].set_rules([rule])
    (change,) = await order(world, endpoint)
    assert change.result == "no answer before the deadline"
    assert await versions(world, f"{endpoint}/zpk") == {1: "active", 2: "pending"}
    assert await pay(world, endpoint) is BeliefState.APPROVED
    await trio.sleep(60)
    for name in ("zpk", "zak"):
        states = await versions(world, f"{endpoint}/{name}")
        assert states == {1: "retired", 2: "active"}
    assert await pay(world, endpoint) is BeliefState.APPROVED


@pytest.mark.parametrize("endpoint", CARDS)
async def test_what_is_in_flight_under_the_old_key_is_accepted(
    world: World, endpoint: str
) -> None:
    issuer = world.issuers[endpoint]
    issuer.set_rules([SLOW])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pay, world, endpoint)
        await trio.sleep(1)
        issuer.set_rules([])
        await order(world, endpoint)
        assert await issuer.change_key(KeyPurpose.MAC) is ResponseCode.APPROVED
    belief = world.terminals["TERM0001"].beliefs[0]
    assert belief.state is BeliefState.APPROVED
    assert belief.sends == 1


async def test_fifty_payments_in_flight_notice_nothing(world: World) -> None:
    jitter = Reaction(delay=Fixed(delay_s=0.7))
    for issuer in world.issuers.values():
        issuer.set_rules([Rule(name="slow", then=jitter, when={})])
    async with trio.open_nursery() as nursery:
        for number in range(50):
            endpoint = list(CARDS)[number % 2]
            nursery.start_soon(pay, world, endpoint, f"TERM000{number % 4 // 2 + 1}")
            await trio.sleep(0.05)
            if number == 10:
                nursery.start_soon(order, world, "north")
                nursery.start_soon(world.issuers["south"].change_key, KeyPurpose.MAC)
            if number == 30:
                nursery.start_soon(order, world, "south")
    beliefs = [each for t in world.terminals.values() for each in t.beliefs]
    assert len(beliefs) == 50
    assert {each.state for each in beliefs} == {BeliefState.APPROVED}
    assert {each.sends for each in beliefs} == {1}
    assert await versions(world, "north/zak") == {1: "retired", 2: "active"}
    assert await versions(world, "south/zak") == {
        1: "retired",
        2: "retired",
        3: "active",
    }


async def test_keys_change_when_they_are_old(ageing: World) -> None:
    await trio.sleep(590)
    assert await versions(ageing, "north/zak") == {1: "active"}
    await trio.sleep(20)
    assert await versions(ageing, "north/zak") == {1: "retired", 2: "active"}
    assert await versions(ageing, "south/zpk") == {1: "retired", 2: "active"}
    await trio.sleep(600)
    assert await versions(ageing, "north/zak") == {2: "retired", 3: "active"}
    assert await pay(ageing, "north") is BeliefState.APPROVED


async def test_of_several_nodes_one_changes_old_keys(nursery: trio.Nursery) -> None:
    world = World(change=with_key_exchange(age_s=600), nodes=2)
    async with audited(nursery, world):
        await trio.sleep(650)
        for endpoint in CARDS:
            assert await events(world, f"{endpoint}/zak") == [
                KeyEvent.OFFERED,
                KeyEvent.CONFIRMED,
                KeyEvent.ACTIVATED,
            ]


async def test_the_age_of_a_key_outlives_a_restart(ageing: World) -> None:
    await trio.sleep(620)
    await trio.sleep(400)
    ageing.crash_switch()
    await ageing.start_switch()
    await trio.sleep(150)
    assert await versions(ageing, "north/zak") == {1: "retired", 2: "active"}
    await trio.sleep(100)
    assert 3 in await versions(ageing, "north/zak")


async def test_keys_change_after_many_uses(counting: World) -> None:
    for _ in range(4):
        await pay(counting, "north")
    await trio.sleep(5)
    assert await versions(counting, "north/zak") == {1: "active"}
    await pay(counting, "north")
    await trio.sleep(5)
    assert await versions(counting, "north/zak") == {1: "retired", 2: "active"}
    assert await versions(counting, "south/zak") == {1: "active"}


async def test_keys_change_after_wrong_macs(watching: World) -> None:
    rule = Rule(
        name="wrong MACs",
        then=Reaction(fault=Fault.WRONG_MAC),
        when={"kind": OneOf(values=(Kind.PURCHASE, Kind.REVERSAL))},
        times_max=2,
    )
    watching.issuers["north"].set_rules([rule])
    assert await pay(watching, "north") is BeliefState.DECLINED
    await trio.sleep(30)
    assert await versions(watching, "north/zak") == {1: "retired", 2: "active"}
    assert await pay(watching, "north") is BeliefState.APPROVED


class DyingHsm:
    """A crypto service that fails at one kind of command, before it or after.

    Or the switch dies at it.
    """

    def __init__(self, inner: Hsm) -> None:
        self._inner = inner
        self.deadly: type[AnyCommand] | None = None
        self.broken: type[AnyCommand] | None = None
        self.forgetful: type[AnyCommand] | None = None
        self.fault: IsoswitchError = HsmUnavailable("out of order")
        self.kill: Callable[[], None] = lambda: None

    async def run(self, *commands: AnyCommand) -> list[bytes]:
        if self.broken is not None and isinstance(commands[0], self.broken):
            raise self.fault
        if self.deadly is not None and isinstance(commands[0], self.deadly):
            self.deadly = None
            self.kill()
            await trio.sleep_forever()
        results = await self._inner.run(*commands)
        if self.forgetful is not None and isinstance(commands[0], self.forgetful):
            self.forgetful = None
            raise HsmUnavailable("the reply is lost")
        return results


@asynccontextmanager
async def beside_dying_hsm(
    nursery: trio.Nursery, **more: float
) -> AsyncIterator[tuple[World, DyingHsm]]:
    """Run a world over a crypto service that may die, and audit all sides."""
    dying: list[DyingHsm] = []

    def wrap(hsm: Hsm) -> Hsm:
        dying.append(DyingHsm(hsm))
        return dying[0]

    made = World(change=with_key_exchange(**more), wrap_hsm=wrap)
    async with audited(nursery, made) as world:
        yield world, dying[0]


async def test_while_the_crypto_service_is_away_no_key_changes(
    nursery: trio.Nursery,
) -> None:
    async with beside_dying_hsm(nursery, uses_max=1) as (world, dying):
        dying.broken = ImportKey
        code = await world.issuers["south"].change_key(KeyPurpose.MAC)
        assert code is ResponseCode.SYSTEM_MALFUNCTION
        dying.broken = OfferKey
        assert await pay(world, "north") is BeliefState.APPROVED
        outcome = await world.terminals["TERM0001"].sign_in()
        assert outcome is not None
        assert outcome.code is ResponseCode.SYSTEM_MALFUNCTION
        await trio.sleep(10)
        assert await versions(world, "north/zak") == {1: "active"}
        dying.broken = None
        await trio.sleep(60)
        assert 2 in await versions(world, "north/zak")


async def test_no_answer_of_the_crypto_service_ends_the_switch(
    nursery: trio.Nursery,
) -> None:
    async with beside_dying_hsm(nursery, uses_max=1) as (world, dying):
        dying.fault = VerificationFailed("what was asked does not verify")
        dying.broken = OfferKey
        assert await pay(world, "north") is BeliefState.APPROVED
        await trio.sleep(10)
        dying.broken = ActivateKey
        code = await world.issuers["south"].change_key(KeyPurpose.MAC)
        assert code is ResponseCode.APPROVED
        await trio.sleep(10)
        assert await pay(world, "north") is BeliefState.APPROVED
        dying.broken = None
        await trio.sleep(60)
        assert (await versions(world, "south/zak"))[2] == "active"
        assert 2 in await versions(world, "north/zak")


async def test_a_copy_of_a_declined_offer_is_declined_too(
    nursery: trio.Nursery,
) -> None:
    async with beside_dying_hsm(nursery) as (world, dying):
        dying.broken = ImportKey
        issuer = world.issuers["north"]
        code = await issuer.change_key(KeyPurpose.MAC)
        assert code is ResponseCode.SYSTEM_MALFUNCTION
        dying.broken = None
        for stream in world.streams:
            stream.replay()
        await trio.sleep(5)
        assert await versions(world, "north/zak") == {1: "active"}
        assert await pay(world, "north") is BeliefState.APPROVED


async def test_a_key_that_cannot_be_used_yet_is_used_later(
    nursery: trio.Nursery,
) -> None:
    async with beside_dying_hsm(nursery) as (world, dying):
        dying.broken = ActivateKey
        issuer = world.issuers["north"]
        assert await issuer.change_key(KeyPurpose.MAC) is ResponseCode.APPROVED
        assert await versions(world, "north/zak") == {1: "active", 2: "pending"}
        assert await pay(world, "north") is BeliefState.APPROVED
        dying.broken = None
        await trio.sleep(30)
        assert await versions(world, "north/zak") == {1: "retired", 2: "active"}


async def test_of_two_offers_that_cross_neither_is_lost(world: World) -> None:
    issuer = world.issuers["north"]
    slow = Reaction(delay=Fixed(delay_s=0.5))
    issuer.set_rules([Rule(name="slow", then=slow, when=KEY_CHANGE)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(order, world, "north")
        await trio.sleep(0.2)
        code = await issuer.change_key(KeyPurpose.MAC)
        assert code is ResponseCode.SYSTEM_MALFUNCTION
    assert await versions(world, "north/zak") == {1: "retired", 2: "active"}
    assert await issuer.change_key(KeyPurpose.MAC) is ResponseCode.APPROVED
    assert await pay(world, "north") is BeliefState.APPROVED


@pytest.mark.parametrize("purpose", KeyPurpose)
async def test_a_key_whose_answer_was_lost_keeps_no_later_one_out(
    nursery: trio.Nursery, purpose: KeyPurpose
) -> None:
    """The partner makes another key for each attempt."""
    async with beside_dying_hsm(nursery) as (world, dying):
        issuer = world.issuers["north"]
        dying.forgetful = AgreeKey
        with trio.move_on_after(5):
            await issuer.change_key(purpose)
        assert await versions(world, NAMES[purpose]) == {1: "active", 2: "pending"}
        assert await issuer.change_key(purpose) is ResponseCode.APPROVED
        states = await versions(world, NAMES[purpose])
        assert states == {1: "retired", 2: "retired", 3: "active"}
        assert await pay(world, "north") is BeliefState.APPROVED


async def test_a_change_that_the_disk_does_not_take_may_be_repeated(
    nursery: trio.Nursery,
) -> None:
    async with beside_dying_hsm(nursery) as (world, dying):
        dying.fault = HsmError("keys.json cannot be changed")
        dying.broken = ImportKey
        issuer = world.issuers["north"]
        code = await issuer.change_key(KeyPurpose.MAC)
        assert code is ResponseCode.SYSTEM_MALFUNCTION
        dying.broken = None
        assert await issuer.change_key(KeyPurpose.MAC) is ResponseCode.APPROVED
        assert await pay(world, "north") is BeliefState.APPROVED


async def test_offers_that_cross_at_two_nodes_may_be_repeated(
    nursery: trio.Nursery,
) -> None:
    world = World(change=with_key_exchange(), nodes=2)
    async with audited(nursery, world):
        issuer = world.issuers["north"]
        slow = Reaction(delay=Fixed(delay_s=0.5))
        issuer.set_rules([Rule(name="slow", then=slow, when=KEY_CHANGE)])
        async with trio.open_nursery() as both:
            both.start_soon(order, world, "north")
            await trio.sleep(0.2)
            code = await issuer.change_key(KeyPurpose.PIN)
            assert code is ResponseCode.SYSTEM_MALFUNCTION
        assert await issuer.change_key(KeyPurpose.PIN) is ResponseCode.APPROVED
        assert await pay(world, "north") is BeliefState.APPROVED


class PausingHsm:
    """A crypto service whose reply to one kind of command waits, once."""

    def __init__(self, inner: Hsm, after: type[AnyCommand]) -> None:
        self._inner = inner
        self._after: type[AnyCommand] | None = after
        self.reached = trio.Event()
        self.go_on = trio.Event()

    async def run(self, *commands: AnyCommand) -> list[bytes]:
        results = await self._inner.run(*commands)
        if self._after is not None and isinstance(commands[0], self._after):
            self._after = None
            self.reached.set()
            await self.go_on.wait()
        return results


@asynccontextmanager
async def beside_pausing_hsm(
    nursery: trio.Nursery, after: type[AnyCommand], *, nodes: int = 1
) -> AsyncIterator[tuple[World, PausingHsm]]:
    """Run a world over a crypto service that pauses, and audit all sides."""
    pausing: list[PausingHsm] = []

    def wrap(hsm: Hsm) -> Hsm:
        pausing.append(PausingHsm(hsm, after))
        return pausing[0]

    made = World(change=with_key_exchange(), wrap_hsm=wrap, nodes=nodes)
    async with audited(nursery, made) as world:
        yield world, pausing[0]


@asynccontextmanager
async def key_on_its_way(
    world: World, pausing: PausingHsm, purpose: KeyPurpose
) -> AsyncIterator[list[ResponseCode | None]]:
    """Have north send us a key; what is done meanwhile is done in the block."""
    codes: list[ResponseCode | None] = []

    async def take() -> None:
        codes.append(await world.issuers["north"].change_key(purpose))

    async with trio.open_nursery() as both:
        both.start_soon(take)
        await pausing.reached.wait()
        yield codes
        pausing.go_on.set()


@pytest.mark.parametrize("after", [ImportKey, AgreeKey, ActivateKey])
@pytest.mark.parametrize("purpose", KeyPurpose)
async def test_our_offer_waits_until_the_partners_key_is_in_use(
    nursery: trio.Nursery, purpose: KeyPurpose, after: type[AnyCommand]
) -> None:
    changes: list[Change] = []
    async with beside_pausing_hsm(nursery, after) as (world, pausing):

        async def offer() -> None:
            changes.extend(await order(world, "north"))

        async with (
            trio.open_nursery() as ours,
            key_on_its_way(world, pausing, purpose) as codes,
        ):
            ours.start_soon(offer)
            await trio.sleep(0.5)
            assert not changes
        assert codes == [ResponseCode.APPROVED]
        assert [change.result for change in changes] == [CHANGED] * 2
        states = await versions(world, NAMES[purpose])
        assert states == {1: "retired", 2: "retired", 3: "active"}
        assert await pay(world, "north") is BeliefState.APPROVED


@pytest.mark.parametrize("purpose", KeyPurpose)
async def test_a_key_that_another_node_replaced_meanwhile_is_declined(
    nursery: trio.Nursery, purpose: KeyPurpose
) -> None:
    async with beside_pausing_hsm(nursery, ImportKey, nodes=2) as (world, pausing):
        async with key_on_its_way(world, pausing, purpose) as codes:
            changes = await order(world, "north")
        assert codes == [ResponseCode.SYSTEM_MALFUNCTION]
        assert [change.result for change in changes] == [CHANGED] * 2
        name = NAMES[purpose]
        assert await versions(world, name) == {1: "retired", 3: "active"}
        assert (await events(world, name))[-2:] == ["accepted", "refused"]
        assert await pay(world, "north") is BeliefState.APPROVED


@pytest.mark.parametrize("purpose", KeyPurpose)
async def test_what_one_node_agreed_on_gives_way_to_no_offer_of_another(
    nursery: trio.Nursery, purpose: KeyPurpose
) -> None:
    async with beside_pausing_hsm(nursery, AgreeKey, nodes=2) as (world, pausing):
        async with key_on_its_way(world, pausing, purpose) as codes:
            with pytest.raises(KeyRefused, match="is pending"):
                await order(world, "north")
        assert codes == [ResponseCode.APPROVED]
        assert await pay(world, "north") is BeliefState.APPROVED
        await trio.sleep(30)
        states = await versions(world, NAMES[purpose])
        assert states == {1: "retired", 2: "retired", 3: "active"}
        assert await pay(world, "north") is BeliefState.APPROVED


async def test_what_a_dead_node_agreed_on_is_used_by_the_others(
    nursery: trio.Nursery,
) -> None:
    async with beside_pausing_hsm(nursery, AgreeKey, nodes=2) as (world, pausing):
        issuer = world.issuers["north"]
        nursery.start_soon(issuer.change_key, KeyPurpose.PIN)
        await pausing.reached.wait()
        world.nodes[1].die()
        with pytest.raises(KeyRefused, match="is pending"):
            await order(world, "north")
        await trio.sleep(30)
        assert (await events(world, "north/zpk"))[:2] == ["accepted", "activated"]
        states = await versions(world, "north/zpk")
        assert states == {1: "retired", 2: "retired", 3: "active"}
        assert await pay(world, "north") is BeliefState.APPROVED


@pytest.mark.parametrize("mti", ["0800", "0840"])
async def test_a_key_change_without_a_key_is_a_format_error(
    world: World, mti: str
) -> None:
    assert world.switch is not None
    message = world.switch.links["north"].dialect.network_request(
        Kind.KEY_CHANGE, stan="000077", transmitted_at=world.now()
    )
    # A notification is taken the same way, only that nobody hears what became of it.
    world.issuers["north"].wires[0].send_nowait(message.replace({}, mti=mti).raw)
    await trio.sleep(1)
    assert world.store is not None
    reasons = [
        each.record.body["reason"]
        for each in await world.store.records()
        if each.record.body.get("event") == "key refused"
    ]
    assert reasons == ["field 53, offset 0: missing"]
    assert await pay(world, "north") is BeliefState.APPROVED


async def test_keys_change_after_one_that_could_not_be_written_down(
    world: World,
) -> None:
    """The partner hears nothing of it, and need not send it again."""
    assert world.store is not None
    world.store.is_full = True
    with trio.move_on_after(5):
        await world.issuers["north"].change_key(KeyPurpose.MAC)
    world.store.is_full = False
    await trio.sleep(1)
    assert await versions(world, "north/zak") == {1: "active", 2: "pending"}
    assert [change.result for change in await order(world, "north")] == [CHANGED] * 2
    assert await versions(world, "north/zak") == {1: "retired", 3: "active"}
    assert await pay(world, "north") is BeliefState.APPROVED


async def test_a_key_that_was_removed_meanwhile_is_given_up(world: World) -> None:
    """An operator may remove what both sides agreed on; nothing else stops."""
    store = KeyStore(
        world.keys_file, world.vault, operators=("ann",), environment=Environment.TEST
    )
    assert world.store is not None
    assert world.switch is not None
    assert world.switch.services is not None
    await note_key(world.switch.services, "north/zak", KeyEvent.ACCEPTED, version=7)
    world.crash_switch()
    await world.start_switch()
    await trio.sleep(5)
    assert (await events(world, "north/zak"))[-1] == KeyEvent.REFUSED
    assert store.list_keys()
    assert await pay(world, "north") is BeliefState.APPROVED


async def test_a_terminal_whose_key_is_gone_is_told_so(world: World) -> None:
    store = KeyStore(
        world.keys_file, world.vault, operators=("ann",), environment=Environment.TEST
    )
    store.retire("TERM0001/tmk", 1)
    outcome = await world.terminals["TERM0001"].sign_in()
    assert outcome is not None
    assert outcome.code is ResponseCode.SECURITY_VIOLATION
    assert await pay(world, "north") is BeliefState.APPROVED


async def test_a_switch_that_dies_before_it_uses_a_key_does_so_afterwards(
    nursery: trio.Nursery,
) -> None:
    async with beside_dying_hsm(nursery) as (world, dying):
        dying.kill = world.crash_switch
        dying.deadly = ActivateKey
        with trio.move_on_after(5):
            await order(world, "north")
        await world.start_switch()
        dying.deadly = ActivateKey
        await world.issuers["north"].change_key(KeyPurpose.MAC)
        await world.start_switch()
        await trio.sleep(30)
        for name in ("zpk", "zak"):
            states = await versions(world, f"north/{name}")
            assert states == {1: "retired", 2: "active"}
        assert await events(world, "north/zpk") == ["offered", "confirmed", "activated"]
        assert await events(world, "north/zak") == ["accepted", "activated"]
        assert await pay(world, "north") is BeliefState.APPROVED


async def test_a_switch_that_dies_while_it_offers_a_key_offers_it_again(
    world: World,
) -> None:
    slow = Reaction(delay=Fixed(delay_s=0.5))
    rule = Rule(name="takes its time", then=slow, when=KEY_CHANGE, times_max=1)
    world.issuers["north"].set_rules([rule])
    with trio.move_on_after(0.2):
        await order(world, "north")
    world.crash_switch()
    await world.start_switch()
    await trio.sleep(30)
    assert await versions(world, "north/zpk") == {1: "retired", 2: "active"}
    assert await pay(world, "north") is BeliefState.APPROVED


async def test_a_key_change_without_a_profile_is_declined(
    nursery: trio.Nursery,
) -> None:
    async with audited(nursery, World()) as world:
        code = await world.issuers["north"].change_key(KeyPurpose.MAC)
        assert code is ResponseCode.INVALID_TRANSACTION
        assert await pay(world, "north") is BeliefState.APPROVED


async def test_the_form_that_the_profile_forbids_is_declined(
    nursery: trio.Nursery,
) -> None:
    def only_blocks(settings: SwitchSettings) -> SwitchSettings:
        settings = with_key_exchange()(settings)
        north = settings.endpoints["north"]
        assert north.key_exchange is not None
        strict = replace(north.key_exchange, is_legacy=False)
        return replace(
            settings,
            endpoints={
                **settings.endpoints,
                "north": replace(north, key_exchange=strict),
            },
        )

    async with audited(nursery, World(change=only_blocks)) as world:
        code = await world.issuers["north"].change_key(KeyPurpose.MAC)
        assert code is ResponseCode.SECURITY_VIOLATION
        assert await versions(world, "north/zak") == {1: "active"}


async def test_no_pin_goes_out_without_a_key(world: World) -> None:
    """Case KEY 05: a PIN before the key is declined, and nothing is sent."""
    store = KeyStore(
        world.keys_file, world.vault, operators=("ann",), environment=Environment.TEST
    )
    store.retire("north/zpk", 1)
    card = get_card("visa-ok")
    belief = await world.terminals["TERM0001"].purchase(card, 1250, pin=card.pin)
    assert belief.outcome is not None
    assert belief.outcome.code is ResponseCode.CRYPTOGRAPHIC_ERROR
    assert not world.issuers["north"].bookings.entries
    await world.issuers["north"].change_key(KeyPurpose.PIN)
    assert await pay(world, "north") is BeliefState.APPROVED


@pytest.mark.parametrize("name", ["TERM0001", "TERM0002"])
async def test_a_terminal_signs_in_and_uses_its_new_keys(
    world: World, name: str
) -> None:
    terminal = world.terminals[name]
    outcome = await terminal.sign_in()
    assert outcome is not None
    assert outcome.is_approved
    assert await versions(world, f"{name}/tak") == {1: "active", 2: "pending"}
    assert await pay(world, "north", name) is BeliefState.APPROVED
    for key in ("tpk", "tak"):
        states = await versions(world, f"{name}/{key}")
        assert states == {1: "retired", 2: "active"}
    await trio.sleep(OVERLAP_S + 1)
    assert await pay(world, "south", name) is BeliefState.APPROVED


async def test_where_a_terminal_cannot_ask_its_profile_says_the_length(
    nursery: trio.Nursery,
) -> None:
    async with audited(nursery, World(change=with_single_length)) as world:
        terminal = world.terminals["TERM0002"]
        outcome = await terminal.sign_in()
        assert outcome is not None
        assert outcome.is_approved
        assert await pay(world, "north", "TERM0002") is BeliefState.APPROVED
        states = await versions(world, "TERM0002/tpk")
        assert states == {1: "retired", 2: "active"}


async def test_a_terminal_that_missed_the_answer_goes_on_with_its_old_keys(
    world: World,
) -> None:
    terminal = world.terminals["TERM0001"]
    await terminal.network(Kind.SIGN_ON)
    await terminal.network(Kind.SIGN_ON)
    assert await pay(world, "north") is BeliefState.APPROVED
    assert await versions(world, "TERM0001/tak") == {1: "active", 2: "pending"}
    await terminal.sign_in()
    assert await pay(world, "north") is BeliefState.APPROVED
    assert await versions(world, "TERM0001/tak") == {1: "retired", 2: "active"}


def with_single_length(settings: SwitchSettings) -> SwitchSettings:
    """Let the second terminal have keys of single DES, and no others."""
    settings = with_key_exchange()(settings)
    single = replace(settings.terminals["TERM0002"], has_single_length=True)
    return replace(settings, terminals={**settings.terminals, "TERM0002": single})


async def connect_unionpay(
    world: World, nursery: trio.Nursery, *, first_stan: int
) -> Terminal:
    """Start a terminal that names itself TERM0002 and speaks UnionPay's dialect."""

    async def connect() -> trio.abc.Stream:
        return await world.connect("cup")

    profile = TerminalProfile(
        terminal_id="TERM0002",
        merchant_id=MERCHANT.id,
        dialect="cup-pos",
        framing="bin2",
        header="tpdu",
        tpk="TERM0002/tpk",
        tak="TERM0002/tak",
        tmk="TERM0002/tmk",
    )
    terminal = Terminal(
        profile,
        keyring=world.keyring,
        connect=connect,
        clock=world,
        first_stan=first_stan,
    )
    await nursery.start(terminal.run)
    return terminal


async def sign_in_for(terminal: Terminal, code: str) -> Outcome:
    """Sign in and ask for the keys that DE 60.3 says."""
    request = terminal.build_network(Kind.SIGN_ON)
    asked = request.message.replace({60: f"00000007{code}"})
    outcome = await terminal.sign_in(replace(request, message=asked))
    assert outcome is not None
    return outcome


SINGLE, DOUBLE = "001", "003"
UNIONPAY = pytest.mark.parametrize(
    ("change", "code", "other"),
    [
        (with_single_length, SINGLE, DOUBLE),
        (with_key_exchange(), DOUBLE, SINGLE),
    ],
    ids=["single length", "double length"],
)


@UNIONPAY
async def test_a_unionpay_terminal_gets_its_keys_in_de_62(
    nursery: trio.Nursery,
    change: Callable[[SwitchSettings], SwitchSettings],
    code: str,
    other: str,
) -> None:
    """DE 60.3 asks for the keys of the terminal's profile: 24 or 40 bytes."""
    async with audited(nursery, World(change=change)) as world:
        terminal = await connect_unionpay(world, nursery, first_stan=700)
        for wrong in ("004", other):
            declined = await sign_in_for(terminal, wrong)
            assert declined.code is ResponseCode.INVALID_TRANSACTION
        assert await versions(world, "TERM0002/tpk") == {1: "active"}
        assert (await sign_in_for(terminal, code)).is_approved
        assert await versions(world, "TERM0002/tpk") == {1: "active", 2: "pending"}
        card = get_card("visa-ok")
        belief = await terminal.purchase(card, 1250, pin=card.pin)
        assert belief.state is BeliefState.APPROVED
        for key in ("tpk", "tak"):
            states = await versions(world, f"TERM0002/{key}")
            assert states == {1: "retired", 2: "active"}


@UNIONPAY
async def test_a_stranger_does_not_choose_the_length_of_a_terminals_keys(
    nursery: trio.Nursery,
    change: Callable[[SwitchSettings], SwitchSettings],
    code: str,
    other: str,
) -> None:
    """Anybody may name a terminal in a sign-in over plain TCP."""
    async with audited(nursery, World(change=change)) as world:
        terminal = await connect_unionpay(world, nursery, first_stan=700)
        stranger = await connect_unionpay(world, nursery, first_stan=500)
        assert not (await sign_in_for(stranger, other)).is_approved
        assert (await sign_in_for(terminal, code)).is_approved
        assert not (await sign_in_for(stranger, other)).is_approved
        card = get_card("visa-ok")
        belief = await terminal.purchase(card, 1250, pin=card.pin)
        assert belief.state is BeliefState.APPROVED
        states = await versions(world, "TERM0002/tpk")
        assert states == {1: "retired", 2: "active"}


async def test_the_journal_names_who_ordered_a_change(world: World) -> None:
    await order(world, "north")
    assert world.store is not None
    orders = [
        each.record.body
        for each in await world.store.records()
        if each.record.kind is RecordKind.OPERATOR
    ]
    assert orders == [
        {"order": "exchange keys", "endpoint": "north", "operator": "ann"}
    ]
