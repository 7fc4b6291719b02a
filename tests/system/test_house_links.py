"""Documents between the switch and a clearing house are signed, both ways."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
import trio.testing

from isoswitch.clearing.transfer import TransferState
from isoswitch.codecs.canonical.errors import SignatureRefused
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso20022.signature import Signature, split_payload
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions.signature import public_of, random_private
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.clearing_house import ClearingHouse
from isoswitch.simulators.rules import Between, Condition, Equals, Fault, Reaction, Rule
from isoswitch.simulators.signer import Signer
from isoswitch.simulators.world import HOUSE, MERCHANT_ACCOUNT, World, house_settings
from isoswitch.switch.interbank.house import House
from isoswitch.switch.settings import Address, SwitchSettings
from tests.system.test_transfers import find, house_of, pay, with_house


def signer_of(house: ClearingHouse) -> Signer:
    assert house.signer is not None
    return house.signer


@pytest.fixture
async def world(nursery: trio.Nursery) -> World:
    """A network with a clearing house."""
    network = World(change=with_house())
    await nursery.start(network.run)
    await trio.sleep(1)
    return network


async def refusals(world: World) -> list[str]:
    assert world.store is not None
    records = await world.store.records()
    return [
        str(each.record.body["reason"])
        for each in records
        if each.record.kind is RecordKind.EXCEPTION
        and each.record.body["endpoint"] == HOUSE
    ]


async def test_what_is_signed_both_ways_is_believed(world: World) -> None:
    assert await pay(world)
    assert house_of(world).counts["unsigned"] == 0
    assert await refusals(world) == []


async def test_an_answer_that_is_not_signed_is_not_believed(world: World) -> None:
    house = house_of(world)
    assert await pay(world)
    (answer,) = [each for each in house.documents if b"TxInfAndSts" in each]
    (wire,) = house.wires
    wire.send_nowait(answer)
    await trio.sleep(0.1)
    assert await refusals(world) == ["a document was refused: not signed"]


@pytest.mark.parametrize("change", ["name", "private"])
async def test_an_answer_with_a_wrong_signature_is_not_believed(
    world: World, change: str
) -> None:
    house = house_of(world)
    right = signer_of(house)
    stranger = random_private(Algorithm.EC, 32)
    wrong = {"name": "house-2", "private": stranger}[change]
    house.signer = replace(right, **{change: wrong})
    assert not await pay(world)
    assert (await find(world)).state is TransferState.IN_DOUBT
    (reason,) = set(await refusals(world))
    assert "signed under" in reason or "signature is not" in reason
    house.signer = right
    await trio.sleep(20)
    assert (await find(world)).state is TransferState.RETURNED


async def test_a_house_takes_no_payment_that_a_stranger_signed(
    nursery: trio.Nursery,
) -> None:
    world = World(change=with_house())
    house = house_of(world)
    stranger = public_of(random_private(Algorithm.EC, 32))
    house.signer = replace(signer_of(house), their_public=stranger)
    await nursery.start(world.run)
    await trio.sleep(1)
    assert not await pay(world)
    assert house.counts["unsigned"] > 0
    assert house.payments == {}


async def test_a_signature_is_of_the_exact_bytes() -> None:
    signer = signer_of(World().houses[HOUSE])
    public = public_of(signer.private)
    itself = replace(signer, their_name=signer.name, their_public=public)
    payload = itself.seal(b"<a/>")
    assert split_payload(payload)[0] == b"<a/>"
    with pytest.raises(SignatureRefused):
        itself.open(payload.replace(b"<a/>", b"<a />"))


async def test_a_fault_of_ours_ends_its_connection_and_no_more(
    nursery: trio.Nursery, world: World
) -> None:
    ends: list[trio.abc.Stream] = []

    async def connect(_: Address) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        ends.append(theirs)
        return ours

    async def receive(_: House, __: bytes, ___: Signature | None) -> None:
        raise ZeroDivisionError

    settings = house_settings()
    house = House(settings, connect=connect, random=world.random, hsm=world.hsm)
    nursery.start_soon(house.run, receive)
    await trio.sleep(1)
    await ends[0].send_all(get_framing(settings.framing).encode(b"<a/>"))
    await trio.sleep(5)
    assert house.is_up
    assert house.connected_count == 2


async def test_a_flood_of_unsigned_documents_ends_the_connection(world: World) -> None:
    house = house_of(world)
    (wire,) = house.wires
    for _ in range(600):
        wire.send_nowait(b"<a/>")
    await trio.sleep(0.5)
    assert not wire.is_open or wire not in house.wires
    # The first of them are written down, the rest are only counted.
    assert len(await refusals(world)) == 10
    await trio.sleep(5)
    assert await pay(world)


async def test_a_payment_that_cannot_be_signed_is_not_sent(
    nursery: trio.Nursery,
) -> None:
    def other_key(settings: SwitchSettings) -> SwitchSettings:
        house = with_house()(settings).houses[HOUSE]
        assert house.signing is not None
        signing = replace(house.signing, key="house/nobody")
        return replace(settings, houses={HOUSE: replace(house, signing=signing)})

    world = World(change=other_key)
    await nursery.start(world.run)
    await trio.sleep(1)
    assert not await pay(world)
    assert (await find(world)).state is TransferState.REJECTED
    assert house_of(world).payments == {}


@pytest.mark.parametrize(
    ("when", "mute"),
    [
        ({"account": Equals(value=MERCHANT_ACCOUNT)}, True),
        ({"account": Equals(value="DE00")}, False),
        ({"amount_minor": Between(low=1000, high=2000)}, True),
        ({"amount_minor": Between(low=2000, high=3000)}, False),
    ],
)
async def test_a_house_misbehaves_by_account_or_amount(
    world: World, when: dict[str, Condition], mute: bool
) -> None:
    rule = Rule(name="mute", when=when, then=Reaction(fault=Fault.SILENCE))
    house_of(world).set_rules([rule])
    assert await pay(world) is not mute


async def test_windows_end_by_themselves(world: World, nursery: trio.Nursery) -> None:
    house = house_of(world)
    house.window_s = 60.0
    nursery.start_soon(house.close_windows_forever)
    await trio.sleep(200)
    assert len(house.closed) == 3
    assert house.counts["EventAcknowledgement"] == 3
