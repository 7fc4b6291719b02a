"""What a card must prove where its issuer is away: chip, counter, negative file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from random import Random

import pytest
import trio

from isoswitch.codecs.canonical.codes import EntryMode, ResponseCode
from isoswitch.codecs.canonical.errors import HsmUnavailable
from isoswitch.codecs.canonical.secrets import Secret
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.emv.tlv import decode_tlv
from isoswitch.hsm.port import AnyCommand, HashData, Hsm, VerifyCryptogram
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.devices import PROFILES, Device
from isoswitch.simulators.requests import Request
from isoswitch.simulators.swarm import settle
from isoswitch.simulators.world import World
from isoswitch.store.rows import CardCounter
from isoswitch.switch.settings import StandInSettings
from tests.system.test_standin import CARD, NORMAL, PROFILE, SILENT, owed, standing_in

CHIP = replace(PROFILE, with_chip=False, cryptogram_key="north/imk", card_count_max=9)


class Failing:
    """A crypto service that cannot verify cryptograms when it is told so."""

    def __init__(self, hsm: Hsm) -> None:
        self.hsm = hsm
        self.is_away = False

    async def run(self, *commands: AnyCommand) -> list[bytes]:
        """Run commands, unless one is a cryptogram and the service is away."""
        if self.is_away and any(isinstance(c, VerifyCryptogram) for c in commands):
            msg = "away"
            raise HsmUnavailable(msg)
        return await self.hsm.run(*commands)


@pytest.fixture
def profile() -> StandInSettings:
    """The profile of the world below; tests give another by parameter."""
    return CHIP


@pytest.fixture
async def away(nursery: trio.Nursery, profile: StandInSettings) -> AsyncIterator[World]:
    """A network whose switch stands in for north, which is away."""
    network = World(change=standing_in(profile), wrap_hsm=Failing)
    await nursery.start(network.run)
    network.issuers["north"].set_rules(NORMAL)
    network.cut_link("north")
    await trio.sleep(1)
    yield network
    network.heal_link("north")
    verdict = await settle(network)
    assert verdict.is_settled, verdict.describe()


@pytest.fixture
def chip(away: World) -> Device:
    """The card's chip, with the key of its issuer."""
    return device_of(away)


def device_of(world: World) -> Device:
    master = world.keyring.clear_values()["north/imk"]
    return Device(profile=PROFILES["visa-card"], pan=CARD.pan, master=master)


def tap(world: World, device: Device, minor: int = 1250) -> Request:
    terminal = world.terminals["TERM0001"]
    return terminal.build_tap(device, minor, random=Random(1))


async def send(world: World, request: Request) -> Outcome:
    belief = await world.terminals["TERM0001"].pay(request)
    assert belief.outcome is not None
    return belief.outcome


def again(world: World, request: Request, **changes: object) -> Request:
    """Build another request with the same chip data."""
    terminal = world.terminals["TERM0001"]
    fresh = terminal.draw_stan()
    return terminal.build_from(replace(request.transaction, stan=fresh, **changes))


def altered(request: Request, tag: str, value: str) -> Secret[bytes]:
    assert request.transaction.emv is not None
    data = decode_tlv(request.transaction.emv.reveal())
    return Secret(data.replace({tag: bytes.fromhex(value) if value else None}).encode())


async def test_a_chip_that_proves_itself_is_approved_and_answered(
    away: World, chip: Device
) -> None:
    outcome = await send(away, tap(away, chip))
    assert outcome.is_approved
    assert outcome.emv is not None
    answer = decode_tlv(outcome.emv.reveal()).find("91")
    assert answer is not None
    assert answer[4:].hex() == "00840000"
    assert await owed(away) == [(1, 1250)]


async def test_contact_chips_prove_themselves_too(away: World, chip: Device) -> None:
    request = again(away, tap(away, chip), entry_mode=EntryMode.CHIP)
    assert (await send(away, request)).is_approved


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("9F26", "0011223344556677"),
        ("9F36", "0009"),
        ("9F37", "00000000"),
        ("95", "8000000000"),
        ("9F10", "06011203A00001"),
        ("9F10", ""),
        ("9F26", ""),
        ("9F26", "00"),
        ("9F27", "00"),
        ("9F27", "40"),
    ],
)
async def test_a_wrong_cryptogram_is_declined(
    away: World, chip: Device, tag: str, value: str
) -> None:
    request = tap(away, chip)
    changed = again(away, request, emv=altered(request, tag, value))
    outcome = await send(away, changed)
    assert outcome.code is ResponseCode.CRYPTOGRAPHIC_ERROR
    assert await owed(away) == []


async def test_a_cryptogram_is_over_the_amount_that_is_asked_for(
    away: World, chip: Device
) -> None:
    request = tap(away, chip, 100)
    more = tap(away, chip, 4_000).transaction.amount
    outcome = await send(away, again(away, request, amount=more))
    assert outcome.code is ResponseCode.CRYPTOGRAPHIC_ERROR


async def test_another_cards_key_makes_no_cryptogram(away: World, chip: Device) -> None:
    forged = replace(chip, master=bytes(range(16)))
    outcome = await send(away, tap(away, forged))
    assert outcome.code is ResponseCode.CRYPTOGRAPHIC_ERROR


async def test_a_chip_that_says_nothing_is_declined(away: World) -> None:
    terminal = away.terminals["TERM0001"]
    belief = await terminal.purchase(CARD, 1250)
    assert belief.outcome is not None
    assert belief.outcome.code is ResponseCode.CRYPTOGRAPHIC_ERROR


async def test_a_cryptogram_is_good_once(away: World, chip: Device) -> None:
    request = tap(away, chip)
    assert (await send(away, request)).is_approved
    replayed = await send(away, again(away, request))
    assert replayed.code is ResponseCode.SECURITY_VIOLATION
    assert (await send(away, tap(away, chip))).is_approved
    assert await owed(away) == [(2, 2_500)]


async def test_an_older_counter_is_declined(away: World, chip: Device) -> None:
    older = tap(away, chip)
    assert (await send(away, tap(away, chip))).is_approved
    outcome = await send(away, older)
    assert outcome.code is ResponseCode.SECURITY_VIOLATION


async def test_of_two_at_once_with_one_cryptogram_one_is_approved(
    away: World, chip: Device
) -> None:
    request = tap(away, chip)
    outcomes: list[Outcome] = []

    async def pay(each: Request) -> None:
        outcomes.append(await send(away, each))

    async with trio.open_nursery() as nursery:
        for each in (request, again(away, request), again(away, request)):
            nursery.start_soon(pay, each)
    assert sorted(each.is_approved for each in outcomes) == [False, False, True]
    assert {each.code for each in outcomes if not each.is_approved} == {
        ResponseCode.SECURITY_VIOLATION
    }


async def test_a_repeat_of_what_was_approved_gets_its_answer(
    away: World, chip: Device
) -> None:
    request = tap(away, chip)
    first = await send(away, request)
    terminal = away.terminals["TERM0001"]
    repeated = await terminal.exchange(terminal.as_repeat(request))
    assert repeated is not None
    assert repeated.outcome.emv == first.emv
    assert repeated.outcome.approval_code == first.approval_code


async def test_a_counter_outlives_the_process(away: World, chip: Device) -> None:
    request = tap(away, chip)
    assert (await send(away, request)).is_approved
    away.crash_switch()
    await trio.sleep(1)
    await away.start_switch()
    await trio.sleep(1)
    replayed = await send(away, again(away, request))
    assert replayed.code is ResponseCode.SECURITY_VIOLATION


async def test_counters_know_no_card_number(away: World, chip: Device) -> None:
    await send(away, tap(away, chip))
    (row,) = (row for row in away.disk.rows.values() if isinstance(row, CardCounter))
    assert CARD.pan.reveal() not in repr(row)
    assert len(row.id) == 64


async def test_without_the_crypto_service_nobody_is_approved(
    away: World, chip: Device
) -> None:
    assert isinstance(away.hsm, Failing)
    away.hsm.is_away = True
    outcome = await send(away, tap(away, chip))
    assert outcome.code is ResponseCode.ISSUER_UNAVAILABLE
    away.hsm.is_away = False
    assert (await send(away, tap(away, chip))).is_approved


@pytest.mark.parametrize("profile", [replace(CHIP, cryptogram_key="north/no")])
async def test_without_the_key_nobody_is_approved(away: World, chip: Device) -> None:
    outcome = await send(away, tap(away, chip))
    assert outcome.code is ResponseCode.ISSUER_UNAVAILABLE


async def hash_of(world: World, text: str) -> str:
    assert world.switch is not None
    assert world.switch.services is not None
    key = world.switch.services.settings.pan_hash_key
    (value,) = await world.hsm.run(HashData(key=key, data=text.encode()))
    return value.hex()


def blocking(*hashes: str) -> Callable[[StandInSettings], StandInSettings]:
    codes = dict.fromkeys(hashes, ResponseCode.LOST_CARD)
    return lambda profile: replace(profile, negative=codes)


async def block(world: World, text: str) -> None:
    """Put a card or account on the negative file of the running switch."""
    assert world.switch is not None
    assert world.switch.services is not None
    profiles = world.switch.services.settings.stand_in
    change = blocking(await hash_of(world, text))
    assert isinstance(profiles, dict)
    profiles["small"] = change(profiles["small"])


async def test_a_card_on_the_negative_file_gets_nothing(
    away: World, chip: Device
) -> None:
    await block(away, CARD.pan.reveal())
    outcome = await send(away, tap(away, chip))
    assert outcome.code is ResponseCode.LOST_CARD
    assert await owed(away) == []
    other = replace(chip, pan=get_card("visa-silent").pan)
    assert (await send(away, tap(away, other))).is_approved


async def test_an_account_on_the_negative_file_gets_nothing_with_any_device(
    away: World, chip: Device
) -> None:
    par = "V0010013021298765432109876543"
    await block(away, par)
    phone = replace(chip, profile=PROFILES["apple-pay-like"], par=par)
    assert (await send(away, tap(away, phone))).code is ResponseCode.LOST_CARD


async def test_after_silence_a_wrong_cryptogram_is_declined_and_reversed(
    nursery: trio.Nursery,
) -> None:
    network = World(change=standing_in(CHIP))
    await nursery.start(network.run)
    network.issuers["north"].set_rules([SILENT])
    forged = replace(device_of(network), master=bytes(range(16)))
    outcome = await send(network, tap(network, forged))
    assert outcome.code is ResponseCode.CRYPTOGRAPHIC_ERROR
    network.issuers["north"].set_rules(NORMAL)
    verdict = await settle(network)
    assert verdict.is_settled, verdict.describe()
    assert network.disk.transactions["1-1"].reversed
