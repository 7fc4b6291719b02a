"""Running one process of a network: trio, faults in one sentence, logs in chunks."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO, Any, NoReturn

import orjson
import structlog
import trio

from isoswitch.codecs.canonical.errors import IsoswitchError
from isoswitch.codecs.iso8583.masking import scan

FLUSH_S = 0.1
CHUNK_LINES_MAX = 1000
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def run_trio(main: Callable[[], Awaitable[None]]) -> None:
    """Run an async program; a fault of ours comes out of all nurseries as itself."""
    try:
        trio.run(main)
    except BaseExceptionGroup as group:
        fault = _first_fault(group)
        if fault is None:
            raise
        raise fault from None


class LogFile:
    """A file that takes log lines and writes them in chunks.

    The journal is the record of what happened; should the process be killed, the last
    tenth of a second of its log is lost. Lines of level error are written at once.
    """

    def __init__(self, path: Path | None) -> None:
        self._file: IO[bytes] = (
            sys.stderr.buffer if path is None else _open_append(path)
        )
        self._lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        """Take one line."""
        self._lines.append(line)
        if len(self._lines) >= CHUNK_LINES_MAX:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered."""
        if self._lines:
            chunk = b"\n".join([*self._lines, b""])
            self._lines.clear()
            self._file.write(chunk)
            self._file.flush()

    async def flush_forever(self) -> NoReturn:
        """Write every tenth of a second, and once more at the end."""
        try:
            while True:
                await trio.sleep(FLUSH_S)
                self.flush()
        finally:
            self.flush()


def configure_logs(path: Path | None, level: str) -> LogFile:
    """Have structlog write JSON lines of a level and above to a file."""
    log_file = LogFile(path)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Tracebacks carry no local variables: those may hold secrets.
            structlog.processors.format_exc_info,
            _mask_traceback,
            structlog.processors.JSONRenderer(serializer=_to_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _LineLogger(log_file),
        cache_logger_on_first_use=True,
    )
    return log_file


class _LineLogger:
    """What structlog hands rendered lines to."""

    def __init__(self, log_file: LogFile) -> None:
        self._log_file = log_file

    def info(self, line: bytes) -> None:
        self._log_file.write(line)

    debug = warning = info

    def error(self, line: bytes) -> None:
        self._log_file.write(line)
        self._log_file.flush()

    critical = exception = error


def _to_json(event: Any, **_: Any) -> bytes:
    # Whatever JSON does not know is shown as text: secrets print masked.
    return orjson.dumps(event, default=str)


def _mask_traceback(
    _logger: Any, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Mask what looks like a card number in the text of other people's errors."""
    text = event.get("exception")
    if isinstance(text, str):
        event["exception"] = scan(text)
    return event


def _open_append(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    return path.open("ab")


def _first_fault(group: BaseExceptionGroup[BaseException]) -> IsoswitchError | None:
    for error in group.exceptions:
        if isinstance(error, IsoswitchError):
            return error
        if isinstance(error, BaseExceptionGroup):
            found = _first_fault(error)
            if found is not None:
                return found
    return None
