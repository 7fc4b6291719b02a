"""What log lines cost, beside structlog's standard JSON.

A purchase has four legs, each with a line; other events are rare. All write to a file:
ours in chunks, the obvious stack's line by line through Python's buffer.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

import structlog

from bench.codec import measure, row_of
from bench.obvious import PROCESSORS
from bench.rows import Row
from isoswitch.switch.logs import LegLine, configure_logs, legs

LEG: dict[str, Any] = {
    "transaction": "37-12345",
    "direction": "in",
    "endpoint": "north",
    "mti": "0210",
    "stan": "123456",
    "terminal": "TERM0001",
    "code": "00",
}


def run(quick: bool) -> list[Row]:
    """Measure and give the rows of a leg and of another event."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        writer = configure_logs(path / "ours.log")
        ours = structlog.get_logger()
        with (path / "theirs.log").open("w") as file:
            theirs = structlog.wrap_logger(
                structlog.WriteLogger(file),
                processors=PROCESSORS,
                wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
                cache_logger_on_first_use=True,
            )
            costs = measure(
                {
                    "a leg": lambda: legs.put(LegLine(**LEG)),
                    "another event": lambda: ours.info("event", **LEG),
                    "structlog's JSON": lambda: theirs.info("leg", **LEG),
                },
                rounds=9 if quick else 31,
            )
        writer.flush()
        legs.writer = None
        structlog.reset_defaults()
    baseline = "structlog's JSON"
    return [
        row_of(f"log: {name}", costs[name], baseline, costs[baseline], None)
        for name in ("a leg", "another event")
    ]
