"""The file of a running switch changes: by command, by signal, by mistake."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest
import trio

from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.cards import get_card
from tests.live.live_network import live_network, wait_until
from tests.live.network import isoswitch

pytestmark = pytest.mark.live

CARD = get_card("visa-ok")


def edit(path: Path, old: str, new: str) -> None:
    """Change the file."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


async def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run a command; give its exit code and all that it says."""
    command = partial(isoswitch, *arguments, folder=folder)
    done = await trio.to_thread.run_sync(command)
    return done.returncode, done.stdout + done.stderr


async def test_a_file_is_changed_under_a_running_switch(tmp_path: Path) -> None:
    async with live_network(tmp_path) as network:
        path, pid = network.loaded.path, network.switch_pid
        terminal = network.terminals["TERM0001"]

        async def pay() -> BeliefState:
            return (await terminal.purchase(CARD, 1250, pin=CARD.pin)).state

        assert await run(tmp_path, "reload") == (
            0,
            "nothing differs from what is running\n",
        )
        # A mistake is told with its place, and changes nothing.
        edit(path, "terminal_burst = 1000", "terminal_brust = 1000")
        code, said = await run(tmp_path, "reload")
        assert code != 0
        assert "terminal_brust" in said
        assert await pay() is BeliefState.APPROVED
        edit(path, "terminal_brust = 1000", "terminal_burst = 900")
        said = "changed admission: terminal_burst 1000 -> 900"
        assert said in (await run(tmp_path, "reload", "--dry-run"))[1]
        assert said in (await run(tmp_path, "reload"))[1]
        edit(path, "terminal_burst = 900", "terminal_burst = 800")
        os.kill(pid, signal.SIGHUP)
        await wait_until(
            lambda: len(network.log_lines("reloaded")) == 2, "second reload in the log"
        )
        assert await pay() is BeliefState.APPROVED
        assert network.switch_pid == pid
        verdict = await network.settled()
        assert verdict.is_settled, verdict.describe()
