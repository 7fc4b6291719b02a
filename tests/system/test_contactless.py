"""Taps with cards and devices: limits without a PIN, tokens, whose account it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random

import pytest

from isoswitch.codecs.canonical.codes import EntryMode, ResponseCode
from isoswitch.codecs.canonical.secrets import Secret
from isoswitch.simulators.beliefs import Belief
from isoswitch.simulators.bookings import BookingKind
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.devices import PROFILES, Device
from isoswitch.simulators.token_service import TokenService
from isoswitch.simulators.world import World
from isoswitch.switch.contactless import read_device

MASTER = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
CARD = get_card("visa-ok")
TERMINALS = ["TERM0001", "TERM0002"]
TOO_MUCH = ResponseCode.EXCEEDS_COUNT_LIMIT

Tap = Callable[..., Awaitable[Belief]]


@pytest.fixture
def tokens(world: World) -> TokenService:
    """The token service before the issuer."""
    service = TokenService(MASTER, random=world.random)
    world.issuers["north"].tokens = service
    return service


@pytest.fixture
def phone(tokens: TokenService) -> Device:
    """A telephone with the card in it."""
    return tokens.enroll(CARD, PROFILES["apple-pay-like"])


@pytest.fixture
def plastic() -> Device:
    """The card itself."""
    return Device(profile=PROFILES["visa-card"], pan=CARD.pan, master=MASTER)


@pytest.fixture
def tap(world: World) -> Tap:
    """Tap at a terminal and give what it believes in the end."""
    random = Random(1)

    async def pay(
        device: Device, minor: int, *, at: str = "TERM0001", **how: object
    ) -> Belief:
        terminal = world.terminals[at]
        request = terminal.build_tap(device, minor, random=random, **how)
        return await terminal.pay(request)

    return pay


def code(belief: Belief) -> ResponseCode:
    assert belief.outcome is not None
    return belief.outcome.code


@pytest.mark.parametrize("at", TERMINALS)
@pytest.mark.parametrize("profile", PROFILES)
async def test_each_kind_of_device_pays_by_a_tap(
    tokens: TokenService, tap: Tap, profile: str, at: str
) -> None:
    device = tokens.enroll(CARD, PROFILES[profile])
    belief = await tap(device, 1250, at=at, holder_verified=True)
    assert code(belief) is ResponseCode.APPROVED


async def test_the_host_knows_the_device_and_never_the_card(
    world: World, phone: Device, tap: Tap
) -> None:
    await tap(phone, 1250)
    (row,) = world.disk.transactions.values()
    assert row.pan_masked == phone.pan.masked
    (booking,) = world.issuers["north"].bookings.entries
    assert (booking.kind, booking.card) == (BookingKind.APPROVED, CARD.name)


async def test_a_tap_needs_no_pin_up_to_the_limit_and_one_above(
    plastic: Device, tap: Tap
) -> None:
    assert code(await tap(plastic, 5000)) is ResponseCode.APPROVED
    assert code(await tap(plastic, 5001)) is TOO_MUCH


async def test_a_device_that_verified_its_holder_has_no_limit(
    phone: Device, tap: Tap
) -> None:
    for _ in range(8):
        belief = await tap(phone, 50_000, holder_verified=True)
        assert code(belief) is ResponseCode.APPROVED


async def test_after_so_many_taps_the_pin_is_wanted_and_starts_anew(
    world: World, plastic: Device, tap: Tap
) -> None:
    for _ in range(5):
        assert code(await tap(plastic, 100)) is ResponseCode.APPROVED
    assert code(await tap(plastic, 100)) is TOO_MUCH
    await world.terminals["TERM0002"].purchase(CARD, 100, pin=CARD.pin)
    assert code(await tap(plastic, 100)) is ResponseCode.APPROVED


async def test_after_such_a_sum_the_pin_is_wanted(plastic: Device, tap: Tap) -> None:
    for _ in range(3):
        assert code(await tap(plastic, 5000)) is ResponseCode.APPROVED
    assert code(await tap(plastic, 1)) is TOO_MUCH


async def test_a_reversed_tap_does_not_count(
    world: World, plastic: Device, tap: Tap
) -> None:
    beliefs = [await tap(plastic, 5000) for _ in range(3)]
    await world.terminals["TERM0001"].reverse(beliefs[0])
    assert code(await tap(plastic, 5000)) is ResponseCode.APPROVED


async def test_all_devices_of_an_account_count_together(
    tokens: TokenService, phone: Device, tap: Tap
) -> None:
    watch = tokens.enroll(CARD, PROFILES["apple-pay-like"])
    assert (watch.par, watch.pan == phone.pan) == (phone.par, False)
    for device in (phone, watch, phone, watch, phone):
        assert code(await tap(device, 100)) is ResponseCode.APPROVED
    assert code(await tap(watch, 100)) is TOO_MUCH


async def test_a_lost_device_pays_no_more_and_the_card_does(
    tokens: TokenService, phone: Device, plastic: Device, tap: Tap
) -> None:
    tokens.suspend(phone)
    assert code(await tap(phone, 100)) is ResponseCode.RESTRICTED_CARD
    assert code(await tap(plastic, 100)) is ResponseCode.APPROVED


async def test_a_token_pays_in_its_domain_only(tokens: TokenService, tap: Tap) -> None:
    device = tokens.enroll(
        CARD, PROFILES["apple-pay-like"], domain=frozenset({EntryMode.ECOMMERCE})
    )
    assert code(await tap(device, 100)) is ResponseCode.CARD_NOT_PERMITTED
    assert tokens.counts["outside its domain"] == 1


async def test_a_cryptogram_of_another_amount_is_refused(
    world: World, tokens: TokenService, phone: Device
) -> None:
    terminal = world.terminals["TERM0001"]
    cheap = terminal.build_tap(phone, 100, random=Random(1))
    dear = terminal.build_tap(phone, 4000, random=Random(1))
    assert cheap.transaction.emv is not None
    spoilt = terminal.build_from(replace(dear.transaction, emv=cheap.transaction.emv))
    assert code(await terminal.pay(spoilt)) is ResponseCode.SECURITY_VIOLATION
    assert tokens.counts["wrong cryptogram"] == 1


async def test_a_cryptogram_pays_once(
    world: World, tokens: TokenService, phone: Device
) -> None:
    terminal = world.terminals["TERM0001"]
    first = terminal.build_tap(phone, 100, random=Random(1))
    assert code(await terminal.pay(first)) is ResponseCode.APPROVED
    again = terminal.build_tap(phone, 100, random=Random(1))
    replayed = terminal.build_from(
        replace(again.transaction, emv=first.transaction.emv)
    )
    assert code(await terminal.pay(replayed)) is ResponseCode.SECURITY_VIOLATION
    assert tokens.counts["an old cryptogram"] == 1


@pytest.mark.parametrize("chip", ["", "9F26", "9F2608AA", "FFFFFFFF"])
async def test_chip_data_that_make_no_sense_are_declined(
    world: World, phone: Device, chip: str
) -> None:
    terminal = world.terminals["TERM0001"]
    request = terminal.build_tap(phone, 100, random=Random(1))
    emv = Secret(bytes.fromhex(chip)) if chip else None
    spoilt = terminal.build_from(replace(request.transaction, emv=emv))
    belief = await terminal.pay(spoilt)
    assert not code(belief).is_approval


async def test_a_broken_tap_without_a_good_mac_cannot_contradict_an_approval(
    world: World, phone: Device
) -> None:
    terminal = world.terminals["TERM0001"]
    terminal.profile = replace(terminal.profile, timeout_s=5.0, repeats_max=0)
    request = terminal.build_tap(phone, 100, random=Random(1))
    assert code(await terminal.pay(request)) is ResponseCode.APPROVED
    broken = replace(request.transaction, emv=Secret(bytes.fromhex("9F2608AA")))
    forged = terminal.with_wrong_mac(terminal.build_from(broken))
    assert await terminal.exchange(forged) is None


async def test_a_broken_tap_that_comes_again_gets_its_first_answer(
    world: World, phone: Device
) -> None:
    terminal = world.terminals["TERM0001"]
    request = terminal.build_tap(phone, 100, random=Random(1))
    emv = Secret(bytes.fromhex("9F2608AA"))
    broken = terminal.build_from(replace(request.transaction, emv=emv))
    first = await terminal.exchange(broken)
    again = await terminal.exchange(terminal.as_repeat(broken))
    assert first is not None
    assert again is not None
    assert first.outcome.code is again.outcome.code is ResponseCode.FORMAT_ERROR


async def test_the_number_of_a_device_is_not_in_what_is_printed_of_it(
    world: World, plastic: Device
) -> None:
    request = world.terminals["TERM0001"].build_tap(plastic, 100, random=Random(1))
    assert CARD.pan.reveal() not in repr(read_device(request.transaction))
