"""Taps with cards and devices: limits without a PIN, tokens, whose account it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random

import pytest

from isoswitch.codecs.canonical.codes import EntryMode, Kind, ResponseCode
from isoswitch.codecs.canonical.secrets import Secret
from isoswitch.codecs.emv.tlv import decode_tlv
from isoswitch.routing.bins import Span
from isoswitch.simulators.beliefs import Belief
from isoswitch.simulators.bookings import BookingKind
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.devices import PROFILES, Device
from isoswitch.simulators.token_service import TokenService
from isoswitch.simulators.world import World
from isoswitch.switch.contactless import read_device
from isoswitch.switch.settings import (
    ContactlessSettings,
    DeviceSettings,
    SwitchSettings,
)

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


async def test_what_was_declined_meanwhile_does_not_make_the_limit_begin_anew(
    plastic: Device, tap: Tap
) -> None:
    for _ in range(5):
        assert code(await tap(plastic, 100)) is ResponseCode.APPROVED
    for _ in range(60):
        assert code(await tap(plastic, 100)) is TOO_MUCH


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


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"9F24": b"V0010013021298765432109876543"}, "the PAR of another"),
        ({"9F19": bytes.fromhex("062010000001")}, "the wallet of another"),
    ],
)
async def test_a_device_names_its_own_account_and_wallet(
    world: World,
    tokens: TokenService,
    phone: Device,
    told: dict[str, bytes],
    reason: str,
) -> None:
    terminal = world.terminals["TERM0001"]
    request = terminal.build_tap(phone, 100, random=Random(1))
    assert request.transaction.emv is not None
    data = decode_tlv(request.transaction.emv.reveal())
    changed = Secret(data.replace(told).encode())
    forged = terminal.build_from(replace(request.transaction, emv=changed))
    assert code(await terminal.pay(forged)) is ResponseCode.SECURITY_VIOLATION
    assert tokens.counts[reason] == 1


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


def kinds(*devices: DeviceSettings) -> Callable[[SwitchSettings], SwitchSettings]:
    """Give a switch that knows these kinds of devices."""
    return lambda settings: replace(
        settings, contactless=ContactlessSettings(devices=devices)
    )


async def taps(
    run: Callable[[World], Awaitable[None]],
    device: DeviceSettings,
    *amounts: int,
    profile: str = "apple-pay-like",
    verified: bool = False,
) -> list[ResponseCode]:
    """Tap with a device at a switch that knows this kind; give the answers."""
    network = World(change=kinds(device))
    await run(network)
    service = TokenService(MASTER, random=network.random)
    network.issuers["north"].tokens = service
    tapped = service.enroll(CARD, PROFILES[profile])
    terminal = network.terminals["TERM0001"]
    codes = []
    for minor in amounts:
        request = terminal.build_tap(
            tapped, minor, random=Random(1), holder_verified=verified
        )
        codes.append(code(await terminal.pay(request)))
    return codes


APPLE = DeviceSettings(name="apple", wallets=frozenset({"Apple Pay"}))
OK = ResponseCode.APPROVED
Run = Callable[[World], Awaitable[None]]


async def test_a_kind_of_device_has_its_own_limit_without_a_pin(run: Run) -> None:
    kind = replace(APPLE, limits=ContactlessSettings(tap_max_minor=0))
    assert await taps(run, kind, 1) == [TOO_MUCH]
    assert await taps(run, kind, 1, verified=True) == [OK]
    assert await taps(run, kind, 5000, profile="google-pay-like") == [OK]


async def test_a_kind_is_known_by_its_scheme(run: Run) -> None:
    kind = DeviceSettings(
        name="unionpay",
        schemes=frozenset({"unionpay"}),
        limits=ContactlessSettings(tap_max_minor=9_000, device_max_minor=20_000),
    )
    limits = 9_000, 9_001
    assert await taps(run, kind, *limits, profile="unionpay-like") == [OK, TOO_MUCH]
    assert await taps(run, kind, 9_000) == [TOO_MUCH]
    far = await taps(run, kind, 20_000, 20_001, profile="unionpay-like", verified=True)
    assert far == [OK, TOO_MUCH]


@pytest.mark.parametrize(
    ("kind", "believed"),
    [
        (APPLE, True),
        (replace(APPLE, verifies=False), False),
        (replace(APPLE, token_ranges=(Span.of_digits(CARD.pan.leading(8)),)), True),
        (replace(APPLE, token_ranges=(Span.of_digits("489537"),)), False),
    ],
    ids=["any number", "never", "in its range", "outside its range"],
)
async def test_whose_word_is_taken_for_the_holder(
    run: Run, kind: DeviceSettings, believed: bool
) -> None:
    expected = OK if believed else TOO_MUCH
    assert await taps(run, kind, 5_001, verified=True) == [expected]


async def test_a_wallet_is_known_by_its_token_requestor_too(run: Run) -> None:
    kind = replace(
        APPLE,
        wallets=frozenset({"62010000001"}),
        limits=ContactlessSettings(tap_max_minor=0),
    )
    assert await taps(run, kind, 1, profile="unionpay-like") == [TOO_MUCH]
    assert await taps(run, kind, 1) == [OK]


async def test_a_tap_is_given_back_to_the_account_with_another_device(
    tokens: TokenService, phone: Device, tap: Tap, world: World
) -> None:
    bought = await tap(phone, 1250)
    watch = tokens.enroll(CARD, PROFILES["apple-pay-like"])
    terminal = world.terminals["TERM0001"]
    request = terminal.build_tap(
        watch, 1250, random=Random(1), kind=Kind.REFUND, original=bought
    )
    assert code(await terminal.pay(request)) is ResponseCode.APPROVED


async def test_a_tap_is_not_given_back_to_another_account(
    tokens: TokenService, phone: Device, tap: Tap, world: World
) -> None:
    bought = await tap(phone, 1250)
    stranger = tokens.enroll(get_card("visa-pin"), PROFILES["apple-pay-like"])
    terminal = world.terminals["TERM0001"]
    request = terminal.build_tap(
        stranger, 1250, random=Random(1), kind=Kind.REFUND, original=bought
    )
    assert code(await terminal.pay(request)) is ResponseCode.ORIGINAL_NOT_FOUND
