"""The client of payment HSMs: pairing, deadlines, reconnects, units that misbehave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from isoswitch.codecs.canonical.errors import (
    HsmError,
    HsmUnavailable,
    KeyRefused,
    MacMismatch,
    NotSupported,
    VerificationFailed,
)
from isoswitch.codecs.framing import get_framing
from isoswitch.hsm.keys import State
from isoswitch.hsm.payshield.client import PayshieldHsm, open_payshield
from isoswitch.hsm.payshield.commands import HostCommand
from isoswitch.hsm.payshield.layouts import KeyKind
from isoswitch.hsm.payshield.settings import PayshieldSettings
from isoswitch.hsm.payshield.wire import FRAME_BYTES_MAX
from isoswitch.hsm.port import (
    CheckHealth,
    GenerateMac,
    HashData,
    ListKeys,
    ReadMetrics,
    TranslatePin,
    VerifyMac,
)
from isoswitch.simulators.payshield import PayshieldUnit
from isoswitch.simulators.payshield_keys import wrap_test_key
from tests.hsm.payshield.units import local_hsm, unit_keys
from tests.hsm.softhsm import AES_KEY, OTHER_TDES_KEY, PAN, TDES_KEY, plan
from tests.hsm.test_service import encrypted_block

FIRST, SECOND = ("first", 1500), ("second", 1500)
DEADLINE_S = 2.0
MAC = GenerateMac(key="n/zak", data=b"Now is the time for all ")
MAC_VALUE = bytes.fromhex("a1c72e74ea3fa9b6")  # ISO 9797-1, annex B
BLOCK = encrypted_block()
TRANSLATION = TranslatePin(source="t/tpk", target="n/zpk", block=BLOCK, pan=PAN)

HANG_UP = b"hang up"
Behaviour = Callable[[bytes], bytes]
"""What goes out for a request: frames, nothing, or ``HANG_UP`` to close."""


def framed(answer: bytes) -> bytes:
    return get_framing("bin2").encode(answer)


def honest(request: bytes) -> bytes:
    return framed(PayshieldUnit().answer(request))


def silent(_request: bytes) -> bytes:
    return b""


def hangs_up(_request: bytes) -> bytes:
    return HANG_UP


def healthy_but(behaviour: Behaviour) -> Behaviour:
    """Answer diagnostics, and everything else in the given way."""
    return lambda request: (honest if request[4:] == b"NC" else behaviour)(request)


@dataclass
class Site:
    """Units by their address, on memory streams, and what they were asked."""

    units: dict[tuple[str, int], Behaviour]
    nursery: trio.Nursery
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    connects: int = 0

    async def connect(self, unit: tuple[str, int]) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.connects += 1
        if unit not in self.units:
            raise HsmUnavailable("the payment HSM does not take connections")
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self._serve, unit, theirs)
        return ours

    async def _serve(self, unit: tuple[str, int], stream: trio.abc.Stream) -> None:
        decoder = get_framing("bin2").decoder(FRAME_BYTES_MAX)
        async with stream:
            while data := await stream.receive_some():
                for request in decoder.feed(bytes(data)):
                    if request[4:] != b"NC":
                        self.asked.append((unit[0], request))
                    answer = self.units[unit](request)
                    if answer == HANG_UP:
                        return
                    if answer:
                        await stream.send_all(answer)


@asynccontextmanager
async def connected(
    *behaviours: Behaviour, **changes: Any
) -> AsyncIterator[tuple[PayshieldHsm, Site]]:
    units = dict(zip((FIRST, SECOND), behaviours, strict=False))
    usual = PayshieldSettings(
        units=tuple(units), connections_per_unit=1, deadline_s=DEADLINE_S
    )
    settings = replace(usual, **changes)
    async with trio.open_nursery() as nursery:
        site = Site(units, nursery)
        async with open_payshield(
            settings, unit_keys(), data=local_hsm(), connect=site.connect
        ) as hsm:
            yield hsm, site
        nursery.cancel_scope.cancel()


async def test_health_is_that_of_the_unit_and_of_what_runs_elsewhere() -> None:
    async with connected(honest) as (hsm, _):
        assert await hsm.run(CheckHealth()) == [b""]


async def test_commands_are_counted_by_outcome() -> None:
    async with connected(honest) as (hsm, _):
        await hsm.run(MAC)
        with pytest.raises(MacMismatch):
            await hsm.run(VerifyMac(key="n/zak", data=b"", mac=bytes(8)))
        (text,) = await hsm.run(ReadMetrics())
    lines = text.decode().splitlines()
    total = "isoswitch_hsm_commands_total"
    assert f'{total}{{command="GenerateMac",outcome="ok"}} 1' in lines
    assert f'{total}{{command="VerifyMac",outcome="verification_failed"}} 1' in lines
    assert f"isoswitch_hsm_keys {len(unit_keys())}" in lines


async def test_without_another_hsm_data_commands_are_refused() -> None:
    async with trio.open_nursery() as nursery:
        site = Site({FIRST: honest}, nursery)
        settings = PayshieldSettings(units=(FIRST,))
        async with open_payshield(settings, unit_keys(), connect=site.connect) as hsm:
            with pytest.raises(NotSupported, match="do not run HashData"):
                await hsm.run(HashData(key="store/hash", data=b""))
            assert await hsm.run(CheckHealth()) == [b""]
            (listing,) = await hsm.run(ListKeys())
            assert len(msgspec.json.decode(listing)) == len(unit_keys())
        nursery.cancel_scope.cancel()


async def test_answers_out_of_order_find_their_commands() -> None:
    held: list[bytes] = []

    def backwards(request: bytes) -> bytes:
        held.append(honest(request))
        return b"".join(reversed(held)) if len(held) == 3 else b""

    async with connected(healthy_but(backwards)) as (hsm, _):
        macs = {}

        async def run(data: bytes) -> None:
            (macs[data],) = await hsm.run(GenerateMac(key="n/zak", data=data))

        async with trio.open_nursery() as nursery:
            for data in (b"one", b"two", MAC.data):
                nursery.start_soon(run, data)
    assert len(set(macs.values())) == 3
    assert macs[MAC.data] == MAC_VALUE


GARBAGE: dict[str, Behaviour] = {
    "no header": lambda _: framed(b"x"),
    "nothing": lambda _: framed(b""),
    "another header": lambda request: framed(b"zzzz" + honest(request)[6:]),
    "letters of another command": lambda request: framed(request[:4] + b"CZ00"),
    "no error code": lambda request: framed(request[:4] + b"M7"),
    "half an error code": lambda request: framed(request[:4] + b"M70"),
    "an error code of no letters": lambda request: framed(request[:4] + b"M7\x00\xff"),
    "no fields": lambda request: framed(request[:4] + b"M700"),
    "fields cut short": lambda request: framed(request[:4] + b"M700ABCDEF"),
    "fields of another form": lambda request: framed(request[:4] + b"M700" + b"!" * 16),
    "more than the fields": lambda request: framed(request[:4] + b"M700" + b"0" * 18),
    "half a frame": lambda request: honest(request)[:-1],
    "hangs up": hangs_up,
    "silent": silent,
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_a_unit_that_misbehaves_is_unavailable_within_the_deadline(
    name: str, autojump_clock: MockClock
) -> None:
    async with connected(healthy_but(GARBAGE[name])) as (hsm, _):
        started = trio.current_time()
        with pytest.raises(HsmUnavailable) as caught:
            await hsm.run(MAC)
        assert trio.current_time() - started <= DEADLINE_S + 0.01
    assert "M7" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(set(GARBAGE) - {
    "no error code", "half an error code", "an error code of no letters", "no fields",
    "fields cut short", "fields of another form", "more than the fields",
}))  # fmt: skip
async def test_a_command_that_was_not_answered_goes_to_another_unit(
    name: str, autojump_clock: MockClock
) -> None:
    async with connected(healthy_but(GARBAGE[name]), honest) as (hsm, site):
        for _ in range(4):
            assert await hsm.run(MAC) == [MAC_VALUE]
    assert {unit for unit, _ in site.asked} == {"first", "second"}


@pytest.mark.parametrize("name", ["another header", "nothing", "half a frame"])
async def test_a_connection_with_garbage_is_given_up(
    name: str, autojump_clock: MockClock
) -> None:
    behaviours = iter([GARBAGE[name]])

    def misbehaves_once(request: bytes) -> bytes:
        return next(behaviours, honest)(request)

    async with connected(healthy_but(misbehaves_once)) as (hsm, site):
        assert await hsm.run(MAC) == [MAC_VALUE]
        assert site.connects == 2


async def test_what_is_in_flight_when_a_unit_hangs_up_fails_together(
    autojump_clock: MockClock,
) -> None:
    count = iter(range(3))

    def hangs_up_at_the_third(_request: bytes) -> bytes:
        return HANG_UP if next(count) == 2 else b""

    outcomes: list[type[Exception]] = []
    async with connected(healthy_but(hangs_up_at_the_third), reconnect_max_s=60.0) as (
        hsm,
        _,
    ):

        async def ask() -> None:
            try:
                await hsm.ask("A0", KEY_REQUEST, is_repeatable=False)
            except HsmUnavailable as fault:
                outcomes.append(type(fault))

        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
        assert trio.current_time() == started
    assert outcomes == [HsmUnavailable] * 3


KEY_REQUEST = {"mode": "0", "key type": "001", "scheme": "U"}


async def test_what_makes_something_new_is_sent_once(
    autojump_clock: MockClock,
) -> None:
    async with connected(healthy_but(silent), healthy_but(silent)) as (hsm, site):
        with pytest.raises(HsmUnavailable):
            await hsm.ask("A0", KEY_REQUEST, is_repeatable=False)
    assert len(site.asked) == 1


async def test_a_late_answer_to_a_caller_that_left_harms_nobody() -> None:
    waiting: list[bytes] = []

    def late(request: bytes) -> bytes:
        waiting.append(request)
        return b"" if len(waiting) == 1 else b"".join(map(honest, waiting))

    async with connected(healthy_but(late)) as (hsm, site):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hsm.run, GenerateMac(key="n/zak", data=b"left"))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert await hsm.run(MAC) == [MAC_VALUE]
        assert site.connects == 1
    first, second = (request[:4] for request in waiting)
    assert first != second


async def test_more_commands_than_may_wait_are_refused_at_once() -> None:
    async with (
        connected(healthy_but(silent), in_flight_max=2) as (hsm, _),
        trio.open_nursery() as nursery,
    ):
        for _ in range(2):
            nursery.start_soon(hsm.run, MAC)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(HsmUnavailable, match="too many"):
            await hsm.run(MAC)
        nursery.cancel_scope.cancel()


async def test_nobody_listens(autojump_clock: MockClock) -> None:
    settings = PayshieldSettings(units=(FIRST,), deadline_s=DEADLINE_S)
    async with trio.open_nursery() as nursery:
        site = Site({}, nursery)
        started = trio.current_time()
        with pytest.raises(HsmUnavailable):
            async with open_payshield(settings, unit_keys(), connect=site.connect):
                pytest.fail("there is no unit")
        assert trio.current_time() - started <= DEADLINE_S + 0.01


async def test_a_short_outage_is_bridged_and_a_long_one_fails_at_once(
    autojump_clock: MockClock,
) -> None:
    async with connected(healthy_but(hangs_up)) as (hsm, site):
        with pytest.raises(HsmUnavailable):
            await hsm.run(MAC)
        del site.units[FIRST]
        await trio.sleep(DEADLINE_S)
        started = trio.current_time()
        for _ in range(3):
            with pytest.raises(HsmUnavailable):
                await hsm.run(MAC)
        assert trio.current_time() - started <= DEADLINE_S
        await trio.sleep(10 * DEADLINE_S)
        started = trio.current_time()
        with pytest.raises(HsmUnavailable, match="no payment HSM is available"):
            await hsm.run(MAC)
        assert trio.current_time() == started
        site.units[FIRST] = honest
        await trio.sleep(DEADLINE_S)
        assert await hsm.run(MAC) == [MAC_VALUE]


async def test_a_unit_with_another_master_key_is_not_used(
    autojump_clock: MockClock,
) -> None:
    def other_key(request: bytes) -> bytes:
        return framed(request[:4] + b"ND00" + b"9" * 16 + b"0000-0000")

    def faulty(request: bytes) -> bytes:
        return framed(request[:4] + b"ND41")

    for wrong in (other_key, faulty, silent):
        async with connected(wrong, honest, lmk_check_value="112233") as (hsm, site):
            for _ in range(4):
                await hsm.run(MAC)
        assert {unit for unit, _ in site.asked} == {"second"}


async def test_the_chosen_master_key_goes_with_every_command() -> None:
    async with connected(honest, lmk="01") as (hsm, site):
        assert await hsm.run(MAC) == [MAC_VALUE]
    ((_, request),) = site.asked
    assert request.endswith(b"%01")


@pytest.mark.parametrize("behaviour", [silent, GARBAGE["fields cut short"]])
async def test_no_error_shows_what_was_sent(
    behaviour: Behaviour, autojump_clock: MockClock
) -> None:
    async with connected(healthy_but(behaviour)) as (hsm, site):
        with pytest.raises(HsmUnavailable) as caught:
            await hsm.run(TRANSLATION)
        told = f"{caught.value!r} {caught.value.__cause__!r}"
        sent = str(site.asked)
    assert PAN[3:-1] in sent
    assert BLOCK.hex().upper() in sent
    for secret in (PAN, PAN[3:-1], BLOCK.hex().upper(), repr(BLOCK)):
        assert secret not in told


async def test_a_message_longer_than_the_unit_takes_is_not_sent() -> None:
    async with connected(honest) as (hsm, site):
        with pytest.raises(HsmError, match="longer than the unit takes"):
            await hsm.run(GenerateMac(key="n/zak", data=bytes(32_001)))
        await hsm.run(GenerateMac(key="n/zak", data=bytes(32_000)))
    assert len(site.asked) == 1


async def test_values_that_do_not_fit_a_command_are_not_sent() -> None:
    async with connected(honest) as (hsm, site):
        with pytest.raises(HsmError, match="A0, field key type") as caught:
            await hsm.ask("A0", {**KEY_REQUEST, "key type": "secret"})
        assert "secret" not in str(caught.value)
    assert site.asked == []


async def test_older_firmware_makes_macs_of_four_bytes_only() -> None:
    unit = PayshieldUnit("legacy")

    def older(request: bytes) -> bytes:
        return framed(unit.answer(request))

    async with connected(older, profile="legacy") as (hsm, _):
        with pytest.raises(HsmError, match="4 bytes"):
            await hsm.run(MAC)
        short = GenerateMac(key="n/zak", data=MAC.data, length=4)
        assert await hsm.run(short) == [MAC_VALUE[:4]]
        await hsm.run(VerifyMac(key="n/zak", data=MAC.data, mac=MAC_VALUE[:4]))


async def test_while_a_key_changes_both_versions_verify() -> None:
    first = plan("k/zak", "M3", "C")
    second = msgspec.structs.replace(first, version=2)
    pending = msgspec.structs.replace(
        wrap_test_key(second, KeyKind.ZAK, TDES_KEY), state=State.PENDING
    )
    keys = [wrap_test_key(first, KeyKind.ZAK, OTHER_TDES_KEY), pending]
    async with trio.open_nursery() as nursery:
        site = Site({FIRST: honest}, nursery)
        settings = PayshieldSettings(units=(FIRST,))
        async with open_payshield(settings, keys, connect=site.connect) as hsm:
            command = GenerateMac(key="k/zak", data=MAC.data)
            (active,) = await hsm.run(command)
            assert active != MAC_VALUE
            for mac, pending_version in ((active, b""), (MAC_VALUE, b"2")):
                verify = VerifyMac(key="k/zak", data=MAC.data, mac=mac)
                assert await hsm.run(verify) == [pending_version]
            with pytest.raises(VerificationFailed):
                await hsm.run(VerifyMac(key="k/zak", data=b"", mac=MAC_VALUE))
        nursery.cancel_scope.cancel()


async def test_an_aes_key_goes_with_the_whole_card_number() -> None:
    async with connected(honest) as (hsm, site):
        command = msgspec.structs.replace(TRANSLATION, target="s/zpk", target_format=4)
        (block,) = await hsm.run(command)
    assert len(block) == 16
    assert f"{PAN};".encode() in site.asked[0][1]
    assert AES_KEY.reveal().hex().upper().encode() not in site.asked[0][1]


async def test_older_firmware_refuses_what_it_does_not_know() -> None:
    unit = PayshieldUnit("legacy")
    async with connected(
        lambda request: framed(unit.answer(request)), profile="legacy"
    ) as (hsm, site):
        for command in (
            GenerateMac(key="s/zak", data=b"", length=4),
            msgspec.structs.replace(TRANSLATION, target_format=3),
        ):
            with pytest.raises(NotSupported):
                await hsm.run(command)
    assert site.asked == []


async def test_a_pin_block_never_goes_to_a_terminal() -> None:
    keys = [
        *unit_keys(),
        wrap_test_key(plan("k/tpk", "P0", "E"), KeyKind.TPK, TDES_KEY),
    ]
    async with trio.open_nursery() as nursery:
        site = Site({FIRST: honest}, nursery)
        settings = PayshieldSettings(units=(FIRST,))
        async with open_payshield(settings, keys, connect=site.connect) as hsm:
            with pytest.raises(KeyRefused, match="zones only"):
                await hsm.run(msgspec.structs.replace(TRANSLATION, target="k/tpk"))
        nursery.cancel_scope.cancel()


def test_a_host_command_prints_its_letters_only() -> None:
    assert repr(HostCommand("CA", {"pan": PAN})) == "HostCommand(CA)"


async def test_a_header_in_flight_is_not_used_again() -> None:
    """There are ten thousand of them."""
    answer = honest(b"0000NC")[6:]
    held: list[bytes] = []

    def holds_the_first(request: bytes) -> bytes:
        if request[4:6] == b"M6" and not held:
            held.append(request)
            return b""
        if request[4:6] == b"M6":
            return b"".join(map(honest, (request, *held)))
        return framed(request[:4] + answer)

    async with connected(holds_the_first, deadline_s=120.0) as (hsm, site):
        macs: list[bytes] = []

        async def run() -> None:
            macs.extend(await hsm.run(MAC))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(10_000):
                await hsm.ask("NC", {})
            nursery.start_soon(run)
        assert macs == [MAC_VALUE] * 2
        assert site.connects == 1


class Resetting(trio.abc.Stream):
    """A connection that the other end resets at the first byte, or the first read."""

    def __init__(self, *, at_write: bool) -> None:
        self._at_write = at_write

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self._at_write:
            raise trio.BrokenResourceError

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._at_write:
            await trio.sleep_forever()
        raise trio.BrokenResourceError

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("at_write", [True, False])
async def test_a_reset_connection_is_replaced(
    at_write: bool, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        site = Site({FIRST: honest}, nursery)
        resets = [Resetting(at_write=at_write)]

        async def connect(unit: tuple[str, int]) -> trio.abc.Stream:
            return resets.pop() if resets else await site.connect(unit)

        settings = PayshieldSettings(units=(FIRST,), connections_per_unit=1)
        async with open_payshield(settings, unit_keys(), connect=connect) as hsm:
            assert await hsm.run(MAC) == [MAC_VALUE]
        nursery.cancel_scope.cancel()
