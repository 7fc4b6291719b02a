"""Logs as JSON lines, rendered lean and written in chunks.

A line costs a few microseconds because nothing is written for it: lines collect and go
out together, when 64 KiB are full, when a warning comes, and a few times a second. If
the file cannot be written, lines are dropped and counted; payments go on.
"""

from __future__ import annotations

import logging
import os
from collections.abc import MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import structlog
import trio
from structlog.tracebacks import ExceptionDictTransformer

CHUNK_BYTES = 64 * 1024
FLUSH_S = 0.2


class ChunkedWriter:
    """Collects lines for a file descriptor; the logger that structlog writes to."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: list[bytes] = []
        self._bytes = 0
        self.dropped_count = 0

    def msg(self, line: bytes) -> None:
        """Take one line; it is written with the next chunk."""
        self._lines.append(line)
        self._bytes += len(line)
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
        data = memoryview(b"\n".join(lines) + b"\n")
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
            self.flush()


def configure_logs(path: Path | None, *, level: str = "info") -> ChunkedWriter:
    """Send every log line to a file, or to standard error, and give its writer.

    Secrets print masked here as everywhere: what is not JSON is written as its text.
    """
    descriptor = 2
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        descriptor = os.open(path, flags, mode=0o600)
    writer = ChunkedWriter(descriptor)
    structlog.configure(
        processors=[_render],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=True,
    )
    return writer


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
    return orjson.dumps(event, default=str)
