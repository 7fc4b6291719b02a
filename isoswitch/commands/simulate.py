"""``isoswitch simulate``: the other ends of a network, each in a process of its own."""

from __future__ import annotations

import errno
import signal
from functools import partial
from pathlib import Path
from random import SystemRandom

import structlog
import trio

from isoswitch.commands.console import UNREACHABLE, Failure
from isoswitch.commands.ends import (
    card_named,
    make_house,
    make_issuer,
    make_terminal,
    simulators_of,
)
from isoswitch.commands.running import run_trio
from isoswitch.config.load import LoadedNetwork, load_network
from isoswitch.config.model import Trickle
from isoswitch.config.settings import payshield_settings
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.payshield import PayshieldUnit
from isoswitch.simulators.terminal import Terminal
from isoswitch.switch.logs import configure_logs

AMOUNT_MINOR_MIN = 100
AMOUNT_MINOR_MAX = 9_999
FINISH_TIMEOUT_S = 10.0

log = structlog.get_logger()


def issuers(config: Path | None) -> None:
    """Run the simulated issuers until SIGTERM."""
    run_trio(lambda: run_issuers(load_network(config)))


def trickle(config: Path | None) -> None:
    """Run the terminals that pay all the time until SIGTERM."""
    loaded = load_network(config)
    settings = simulators_of(loaded).trickle
    if settings is None:
        raise Failure(
            f"{loaded.path} has no [simulators.trickle]",
            fix="copy that table from the packaged network.toml",
        )
    run_trio(lambda: run_trickle(loaded, settings))


def payment_hsm(config: Path | None) -> None:
    """Run the simulated payment HSM until SIGTERM."""
    loaded = load_network(config)
    settings = payshield_settings(loaded)
    if settings is None:
        raise Failure(
            f"{loaded.path} has no [hsm.payshield] that says where it listens",
            fix="docs/payment-hsms.md shows that table",
        )
    run_trio(lambda: run_unit(PayshieldUnit(settings.profile), settings.units[0][1]))


async def run_unit(unit: PayshieldUnit, port: int) -> None:
    """Serve host commands on the loopback interface."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(unit.serve, port)
            async for _ in signals:
                nursery.cancel_scope.cancel()


async def run_issuers(loaded: LoadedNetwork) -> None:
    """Serve every simulated issuer at the address of its endpoint."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            for name in simulators_of(loaded).issuers:
                nursery.start_soon(_serve_issuer, loaded, name)
            for name in simulators_of(loaded).houses:
                row = loaded.network.houses[name]
                house = make_house(loaded, name)
                nursery.start_soon(partial(house.run, host=row.host, port=row.port))
            async for _ in signals:
                nursery.cancel_scope.cancel()


async def run_trickle(loaded: LoadedNetwork, settings: Trickle) -> None:
    """Let the terminals pay at random moments; on SIGTERM each finishes its payment."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(configure_logs(None).run)
            stopping = trio.Event()
            terminals = [make_terminal(loaded, name) for name in settings.terminals]
            for terminal in terminals:
                nursery.start_soon(terminal.run)
            async with trio.open_nursery() as paying:
                for terminal in terminals:
                    paying.start_soon(_pay_forever, terminal, settings, stopping)
                async for _ in signals:
                    stopping.set()
                    paying.cancel_scope.deadline = (
                        trio.current_time() + FINISH_TIMEOUT_S
                    )
                    break
            nursery.cancel_scope.cancel()


async def _serve_issuer(loaded: LoadedNetwork, name: str) -> None:
    endpoint = loaded.network.endpoints[name]
    books = loaded.file(loaded.network.store.path).with_name(f"books-{name}.jsonl")
    issuer = make_issuer(loaded, name, log_path=books)
    if endpoint.role == "server":
        await issuer.call(endpoint.host, endpoint.port)
    try:
        await issuer.run(host=endpoint.host, port=endpoint.port)
    except OSError as fault:
        if fault.errno != errno.EADDRINUSE:
            raise
        raise Failure(
            f"port {endpoint.port} of issuer {name} is in use",
            fix=f"stop what listens there, or change [endpoints.{name}] port",
            exit_code=UNREACHABLE,
        ) from None


async def _pay_forever(
    terminal: Terminal, settings: Trickle, stopping: trio.Event
) -> None:
    """Pay with a random card, wait, and so on."""
    random = SystemRandom()
    pause_s = 60.0 * len(settings.terminals) / settings.per_minute
    while True:
        with trio.move_on_after(random.expovariate(1 / pause_s)):
            await stopping.wait()
            return
        card = card_named(random.choice(settings.cards))
        amount_minor = random.randint(AMOUNT_MINOR_MIN, AMOUNT_MINOR_MAX)
        belief = await terminal.purchase(card, amount_minor, pin=card.pin)
        # One that lives long keeps no list of all that it ever did.
        terminal.beliefs.clear()
        log.info(
            "paid",
            terminal=terminal.profile.terminal_id,
            card=card.name,
            amount=str(belief.amount),
            state=belief.state,
            approved=belief.state is BeliefState.APPROVED,
        )
