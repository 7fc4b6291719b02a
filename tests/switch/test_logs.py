"""Lines are written in their order, and the legs among them only when a chunk is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
import trio.testing
from structlog.testing import capture_logs

from isoswitch.switch.logs import (
    CHUNK_BYTES,
    LEG_BYTES,
    LegLine,
    configure_logs,
    legs,
)

LEG = {
    "transaction": "7-1",
    "direction": "in",
    "endpoint": "ascii",
    "mti": "0200",
    "stan": "000001",
    "code": "",
    "terminal": "TERM0001",
}


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave the logs of the other tests as they were."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
    legs.writer = None


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a log."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_leg_stands_between_the_lines_before_and_after_it(tmp_path: Path) -> None:
    path = tmp_path / "switch.log"
    writer = configure_logs(path)
    log = structlog.get_logger()
    log.info("before")
    legs.put(LegLine(**LEG))
    assert path.read_text() == ""
    log.warning("after")
    before, leg, after = lines_of(path)
    assert [before["event"], leg["event"], after["event"]] == ["before", "leg", "after"]
    assert {name: leg[name] for name in LEG} == LEG
    assert leg["level"] == "info"
    assert before["at"] <= leg["at"] <= after["at"]
    assert writer.dropped_count == 0


def test_many_legs_are_written_without_waiting_for_the_tick(tmp_path: Path) -> None:
    path = tmp_path / "switch.log"
    configure_logs(path)
    count = CHUNK_BYTES // LEG_BYTES + 1
    for number in range(count):
        legs.put(LegLine(**LEG | {"stan": f"{number:06}"}))
    assert [line["stan"] for line in lines_of(path)] == [
        f"{number:06}" for number in range(count)
    ]


def test_legs_are_no_lines_where_only_warnings_are(tmp_path: Path) -> None:
    path = tmp_path / "switch.log"
    configure_logs(path, level="warning").flush()
    legs.put(LegLine(**LEG))
    structlog.get_logger().warning("now")
    assert [line["event"] for line in lines_of(path)] == ["now"]


async def test_without_a_writer_a_leg_is_logged_as_any_event(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    writer = configure_logs(tmp_path / "switch.log")
    with trio.move_on_after(1):
        await writer.run()
    with capture_logs() as logs:
        legs.put(LegLine(**LEG))
    assert logs == [{"event": "leg", "log_level": "info", **LEG}]
