"""The switch is killed at every stage of a payment, and nobody loses or gains money.

Each kill is aimed. What the other ends do brings a payment to a stage and holds it
there (an issuer keeps its answer, the crypto process stands still, the terminal hangs
up); store and books show that it is there; then the switch gets SIGKILL while other
terminals go on paying. After the last restart the auditor compares all sides.
"""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from itertools import cycle
from pathlib import Path
from random import Random

import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.simulators.beliefs import Belief, BeliefState
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.rules import (
    NORMAL,
    Condition,
    Equals,
    Fault,
    Fixed,
    Reaction,
    Rule,
)
from isoswitch.simulators.terminal import Terminal
from isoswitch.simulators.triggers import standing_rules
from isoswitch.store.port import SafState, TransactionState
from isoswitch.store.reader import open_reader
from tests.live.conftest import Tell
from tests.live.live_network import LOOK_S, LiveNetwork, live_network, wait_until
from tests.live.network import command, environment, isoswitch

pytestmark = pytest.mark.live

ROUNDS = 7
SEED = 20_261_122
AIMED_MINOR = 777_00
LATE_S = 2.0
AWAY_S = 1.0
PAUSE_S = 0.15
IN_FLIGHT_MAX = 10
REST_S = 30.0
STRACE = shutil.which("strace")
RECOVERY_KILLS_MIN = 2
CALLS_MIN = {"fdatasync": 4, "sendto": 10}
FAST_LINK = """
saf_retry_s = 0.2
saf_retry_max_s = 0.5
reconnect_max_s = 0.4
"""
CARDS = ("visa-ok", "mc-ok", "mc-partial", "visa-insufficient", "mc-lost")


class Stage(StrEnum):
    """How far switch and issuer have come with a payment; none is gone back to."""

    UNRECORDED = "received, nothing written down"
    LOST = "sending, the issuer booked nothing"
    BOOKED = "sending, the issuer approved"
    DECIDED = "closed, the terminal has not heard"
    HEARD = "closed, the terminal knows"
    OWED = "reversal owed, not sent yet"
    FORWARDED = "reversal sent, not acknowledged"
    DELIVERED = "reversal delivered"


ORDER = tuple(Stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What brings a payment to a stage and holds it there."""

    purchase: Reaction = NORMAL
    reversal: Reaction = NORMAL
    stops_crypto: bool = False
    hangs_up: bool = False

    def rules(self, amount_minor: int) -> list[Rule]:
        """Give the issuers' rules for the aimed payment, known by its amount."""
        reactions = {Kind.PURCHASE: self.purchase, Kind.REVERSAL: self.reversal}
        return [
            Rule(
                name=f"aimed {kind}",
                when={
                    "kind": Equals(value=kind.value),
                    "amount_minor": Equals(value=amount_minor),
                },
                then=reaction,
            )
            for kind, reaction in reactions.items()
        ]


SILENT = Reaction(fault=Fault.SILENCE)
PURCHASES: Mapping[str, Condition] = {"kind": Equals(value=Kind.PURCHASE.value)}
SETTINGS: Mapping[Stage, Setting] = {
    Stage.UNRECORDED: Setting(stops_crypto=True),
    Stage.LOST: Setting(purchase=Reaction(books=False)),
    Stage.BOOKED: Setting(purchase=SILENT),
    Stage.DECIDED: Setting(purchase=Reaction(delay=Fixed(delay_s=0.2)), hangs_up=True),
    Stage.HEARD: Setting(),
    Stage.OWED: Setting(purchase=Reaction(fault=Fault.AWAY, away_s=AWAY_S)),
    Stage.FORWARDED: Setting(purchase=SILENT, reversal=SILENT),
    Stage.DELIVERED: Setting(purchase=SILENT),
}


@dataclass(kw_only=True)
class Siege:
    """A network under load, and the tally of the kills it takes."""

    network: LiveNetwork
    payments: trio.Nursery
    random: Random = field(default_factory=lambda: Random(SEED))
    aimed: Counter[Stage] = field(default_factory=Counter)
    caught: Counter[Stage] = field(default_factory=Counter)
    recoveries_s: list[float] = field(default_factory=list)
    _killed_at: float = 0.0

    async def pay(
        self, terminal: Terminal, card_name: str, amount_minor: int
    ) -> Belief:
        """Start a payment and give what its terminal believes, once it is sent."""
        card = get_card(card_name)
        request = terminal.build(Kind.PURCHASE, card, amount_minor, pin=card.pin)
        self.payments.start_soon(terminal.pay, request)
        stan = request.transaction.stan

        def sent() -> list[Belief]:
            return [
                b
                for b in terminal.beliefs[-IN_FLIGHT_MAX:]
                if b.stan == stan and b.sends
            ]

        await wait_until(lambda: bool(sent()), f"request {stan}")
        return sent()[0]

    async def serve_customers(self, terminal: Terminal) -> None:
        """Take payments at a terminal, whatever becomes of them."""
        while True:
            await trio.sleep(self.random.expovariate(1 / PAUSE_S))
            if len(unfinished(terminal)) < IN_FLIGHT_MAX:
                amount_minor = self.random.randint(100, 9_999)
                await self.pay(terminal, self.random.choice(CARDS), amount_minor)

    async def kill(self) -> None:
        """Kill the switch and look where that caught the payments."""
        self._killed_at = trio.current_time()
        await self.network.kill_switch()
        for terminal in self.network.terminals.values():
            for belief in unfinished(terminal):
                self.caught[find_stage(self.network, belief)] += 1

    async def restart(self) -> None:
        """Start the switch again and note how long it was away."""
        await self.network.start_switch()
        self.recoveries_s.append(trio.current_time() - self._killed_at)

    def describe(self) -> str:
        """Tell how often, where, and how long it took to come back."""
        times = self.recoveries_s
        head = (
            f"{len(times)} kills, seed {SEED}; from SIGKILL to serving again: "
            f"median {statistics.median(times):.2f} s, worst {max(times):.2f} s"
        )
        lines = [
            f"  {stage:<36} aimed {self.aimed[stage]}, in flight {self.caught[stage]}"
            for stage in Stage
        ]
        return "\n".join([head, *lines])


async def test_no_kill_at_any_stage_loses_or_doubles_money(
    tmp_path: Path, tell: Tell
) -> None:
    async with besieged(tmp_path) as siege:
        terminals = cycle(siege.network.terminals.values())
        for number in range(ROUNDS):
            for stage in Stage:
                await strike(siege, stage, next(terminals), CARDS[number % 2])
    tell(siege.describe())
    assert siege.aimed == dict.fromkeys(Stage, ROUNDS)
    assert len(siege.recoveries_s) >= 50


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.parametrize("call", ["fdatasync", "sendto"])
async def test_no_system_call_is_a_bad_moment_to_die(
    tmp_path: Path, tell: Tell, call: str
) -> None:
    """A payment and a reversal, killed before their first call, second, and so on."""
    async with besieged(tmp_path, has_customers=False) as siege:
        terminals = cycle(siege.network.terminals.values())
        while await dies_before(
            siege, call, len(siege.recoveries_s) + 1, next(terminals)
        ):
            await siege.kill()
            await siege.restart()
    tell(siege.describe())
    assert len(siege.recoveries_s) >= CALLS_MIN[call]


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
async def test_a_recovery_that_is_killed_is_taken_up_by_the_next(
    tmp_path: Path, tell: Tell
) -> None:
    """Killed before its first commit, before its second, and so on."""
    async with besieged(tmp_path, has_customers=False) as siege:
        network = siege.network
        for issuer in network.issuers.values():
            issuer.set_rules([Rule(name="silent", then=SILENT, when=PURCHASES)])
        beliefs = [
            await siege.pay(terminal, card_name, AIMED_MINOR)
            for terminal in network.terminals.values()
            for card_name in ("visa-ok", "mc-ok")
        ]
        await wait_until(
            lambda: all(find_stage(network, b) is Stage.BOOKED for b in beliefs),
            "payments that wait for their issuers",
        )
        await siege.kill()
        kills = 0
        while await dies_while_starting(network, kills + 1):
            kills += 1
        await siege.restart()
    tell(f"{kills} kills of one recovery")
    # All of them are brought to an end in a commit or two.
    assert kills >= RECOVERY_KILLS_MIN


@asynccontextmanager
async def besieged(folder: Path, *, has_customers: bool = True) -> AsyncIterator[Siege]:
    """Run a network under load; afterwards let it come to rest, and audit it."""
    links = {"endpoints.north": FAST_LINK, "endpoints.south": FAST_LINK}
    async with live_network(folder, tables=links) as network:
        async with trio.open_nursery() as payments, trio.open_nursery() as customers:
            siege = Siege(network=network, payments=payments)
            for terminal in network.terminals.values() if has_customers else ():
                customers.start_soon(siege.serve_customers, terminal)
            yield siege
            customers.cancel_scope.cancel()
            for issuer in network.issuers.values():
                issuer.set_rules(standing_rules(late_s=LATE_S))
            payments.cancel_scope.deadline = trio.current_time() + REST_S
        verdict = await network.settled()
        assert verdict.is_settled, verdict.describe()
        assert not list(network.log_lines("dispatch_failed"))
    done = isoswitch("verify", "journal", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr


async def strike(
    siege: Siege, stage: Stage, terminal: Terminal, card_name: str
) -> None:
    """Bring a payment to a stage, kill the switch there, and start it again."""
    # No other payment has this amount, so that the rules meet the aimed one alone.
    amount_minor = AIMED_MINOR + len(siege.recoveries_s)
    for issuer in siege.network.issuers.values():
        rules = SETTINGS[stage].rules(amount_minor)
        issuer.set_rules([*rules, *standing_rules(late_s=LATE_S)])
    with trio.fail_after(REST_S):
        # A link may still be coming back after the kill before: aim again then.
        while not await hits(siege, stage, terminal, card_name, amount_minor):
            pass
    await siege.restart()
    siege.aimed[stage] += 1


async def hits(
    siege: Siege, stage: Stage, terminal: Terminal, card_name: str, amount_minor: int
) -> bool:
    """Start a payment and kill the switch at a stage; whether it came to that."""
    network, setting = siege.network, SETTINGS[stage]
    with crypto_stopped(network) if setting.stops_crypto else nullcontext():
        belief = await siege.pay(terminal, card_name, amount_minor)
        if setting.hangs_up:
            terminal.hang_up()
        if setting.stops_crypto:
            await wait_until(lambda: is_received(network, belief), "line in the log")
        while (found := find_stage(network, belief)) is not stage:
            if found is Stage.HEARD or ORDER.index(found) > ORDER.index(stage):
                return False
            await trio.sleep(LOOK_S)
        await siege.kill()
        return True


async def dies_before(siege: Siege, call: str, number: int, terminal: Terminal) -> bool:
    """Tell a story, and whether its n-th call of a kind, where it dies, was reached."""
    network = siege.network
    async with killer(network.switch_pid, call, number):
        for card_name in ("visa-ok", "visa-silent"):
            if network.has_switch_ended:
                return True
            belief = await siege.pay(terminal, card_name, AIMED_MINOR)
            ends = {Stage.HEARD, Stage.DELIVERED}
            await wait_until(
                lambda: network.has_switch_ended or find_stage(network, belief) in ends,  # noqa: B023 (waited for here)
                f"end of the story, or of the switch before {call} {number}",
            )
        return network.has_switch_ended


@asynccontextmanager
async def killer(pid: int, call: str, number: int) -> AsyncIterator[None]:
    """Have a process killed as one of its threads enters its n-th call of a kind."""
    assert STRACE is not None, "skipped without it"
    inject = f"inject={call}:signal=SIGKILL:when={number}"
    arguments = [STRACE, "-f", "-p", str(pid), "-o", "/dev/null", "-e", inject]
    async with trio.open_nursery() as nursery:
        strace = await nursery.start(
            partial(trio.run_process, arguments, stderr=subprocess.PIPE, check=False)
        )
        said = ""
        while "attached" not in said:
            heard = await strace.stderr.receive_some()
            if not heard:
                pytest.skip(f"strace cannot attach here: {said}")
            said += heard.decode()
        yield
        strace.send_signal(signal.SIGINT)


async def dies_while_starting(network: LiveNetwork, number: int) -> bool:
    """Start a switch that is killed before its n-th commit; whether it came to that."""
    assert STRACE is not None, "skipped without it"
    started = len(network.log_lines("ready"))
    inject = f"inject=fdatasync:signal=SIGKILL:when={number}"
    serve = command(("serve", "--config", str(network.loaded.path)))
    process = await trio.lowlevel.open_process(
        [STRACE, "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", inject, *serve],
        cwd=network.loaded.folder,
        env=environment(str(network.loaded.folder)),
        stderr=subprocess.DEVNULL,
    )
    try:
        await wait_until(
            lambda: (
                process.poll() is not None or len(network.log_lines("ready")) > started
            ),
            "start of the switch, or its end",
        )
        # A tracer ends as what it traced.
        assert process.returncode in {None, -signal.SIGKILL}, "it could not start"
        return process.returncode is not None
    finally:
        if process.poll() is None:
            # The switch would outlive its tracer, whose child it is.
            kill_children(process.pid)
            with trio.CancelScope(shield=True):
                await process.wait()


def kill_children(pid: int) -> None:
    """Kill what a process started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    for child in children.split():
        os.kill(int(child), signal.SIGKILL)


def find_stage(network: LiveNetwork, belief: Belief) -> Stage:
    """Find how far a payment has come, as store and books tell."""
    with open_reader(network.store_path) as reader:
        rows = [
            row
            for row in reader.find_originals(belief.terminal_id, belief.stan)
            if row.kind != Kind.REVERSAL
        ]
        owed = {entry.transaction_id: entry for entry in reader.saf()}
    if not rows:
        return Stage.UNRECORDED
    row = rows[0]
    if row.state is TransactionState.SENDING:
        return Stage.BOOKED if is_booked(network, row.rrn) else Stage.LOST
    entry = owed.get(row.id)
    if entry is None:
        return Stage.HEARD if belief.outcome else Stage.DECIDED
    if entry.state is SafState.DELIVERED:
        return Stage.DELIVERED
    return Stage.FORWARDED if entry.attempts else Stage.OWED


def is_received(network: LiveNetwork, belief: Belief) -> bool:
    """Whether the switch has read a request."""
    return any(
        (line["terminal"], line["stan"]) == (belief.terminal_id, belief.stan)
        for line in network.log_lines("leg")
        if "terminal" in line
    )


def is_booked(network: LiveNetwork, rrn: str) -> bool:
    """Whether an issuer has decided a request."""
    return any(
        booking.rrn == rrn
        for issuer in network.issuers.values()
        for booking in issuer.bookings.entries
    )


def unfinished(terminal: Terminal) -> list[Belief]:
    """Give what a terminal has sent and does not know the end of."""
    open_states = {BeliefState.OPEN, BeliefState.REVERSING}
    return [b for b in terminal.beliefs if b.sends and b.state in open_states]


@contextmanager
def crypto_stopped(network: LiveNetwork) -> Iterator[None]:
    """Have the crypto process stand still."""
    os.killpg(network.crypto_pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(network.crypto_pid, signal.SIGCONT)
