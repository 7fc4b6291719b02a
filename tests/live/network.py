"""A network of real processes in a folder of its own, on free ports."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from isoswitch.config.load import packaged_network

ROOT = Path(__file__).parents[2]
PATIENCE_S = 40.0
FASTER = {
    "terminal_s": 6.0,
    "switch_s": 4.0,
    "issuer_s": 1.5,
    "margin_s": 0.5,
    "confirm_s": 5.0,
    "per_minute": 300.0,
}
NO_TABLES: Mapping[str, str] = {}


def write_network(
    folder: Path,
    *,
    values: Mapping[str, object] = FASTER,
    tables: Mapping[str, str] = NO_TABLES,
) -> Path:
    """Write the packaged network with free ports and short timers into a folder.

    ``values`` replaces what keys have, wherever they stand; ``tables`` adds lines to
    tables, by the table's name.
    """
    text = packaged_network().read_text(encoding="utf-8")
    ports = re.findall(r"^port = (\d+)$", text, flags=re.MULTILINE)
    for old, new in zip(ports, free_ports(len(ports)), strict=True):
        text = text.replace(f"port = {old}\n", f"port = {new}\n")
    for key, value in values.items():
        line = f"{key} = {json.dumps(value)}"
        text, places = re.subn(rf"^{key} = \S+", line, text, flags=re.MULTILINE)
        assert places, f"no key {key} in the packaged network"
    for table, lines in tables.items():
        assert f"\n[{table}]" in text, f"no table {table} in the packaged network"
        text = text.replace(f"\n[{table}]", f"\n[{table}]\n{lines}", 1)
    path = folder / "network.toml"
    path.write_text(text, encoding="utf-8")
    return path


def free_ports(count: int) -> list[int]:
    """Find ports that nobody uses; all at once, so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def isoswitch(
    *arguments: str, folder: Path, mark: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        command(arguments),
        cwd=folder,
        env=environment(mark),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def running(
    folder: Path, *arguments: str, mark: str
) -> Iterator[subprocess.Popen[str]]:
    """Run a command until the block ends, at the latest."""
    with subprocess.Popen(
        command(arguments),
        cwd=folder,
        env=environment(mark),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=PATIENCE_S)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read what a process prints until a line holds this text."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    msg = f"it ended without saying {text!r}:\n{said}"
    raise AssertionError(msg)


def marked_processes(mark: str) -> dict[int, str]:
    """Give the living processes that were started under a mark, with their commands."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
            arguments = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if f"ISOSWITCH_TEST={mark}".encode() in variables and arguments:
            found[int(entry.name)] = arguments.replace(b"\0", b" ").decode()
    return found


def wait_gone(mark: str) -> list[str]:
    """Wait until the processes under a mark have ended; name those that have not."""
    deadline = time.monotonic() + PATIENCE_S
    while (left := marked_processes(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return list(left.values())


def command(arguments: tuple[str, ...]) -> list[str]:
    """Give the command line of this interpreter."""
    return [sys.executable, "-m", "isoswitch", *arguments]


def environment(mark: str) -> dict[str, str]:
    """Give an environment that finds this code and carries a mark."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "ISOSWITCH_TEST": mark}
