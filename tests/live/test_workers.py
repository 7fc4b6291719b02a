"""Workers under one parent: restarted one by one, reloaded, killed, drained."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.errors import SwitchUnavailable
from isoswitch.commands.console import Failure
from isoswitch.commands.database import LocalServer
from isoswitch.commands.processes import Part, parts_of
from isoswitch.config.load import STORE_URL, LoadedNetwork
from isoswitch.config.workers import worker_path
from isoswitch.store.inspection import inspect_store
from isoswitch.switch.control import ReadStatus, control_path, send_order
from isoswitch.switch.status import Status
from tests.live.drill import PARTS, Drill, drilled
from tests.live.network import isoswitch
from tests.postgres import new_database

pytestmark = pytest.mark.live

WORKERS = (1, 2)
PATIENCE_S = 60.0
LOOK_S = 0.1


def two_workers(loaded: LoadedNetwork) -> tuple[Part, ...]:
    """Give the parts of a network whose switch has two workers."""
    portal = loaded.network.portal
    assert portal is not None, "the packaged network has one"
    parts = [part for part in parts_of(loaded, workers=2) if part.name in PARTS]
    opens = tuple((portal.host, portal.port + number - 1) for number in WORKERS)
    return (
        *parts[:-1],
        Part(name="switch", command=parts[-1].command, opens=opens),
    )


async def test_workers_are_restarted_reloaded_and_killed_under_load(
    tmp_path: Path, postgres: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database(postgres)
    monkeypatch.setenv(STORE_URL, url.reveal())
    async with drilled(tmp_path, parts=two_workers, customers_count=2) as drill:
        parent = drill.processes.pid_of("switch")
        for number in WORKERS:
            await drill.wait_ready(number)
        assert await nodes(drill) == {"sw1.1", "sw1.2"}
        before = await boots(drill)
        os.kill(parent, signal.SIGUSR1)
        await changed(drill, before, count=2)
        path = drill.loaded.path
        text = path.read_text(encoding="utf-8")
        listener = "[listeners.ascii]\n"
        path.write_text(text.replace(listener, f"{listener}age_s_max = 1.0\n"))
        os.kill(parent, signal.SIGHUP)
        await reloaded(drill)
        before = await boots(drill)
        os.kill(pids(parent)[1], signal.SIGKILL)
        await changed(drill, before, count=1)
        for number in WORKERS:
            await drill.wait_ready(number)
        done = await order(tmp_path, "status", "--json")
        assert done.stdout.count('"ready"') == len(WORKERS), done.stdout + done.stderr
        for act, state in (("suspend", "suspended"), ("resume", "signed_on")):
            await order(tmp_path, "link", act, "north")
            assert await states(tmp_path, "north") == {"1": state, "2": state}
        done = await order(tmp_path, "day", "close", "--yes")
        assert "the day is cut" in done.stdout
    verdict = drill.compare()
    assert verdict.is_settled, verdict.describe()
    assert drill.kinds()[Kind.PURCHASE]
    assert drill.accusations == []
    assert drill.contradictions() == []
    assert inspect_store(url).is_sound


async def test_a_rolling_restart_goes_no_further_than_a_worker_that_works(
    tmp_path: Path, postgres: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORE_URL, new_database(postgres).reveal())
    (tmp_path / "var").mkdir()
    left = tmp_path / "var" / "isoswitch.7.control"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(left))
    async with drilled(tmp_path, parts=two_workers, customers_count=0) as drill:
        parent, path = drill.processes.pid_of("switch"), drill.loaded.path
        for number in WORKERS:
            await drill.wait_ready(number)
        assert not left.exists()
        before = await boots(drill)
        text = path.read_text(encoding="utf-8")
        path.write_text(f"{text}\n[nonsense]\n", encoding="utf-8")
        os.kill(parent, signal.SIGUSR1)
        await told(drill, "no worker is restarted: ")
        assert await boots(drill) == before
        path.write_text(text, encoding="utf-8")
        await drill.processes.stop("hsmd")
        os.kill(parent, signal.SIGUSR1)
        await told(drill, "the rolling restart ends here")
        assert await boots(drill) == before[1:]
        await drill.processes.start("hsmd")
        await changed(drill, before, count=1)
        await stops_at_once(drill, parent)
        with trio.fail_after(PATIENCE_S):
            with pytest.raises(Failure, match=r"switch ended \(exit code 0\)"):
                await drill.processes.wait_any_end()


async def stops_at_once(drill: Drill, parent: int) -> None:
    """Have the parent restart a worker that hangs; a stop reaches the other one.

    Orders that wait for the restart then are dropped.
    """
    hanging = pids(parent)[1]
    os.kill(hanging, signal.SIGSTOP)
    os.kill(parent, signal.SIGUSR1)
    await told(drill, "worker 1 finishes what it has in flight", times=2)
    for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM):
        os.kill(parent, number)
    with trio.fail_after(PATIENCE_S):
        while 2 in pids(parent):
            await trio.sleep(LOOK_S)
    os.kill(hanging, signal.SIGCONT)


def test_workers_without_a_store_to_share_are_refused(tmp_path: Path) -> None:
    done = isoswitch("serve", "--workers", "2", folder=tmp_path)
    assert done.returncode != 0
    assert "need a store that they can share" in done.stdout + done.stderr


async def order(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Give an order as an operator does."""
    done = await trio.to_thread.run_sync(lambda: isoswitch(*arguments, folder=folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return done


async def states(folder: Path, endpoint: str) -> dict[str, str]:
    """Give the state of an endpoint's link at each worker."""
    done = await order(folder, "links", "--json")
    links = [json.loads(line) for line in done.stdout.splitlines()]
    return {
        each["worker"]: each["state"] for each in links if each["endpoint"] == endpoint
    }


async def reloaded(drill: Drill) -> None:
    """Wait until every worker has told that it has another configuration."""
    with trio.fail_after(PATIENCE_S):
        for number in WORKERS:
            path = worker_path(drill.log_path, number)
            while '"event":"reloaded"' not in path.read_text(encoding="utf-8"):
                await trio.sleep(LOOK_S)


async def changed(drill: Drill, before: list[int], *, count: int) -> None:
    """Wait until so many workers are ready in another boot."""
    with trio.fail_after(PATIENCE_S):
        while True:
            found = await statuses(drill)
            fresh = [
                each for each in found if each.is_ready and each.boot not in before
            ]
            if len(found) == len(WORKERS) and len(fresh) == count:
                return
            await trio.sleep(LOOK_S)


async def told(drill: Drill, words: str, *, times: int = 1) -> None:
    """Wait until the parent has said so, and so often."""
    said = drill.loaded.file(Path("var/switch.out"))
    with trio.fail_after(PATIENCE_S):
        while said.read_text(encoding="utf-8").count(words) < times:
            await trio.sleep(LOOK_S)


def pids(parent: int) -> dict[int, int]:
    """Give the process ids of the workers by their number."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_text() for pid in children}
    return {int(command.split("\0")[-2]): pid for pid, command in commands.items()}


async def statuses(drill: Drill) -> list[Status]:
    """Ask every worker that runs how it stands."""
    alone = control_path(drill.loaded.file(drill.loaded.network.store.path))
    order = ReadStatus(operator="test")
    found: list[Status] = []
    for number in WORKERS:
        with suppress(SwitchUnavailable):
            found.append(await send_order(worker_path(alone, number), order, Status))
    return found


async def nodes(drill: Drill) -> set[str]:
    """Give the names of the workers' nodes."""
    return {status.node for status in await statuses(drill)}


async def boots(drill: Drill) -> list[int]:
    """Give the boots of the workers."""
    return [status.boot for status in await statuses(drill)]
