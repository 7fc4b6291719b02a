"""One node gives up, and the others take over what it left open."""

from __future__ import annotations

import os

import trio

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.store.inspection import inspect_store
from isoswitch.store.reader import open_reader
from tests.live.conftest import Tell
from tests.live.drill import Drill, crowd

# From the death of a node until nothing that it left open is open any more.
TAKEOVER_S = 5.0
PATIENCE_S = 60.0
LOOK_S = 0.1


def assert_agreed(drill: Drill, takeovers: list[float], tell: Tell) -> None:
    """Demand that all sides tell the same, and that others took over in time."""
    verdict = drill.compare()
    tell(f"takeovers {[round(each, 1) for each in takeovers]} s")
    tell(drill.describe(verdict))
    assert verdict.is_settled
    assert drill.kinds()[Kind.PURCHASE]
    assert drill.accusations == []
    assert drill.contradictions() == []
    assert inspect_store(drill.loaded.store).is_sound
    assert max(takeovers) < TAKEOVER_S * crowd()


async def gives_up(drill: Drill, name: str) -> None:
    """Wait until a node ends because others have taken over; start it again."""
    pid = drill.processes.pid_of(name)
    with trio.fail_after(PATIENCE_S):
        while not has_ended(pid):
            await trio.sleep(LOOK_S)
    await drill.processes.kill(name)
    await drill.processes.start(name)


def has_ended(pid: int) -> bool:
    """Whether a process of ours runs no more."""
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, pid, options) is not None


async def taken_over(drill: Drill, boot: str) -> float:
    """Wait until a boot is declared dead and nothing of it is open; give how long."""
    began_at = trio.current_time()
    with trio.fail_after(PATIENCE_S), open_reader(drill.loaded.store) as reader:
        while True:
            is_alive = any(
                lease.holder == boot and lease.name.startswith("node/")
                for lease in reader.leases()
            )
            rows = reader.open_transactions()
            if not is_alive and not any(row.id.startswith(f"{boot}-") for row in rows):
                return trio.current_time() - began_at
            await trio.sleep(LOOK_S)


async def boot_of(drill: Drill, number: int, *, joint: str = ".") -> str:
    """Give the boot of a node; one that a crowded machine has fenced starts anew.

    ``joint`` stands between the configured name and the node's number.
    """
    lease_name = f"node/{drill.loaded.network.switch.node}{joint}{number}"
    name = f"node{number}"
    with trio.fail_after(PATIENCE_S):
        while True:
            with open_reader(drill.loaded.store) as reader:
                leases = {each.name: each.holder for each in reader.leases()}
            if lease_name in leases:
                return leases[lease_name]
            await gives_up(drill, name)
            await drill.wait_ready(number)
            drill.kills["fenced by itself"] += 1
