"""What the log line of a leg costs, beside structlog's standard JSON.

A purchase has four. Both write to a file; ours in chunks, the obvious stack's line by
line through Python's buffer.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import structlog

from bench.codec import measure, row_of
from bench.obvious import PROCESSORS
from bench.rows import Row
from isoswitch.switch.logs import configure_logs

LEG = {
    "transaction": "37-12345",
    "direction": "in",
    "endpoint": "north",
    "mti": "0210",
    "stan": "123456",
    "terminal": "TERM0001",
    "code": "00",
}


def run(quick: bool) -> list[Row]:
    """Measure and give the row of a leg."""
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
                    "a leg": lambda: ours.info("leg", **LEG),
                    "structlog's JSON": lambda: theirs.info("leg", **LEG),
                },
                rounds=9 if quick else 31,
            )
        writer.flush()
        structlog.reset_defaults()
    baseline = "structlog's JSON"
    return [row_of("log: a leg", costs["a leg"], baseline, costs[baseline], None)]
