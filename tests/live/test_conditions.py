"""Real disks that fill, real locks, a real crypto process that is gone.

The switch takes no new money meanwhile, says so, keeps what it has, and goes on without
a restart; only an error of the disk itself ends it, and the next start recovers.
"""

from __future__ import annotations

import resource
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import apsw
import httpx
import pytest
import trio

from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.cards import get_card
from tests.live.live_network import LiveNetwork, live_network, wait_until

pytestmark = pytest.mark.live

CARD = get_card("visa-ok")
DISK_BYTES = 4 * 1024 * 1024
LOOK_S = 0.05


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[LiveNetwork]:
    """Run a network that has paid once, and audit it at the end."""
    async with live_network(folder) as network:
        assert await pay(network) is BeliefState.APPROVED
        assert await wait_ready(network, ready=True) == []
        pid = network.switch_pid
        yield network
        assert network.switch_pid == pid, "nothing was restarted"
        verdict = await network.settled()
        assert verdict.is_settled, verdict.describe()


async def pay(network: LiveNetwork) -> BeliefState:
    """Pay once."""
    terminal = network.terminals["TERM0001"]
    return (await terminal.purchase(CARD, 1250, pin=CARD.pin)).state


async def wait_ready(network: LiveNetwork, *, ready: bool) -> list[str]:
    """Wait until the health page says so, and give its problems."""
    portal = network.loaded.network.portal
    assert portal is not None
    url = f"http://{portal.host}:{portal.port}/health/ready"
    told: dict[str, Any] = {}
    async with httpx.AsyncClient() as client:
        with trio.move_on_after(20):
            while told.get("ready") is not ready:
                answer = await client.get(url)
                told = answer.json()
                assert answer.status_code == (200 if told["ready"] else 503)
                await trio.sleep(LOOK_S)
            problems: list[str] = told["problems"]
            return problems
    msg = f"ready is not {ready}: {told}"
    raise AssertionError(msg)


async def pays_nothing_meanwhile(
    network: LiveNetwork, customers: trio.Nursery, said: str
) -> None:
    """Pay into the condition; see that it is told and that nothing is booked."""
    booked = len(network.issuers["north"].bookings.entries)
    customers.start_soon(pay, network)
    problems = await wait_ready(network, ready=False)
    assert said in problems[0]
    await trio.sleep(0.5)
    assert len(network.issuers["north"].bookings.entries) == booked


def told_once(network: LiveNetwork, part: str) -> None:
    """See that the log has one line for the beginning and one for the end."""
    for event in ("condition_began", "condition_over"):
        lines = [line for line in network.log_lines(event) if line["part"] == part]
        assert len(lines) == 1, f"{event}: {lines}"


async def test_a_locked_store_is_waited_for(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    async with running(tmp_path) as network:
        other = apsw.Connection(str(network.store_path))
        other.execute("BEGIN IMMEDIATE")
        await pays_nothing_meanwhile(
            network, nursery, "cannot commit: database is locked"
        )
        other.execute("ROLLBACK")
        other.close()
        await wait_ready(network, ready=True)
        assert await pay(network) is BeliefState.APPROVED
        await wait_until(
            lambda: bool(network.log_lines("condition_over")), "line in the log"
        )
        told_once(network, "store")


async def test_a_full_disk_is_waited_for(tmp_path: Path, nursery: trio.Nursery) -> None:
    with small_disk(tmp_path / "disk") as disk:
        (tmp_path / "var").mkdir()
        (disk / "isoswitch.db").touch()
        (tmp_path / "var" / "isoswitch.db").symlink_to(disk / "isoswitch.db")
        async with running(tmp_path) as network:
            filler = disk / "filler"
            fill(filler)
            await pays_nothing_meanwhile(network, nursery, "disk is full")
            filler.unlink()
            await wait_ready(network, ready=True)
            assert await pay(network) is BeliefState.APPROVED
            told_once(network, "store")


async def test_a_crypto_process_that_is_gone_is_waited_for(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    async with running(tmp_path) as network:
        await network.processes.kill("hsmd")
        await pays_nothing_meanwhile(network, nursery, "crypto: ")
        await network.processes.start("hsmd")
        await wait_ready(network, ready=True)
        assert await pay(network) is BeliefState.APPROVED


async def test_an_error_of_the_disk_ends_the_process_and_a_start_recovers(
    tmp_path: Path,
) -> None:
    async with live_network(tmp_path) as network:
        assert await pay(network) is BeliefState.APPROVED
        pid = network.switch_pid
        # The kernel refuses to let any file of the switch grow: an I/O error.
        no_growth = (network.store_path.stat().st_size, resource.RLIM_INFINITY)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, no_growth)
        async with trio.open_nursery() as customers:
            customers.start_soon(pay, network)
            await wait_until(lambda: network.has_switch_ended, "end of the switch")
            await network.kill_switch()
            await network.start_switch()
        await wait_ready(network, ready=True)
        assert await pay(network) is BeliefState.APPROVED
        (line,) = network.log_lines("store_failed")
        assert line["error"] == "IOError"
        verdict = await network.settled()
        assert verdict.is_settled, verdict.describe()


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """Mount a file system of a few megabytes; needs the right to mount."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a small disk: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(path: Path) -> None:
    """Take all room that a disk has left."""
    with path.open("wb", buffering=0) as file:
        block = bytes(4096)
        while True:
            try:
                file.write(block)
            except OSError:
                return
