"""Logs as JSON lines, rendered lean and written in chunks.

A line costs a few microseconds because nothing is written for it: lines collect and go
out together, when 64 KiB are full, when a warning comes, and a few times a second. If
the file cannot be written, lines are dropped and counted; payments go on.

Every message of every transaction has a line, so those (`LegLine`) are only collected
when they come up, and rendered when their chunk is written.
"""

from __future__ import annotations

import logging
import os
from collections.abc import MutableMapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import orjson
import structlog
import trio
from structlog.tracebacks import ExceptionDictTransformer

CHUNK_BYTES = 64 * 1024
FLUSH_S = 0.2
# What the line of a leg comes to, about, when it is rendered.
LEG_BYTES = 220


class LegLine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message of a transaction: in or out, between us and which counterparty."""

    transaction: str
    direction: str
    endpoint: str
    mti: str
    stan: str
    code: str
    terminal: str = ""
    at: datetime = msgspec.field(default_factory=partial(datetime.now, UTC))
    event: str = "leg"
    level: str = "info"


class ChunkedWriter:
    """Collects lines for a file descriptor; the logger that structlog writes to."""

    def __init__(self, descriptor: int, *, takes_legs: bool) -> None:
        self._descriptor = descriptor
        self._takes_legs = takes_legs
        self._lines: list[bytes | LegLine] = []
        self._bytes = 0
        self.dropped_count = 0

    def msg(self, line: bytes) -> None:
        """Take one line; it is written with the next chunk."""
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= CHUNK_BYTES:
            self.flush()

    def leg(self, line: LegLine) -> None:
        """Take the line of a leg; it is rendered and written with the next chunk."""
        if not self._takes_legs:
            return
        self._lines.append(line)
        self._bytes += LEG_BYTES
        if self._bytes >= CHUNK_BYTES:
            self.flush()

    def urgent(self, line: bytes) -> None:
        """Take one line and write it now, with all before it."""
        self._lines.append(line)
        self.flush()

    debug = info = msg
    warning = error = critical = exception = urgent

    def flush(self) -> None:
        """Write what has collected; what cannot be written is dropped and counted."""
        if not self._lines:
            return
        lines, self._lines, self._bytes = self._lines, [], 0
        rendered = [
            line if isinstance(line, bytes) else _encode_leg(line) for line in lines
        ]
        data = memoryview(b"\n".join((*rendered, b"")))
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            self.dropped_count += len(lines)

    async def run(self) -> None:
        """Flush now and then until cancelled, and once more at the end."""
        try:
            while True:
                await trio.sleep(FLUSH_S)
                self.flush()
        finally:
            if legs.writer is self:
                legs.writer = None
            self.flush()


class Legs:
    """Where the lines of legs go: to the writer of this process, if it takes them."""

    def __init__(self) -> None:
        self.writer: ChunkedWriter | None = None

    def put(self, line: LegLine) -> None:
        """Log one message; without a writer, as any other event is."""
        if self.writer is not None:
            self.writer.leg(line)
            return
        fields = msgspec.structs.asdict(line)
        # Not a logger of this module, which would remember an earlier configuration.
        structlog.get_logger().info(
            **{name: fields[name] for name in fields if name not in _GIVEN}
        )


legs = Legs()


def configure_logs(path: Path | None, *, level: str = "info") -> ChunkedWriter:
    """Send every log line to a file, or to standard error, and give its writer.

    Secrets print masked here as everywhere: what is not JSON is written as its text.
    """
    descriptor = 2
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        descriptor = os.open(path, flags, mode=0o600)
    least = logging.getLevelNamesMapping()[level.upper()]
    writer = ChunkedWriter(descriptor, takes_legs=least <= logging.INFO)
    legs.writer = writer
    structlog.configure(
        processors=[_render],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=True,
    )
    return writer


_encode_leg = msgspec.json.Encoder().encode
# What structlog adds to an event by itself.
_GIVEN = frozenset({"at", "level"})

# Locals would put card numbers into tracebacks.
_render_exception = structlog.processors.ExceptionRenderer(
    ExceptionDictTransformer(show_locals=False)
)


def _render(logger: Any, level: str, event: MutableMapping[str, Any]) -> bytes:
    """Make the line of an event: one processor, because each one costs every line."""
    if "exc_info" in event:
        event = _render_exception(logger, level, event)
    event["level"] = level
    event["at"] = datetime.now(UTC)
    return orjson.dumps(event, default=str, option=orjson.OPT_UTC_Z)
