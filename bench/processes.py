"""The processes of a measurement; none of them outlives it."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

PATIENCE_S = 30.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

Address = int | Path
"""A port on the loopback interface, or the path of a unix socket."""


@contextmanager
def running(
    *arguments: str,
    opens: Address | Sequence[Address],
    output: Path,
    environment: Mapping[str, str] = {},
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``python -m`` with these arguments while the block lasts.

    It has started when it has opened an address, or all of several.

    Raises
    ------
    RuntimeError
        It ended, or did not open its address in time; quotes what it said last.
    """
    doors = [opens] if isinstance(opens, int | Path) else opens
    with output.open("ab") as said, _start(arguments, said, environment) as process:
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not all(map(_answers, doors)):
                if process.poll() is not None or time.monotonic() > deadline:
                    last = output.read_text(errors="replace")[-2000:]
                    msg = f"{' '.join(arguments)} did not start:\n{last}"
                    raise RuntimeError(msg)
                time.sleep(0.05)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()


def free_ports(count: int) -> list[int]:
    """Find ports that nobody uses; all at once, so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _start(
    arguments: tuple[str, ...], said: IO[bytes], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
        preexec_fn=_prepare,  # noqa: PLW1509 (one thread)
    )


def raise_file_limit() -> int:
    """Let this process open as many files as it may; gives the number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _prepare() -> None:
    raise_file_limit()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == 1:
        os._exit(1)


def _answers(address: Address) -> bool:
    is_path = isinstance(address, Path)
    with socket.socket(socket.AF_UNIX if is_path else socket.AF_INET) as probe:
        try:
            probe.connect(str(address) if is_path else ("127.0.0.1", address))
        except OSError:
            return False
    return True
