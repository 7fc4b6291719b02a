"""What the crypto service costs: its process, the switch that asks it, DUKPT, refusals.

One crypto process works one SoftHSM token. The switch's side is this process, which
makes the three round trips of a purchase at a concurrency of 32: to a stand-in that
answers at once, and to the crypto process, for which it mostly waits, so that every
batch of answers finds cold caches. What that alone costs is measured beside it: tasks
that wake three times after the same wait and ask nobody.

What a command costs the crypto process is measured in this one, on the same token:
rounds of all contestants alternate, and the least CPU time of each counts: other work
on the machine can only add to it.
"""

from __future__ import annotations

import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import msgspec
import trio
import trio.testing

from bench.cpu import cpu_seconds, with_children
from bench.network import CARD, ISSUER, TERMINALS, keyring_of, make_network
from bench.processes import free_ports, running
from isoswitch.codecs.canonical.errors import VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.config.load import LoadedNetwork
from isoswitch.config.settings import hsmd_settings
from isoswitch.hsm.client import HsmClient, open_hsm
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions.dukpt_tdes import BaseKey, TdesPurpose, TdesTerminals
from isoswitch.hsm.functions.key import ENCRYPT, Key
from isoswitch.hsm.functions.pin import PinFormat, PinKey, encrypt
from isoswitch.hsm.keys import KeyPlan, Mode, Usage
from isoswitch.hsm.port import (
    AnyCommand,
    EncryptData,
    GenerateMac,
    HashData,
    Splice,
    TranslatePin,
    VerifyMac,
    VerifyPvv,
)
from isoswitch.hsm.provision import provision
from isoswitch.hsm.service import CryptoService
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.token import open_engine, open_service
from isoswitch.simulators.card_values import make_pvv
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.terminal_crypto import encrypt_pin, generate_mac

FOLDER = Path("var/bench")
CONCURRENCY = 32
ROUNDS = 5
REQUEST_BYTES = 320
ANSWER_BYTES = 160
BLOCK_AT = 240
BASE = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
PVK = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
TERMINAL = TERMINALS[0].lower()
SERIAL = 0xFFFF9876543210E00000
COUNTER_ONES_MAX = 10
CALLS = 40

Row = dict[str, Any]
Contestants = Mapping[str, Callable[[], object]]

ZONE = "translate PIN, zone to zone"
DUKPT = "translate PIN, TDES DUKPT to zone"
RIGHT_PIN = "verify PIN: right"
RIGHT_MAC = "verify MAC: right"
"""What the other contestants are compared with."""


def run(quick: bool) -> list[Row]:
    """Measure and give the rows of the table."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="hsm-") as name:
        folder = Path(name).resolve()
        port, issuer_port = free_ports(2)
        loaded = make_network(folder, port=port, issuer_port=issuer_port)
        provision(hsmd_settings(loaded), _PLANS, test_values=_VALUES)
        commands = Commands(loaded)
        real, standin = loaded.file(loaded.network.hsm.socket), folder / "standin.sock"
        output = folder / "output"
        with (
            running(
                *("isoswitch", "hsmd", "--config", str(loaded.path)),
                opens=real,
                output=output,
            ) as hsmd,
            running("bench.standin", str(standin), opens=standin, output=output),
        ):
            seconds = 0.5 if quick else 2.0
            crypto = with_children(hsmd.pid)
            rows = trio.run(_through_sockets, real, standin, commands, crypto, seconds)
        return rows + _in_this_process(loaded, commands, rounds=21 if quick else 101)


_PLANS = (
    KeyPlan(
        name="bench/bdk",
        usage=Usage.DUKPT_BASE,
        mode=Mode.DERIVE_KEYS,
        algorithm=Algorithm.TDES,
    ),
    KeyPlan(
        name="bench/pvk", usage=Usage.PVV, mode=Mode.VERIFY, algorithm=Algorithm.TDES
    ),
)
_VALUES = {"bench/bdk": BASE, "bench/pvk": PVK}


class Commands:
    """The commands of a purchase, with MACs and a PIN block that verify."""

    def __init__(self, loaded: LoadedNetwork) -> None:
        keyring = keyring_of(loaded)
        self.card = get_card(CARD)
        pan = self.card.pan
        tak = keyring.get_key(f"terminal/{TERMINAL}/tak")
        zak = keyring.get_key(f"{ISSUER}/zak")
        tpk = keyring.get_key(f"terminal/{TERMINAL}/tpk")
        request, answer = bytes(REQUEST_BYTES), bytes(ANSWER_BYTES)
        self.verify_request = VerifyMac(
            key=f"terminal/{TERMINAL}/tak",
            data=request,
            mac=generate_mac(tak, request),
        )
        self.hash_pan = HashData(key="store/pan-hash", data=pan.reveal().encode())
        self.seal = EncryptData(key="store/seal", data=bytes(ANSWER_BYTES))
        self.translate = TranslatePin(
            source=f"terminal/{TERMINAL}/tpk",
            target=f"{ISSUER}/zpk",
            block=encrypt_pin(tpk, self.card.pin, pan).reveal(),
            pan=pan.reveal(),
        )
        self.sign_request = GenerateMac(
            key=f"{ISSUER}/zak",
            data=request,
            splice=Splice(offset=BLOCK_AT, as_hex=True),
        )
        self.verify_answer = VerifyMac(
            key=f"{ISSUER}/zak", data=answer, mac=generate_mac(zak, answer)
        )
        self.sign_answer = GenerateMac(key=f"terminal/{TERMINAL}/tak", data=answer)

    @property
    def combined(self) -> tuple[AnyCommand, ...]:
        """Verify a MAC, translate a PIN and make a MAC, in one round trip."""
        return self.verify_request, self.translate, self.sign_request

    @property
    def purchase(self) -> tuple[tuple[AnyCommand, ...], ...]:
        """The three round trips that the switch makes for a purchase."""
        return (
            (self.verify_request, self.hash_pan),
            (self.seal, self.translate, self.sign_request),
            (self.verify_answer, self.sign_answer),
        )


async def _through_sockets(
    real: Path, standin: Path, commands: Commands, crypto: list[int], seconds: float
) -> list[Row]:
    gc.collect()
    # As the switch does once it has started.
    gc.freeze()
    combined, asked, answered, woken = [], [], [], []
    async with (
        open_hsm(real, deadline_s=10) as hsm,
        open_hsm(standin, deadline_s=10) as quick,
    ):
        await _load(hsm, commands.purchase, seconds)
        for _ in range(ROUNDS):
            used = sum(map(cpu_seconds, crypto))
            rate, _ = await _load(hsm, (commands.combined,), seconds)
            used = sum(map(cpu_seconds, crypto)) - used
            combined.append((rate, used / (rate * seconds) * 1e6))
            asked.append(await _load(hsm, commands.purchase, seconds))
            answered.append(await _load(quick, commands.purchase, seconds))
            woken.append(await _wake(trips_per_s=3 * asked[-1][0], seconds=seconds))
    waiting = statistics.median(each[1] for each in asked)
    waking = statistics.median(woken)
    return [
        _row(
            "crypto process: verify MAC + translate PIN + MAC",
            cpu_us=statistics.median(each[1] for each in combined),
            per_second=statistics.median(each[0] for each in combined),
            goal=">= 6000/s",
        ),
        _row(
            "switch: three requests of a purchase",
            cpu_us=statistics.median(each[1] for each in answered),
            per_second=statistics.median(each[0] for each in answered),
            goal="<= 20 us",
        ),
        _row("switch: waking three times after a wait, asking nobody", cpu_us=waking),
        _row(
            "switch: three requests, waiting for the crypto process",
            cpu_us=waiting,
            per_second=statistics.median(each[0] for each in asked),
            baseline="switch: waking three times after a wait, asking nobody",
            ratio=waiting / waking,
        ),
    ]


async def _load(
    hsm: HsmClient, trips: Sequence[Sequence[AnyCommand]], seconds: float
) -> tuple[float, float]:
    """Run the trips one after the other in every task; rate, and CPU time in us."""
    done = 0

    async def pay() -> None:
        nonlocal done
        while time.monotonic() < end:
            for commands in trips:
                await hsm.run(*commands)
            done += 1

    began, used = time.monotonic(), time.process_time()
    end = began + seconds
    async with trio.open_nursery() as nursery:
        for _ in range(CONCURRENCY):
            nursery.start_soon(pay)
    used = time.process_time() - used
    return done / (time.monotonic() - began), used / done * 1e6


async def _wake(*, trips_per_s: float, seconds: float) -> float:
    """Give the CPU time in us of waking three times, in batches, after waiting."""
    parked: list[trio.lowlevel.Task] = []

    async def park() -> None:
        while True:
            parked.append(trio.lowlevel.current_task())
            await trio.lowlevel.wait_task_rescheduled(_abort)

    pause_s = CONCURRENCY / trips_per_s
    async with trio.open_nursery() as nursery:
        for _ in range(CONCURRENCY):
            nursery.start_soon(park)
        await trio.testing.wait_all_tasks_blocked()
        used = time.process_time()
        batches = round(seconds / pause_s)
        for _ in range(batches):
            await trio.sleep(pause_s)
            woken = parked.copy()
            parked.clear()
            for task in woken:
                trio.lowlevel.reschedule(task)
        used = time.process_time() - used
        nursery.cancel_scope.cancel()
    return used / (batches * CONCURRENCY) * 3e6


def _abort(_: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.SUCCEEDED


def _in_this_process(
    loaded: LoadedNetwork, commands: Commands, *, rounds: int
) -> list[Row]:
    settings = hsmd_settings(loaded)
    service = open_service(
        open_engine(settings.tokens[0]), settings.keys_file, settings.environment
    )
    costs = _measure(_contestants(service, commands, rounds), rounds=rounds)
    least = {name: min(each) for name, each in costs.items()}
    return [_row(name, cpu_us=least[name]) for name in _BASELINES] + [
        _row(
            name,
            cpu_us=least[name],
            baseline=theirs,
            ratio=least[name] / least[theirs],
            goal=goal,
        )
        for name, (theirs, goal) in _RATIOS.items()
    ]


def _contestants(
    service: CryptoService, commands: Commands, rounds: int
) -> Contestants:
    pan, mac = commands.card.pan, commands.verify_request
    block = commands.translate.block
    blocks = iter([*islice(_dukpt_blocks(commands), rounds * CALLS)])
    pvv = make_pvv(PVK, commands.card.pin, pan, index=1)
    verify_pin = partial(
        VerifyPvv,
        source=commands.translate.source,
        key="bench/pvk",
        pan=pan.reveal(),
        index=1,
    )
    wrong_pvv = f"{(int(pvv) + 1) % 10_000:04}"

    def try_(command: AnyCommand) -> Callable[[], object]:
        def refused() -> None:
            with suppress(VerificationFailed):
                service.execute([command])

        return refused

    def translate_next() -> None:
        service.execute([next(blocks)])

    return {
        ZONE: try_(commands.translate),
        DUKPT: translate_next,
        RIGHT_PIN: try_(verify_pin(block=block, pvv=pvv)),
        "verify PIN: wrong PIN": try_(verify_pin(block=block, pvv=wrong_pvv)),
        "verify PIN: broken block": try_(verify_pin(block=bytes(8), pvv=pvv)),
        RIGHT_MAC: try_(mac),
        "verify MAC: wrong": try_(msgspec.structs.replace(mac, mac=bytes(8))),
    }


def _dukpt_blocks(commands: Commands) -> Iterator[TranslatePin]:
    """Give what one terminal sends in one transaction after the other."""
    engine = SoftwareEngine()
    terminals = TdesTerminals(BaseKey.load(engine, BASE))
    card = commands.card
    for counter in count(1):
        if counter.bit_count() > COUNTER_ONES_MAX:
            continue
        ksn = (SERIAL + counter).to_bytes(10)
        value = terminals.derive(ksn, TdesPurpose.PIN)
        with Key.load(engine, value, Algorithm.TDES, ENCRYPT) as key:
            block = encrypt(card.pin, card.pan, PinKey(key, PinFormat.ISO_0))
        yield TranslatePin(
            source="bench/bdk",
            target=f"{ISSUER}/zpk",
            block=block.reveal(),
            pan=card.pan.reveal(),
            ksn=ksn,
        )


def _measure(contestants: Contestants, *, rounds: int) -> Mapping[str, list[float]]:
    """Give the CPU time of one call in us, in every round."""
    costs: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, call in contestants.items():
            used = time.process_time()
            for _ in range(CALLS):
                call()
            costs[name].append((time.process_time() - used) / CALLS * 1e6)
    return costs


_BASELINES = (ZONE, RIGHT_PIN, RIGHT_MAC)
_RATIOS = {
    DUKPT: (ZONE, "<= 1.5x"),
    "verify PIN: wrong PIN": (RIGHT_PIN, ""),
    "verify PIN: broken block": (RIGHT_PIN, ""),
    "verify MAC: wrong": (RIGHT_MAC, ""),
}
"""What each contestant is compared with, and how much it may cost."""


def _row(
    name: str,
    *,
    cpu_us: float | None = None,
    per_second: float | None = None,
    baseline: str = "",
    ratio: float | None = None,
    goal: str = "",
) -> Row:
    return {
        "name": name,
        "cpu_us": None if cpu_us is None else round(cpu_us, 1),
        "per_second": None if per_second is None else round(per_second),
        "p50_ms": None,
        "p99_ms": None,
        "baseline": baseline,
        "ratio": None if ratio is None else round(ratio, 2),
        "goal": goal,
    }


if __name__ == "__main__":
    for measured_row in run(quick="--quick" in sys.argv):
        print(measured_row)
