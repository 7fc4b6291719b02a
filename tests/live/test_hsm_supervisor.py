"""The supervisor in this process, its workers in theirs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from isoswitch.codecs.canonical.errors import ConfigError, HsmUnavailable
from isoswitch.hsm.client import open_hsm
from isoswitch.hsm.port import GenerateMac
from isoswitch.hsm.settings import HsmdSettings
from isoswitch.hsm.supervisor import Supervisor
from isoswitch.hsm.worker import Orders, decode_orders, encode_orders
from tests.hsm.softhsm import PLANS, provisioned
from tests.live.test_hsm_processes import eventually

pytestmark = pytest.mark.live

MAC = GenerateMac(key="n/zak", data=b"data")


@asynccontextmanager
async def supervised(settings: HsmdSettings) -> AsyncIterator[Supervisor]:
    """Supervise workers during the block, and end them by SIGTERM."""
    supervisor = Supervisor(settings)
    ready = trio.Event()

    def on_ready(keys_loaded: int) -> None:
        assert keys_loaded == len(PLANS)
        ready.set()

    async def run() -> None:
        await supervisor.run(on_ready=on_ready)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await ready.wait()
        yield supervisor
        os.kill(os.getpid(), signal.SIGTERM)


def pid_of(supervisor: Supervisor) -> int:
    return supervisor._workers[0].process.pid


async def test_sighup_replaces_the_worker(tmp_path: Path) -> None:
    settings = provisioned(tmp_path)
    async with supervised(settings) as supervisor, open_hsm(settings.socket) as hsm:
        first = pid_of(supervisor)
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: pid_of(supervisor) != first)
        assert len((await hsm.run(MAC))[0]) == 8
    assert not settings.socket.exists()


async def test_a_worker_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    settings = replace(provisioned(tmp_path), stop_timeout_s=0.1)
    async with supervised(settings) as supervisor:
        first = pid_of(supervisor)
        os.kill(first, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: not Path(f"/proc/{first}").exists())


async def test_a_dead_worker_is_replaced_as_soon_as_one_starts(tmp_path: Path) -> None:
    settings = provisioned(tmp_path)
    hidden = settings.keys_file.with_suffix(".hidden")
    async with supervised(settings) as supervisor:
        first = pid_of(supervisor)
        settings.keys_file.rename(hidden)
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: not Path(f"/proc/{first}").exists())
        hidden.rename(settings.keys_file)
        await eventually(lambda: pid_of(supervisor) != first)


async def test_a_worker_that_takes_too_long_is_said(tmp_path: Path) -> None:
    settings = replace(provisioned(tmp_path), start_timeout_s=0.001)
    with pytest.raises(HsmUnavailable, match="in time"):
        await Supervisor(settings).run(on_ready=print)
    assert not settings.socket.exists()


async def test_a_worker_that_cannot_start_says_why(tmp_path: Path) -> None:
    settings = provisioned(tmp_path)
    settings.keys_file.unlink()
    with pytest.raises(HsmUnavailable, match="no key file"):
        await Supervisor(settings).run(on_ready=print)


async def test_an_unknown_user_is_said(tmp_path: Path) -> None:
    settings = replace(provisioned(tmp_path), user="no-such-user")
    with pytest.raises(ConfigError, match="no-such-user"):
        await Supervisor(settings).run(on_ready=print)


async def test_a_path_too_long_for_a_socket_is_said(tmp_path: Path) -> None:
    settings = replace(provisioned(tmp_path), socket=tmp_path / ("s" * 100))
    with pytest.raises(ConfigError, match="cannot listen"):
        await Supervisor(settings).run(on_ready=print)


def test_orders_arrive_as_they_were(tmp_path: Path) -> None:
    orders = Orders(settings=provisioned(tmp_path, tokens=2), token=1, listener=9)
    assert decode_orders(encode_orders(orders)) == orders


def test_a_worker_without_orders_ends(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "isoswitch.hsm.worker"],
        input=b"",
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert b"supervisor only" in done.stdout


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes somebody else")
def test_dropped_privileges_do_not_come_back() -> None:
    program = (
        "import os; from isoswitch.hsm.hardening import drop_privileges\n"
        "drop_privileges('nobody'); assert os.getuid() == os.geteuid() != 0\n"
        "assert 0 not in os.getgroups()\n"
        "try: os.setuid(0)\n"
        "except PermissionError: print('refused')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=30, check=False
    )
    assert done.stdout == b"refused\n", done.stderr
