"""The SQLite store in a process of its own that dies: by kill -9, and by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from isoswitch.store.grouped import EXIT_STORE_FAILED
from isoswitch.store.inspection import inspect_store
from isoswitch.store.reader import open_reader

pytestmark = pytest.mark.live

KILLS = 10
SEED = 4

# Prints the number of each purchase once its second unit is durable.
PAYING = """
import sys
from functools import partial
from pathlib import Path

import trio

from isoswitch.store.sqlite import open_sqlite_store
from tests.store.units import closing, opening

async def pay(store, name):
    for number in range(1_000_000):
        await store.commit(opening(f"{name}-{number}"))
        await store.commit(closing(f"{name}-{number}"))
        print(f"{name}-{number}", flush=True)

async def main():
    async with open_sqlite_store(Path(sys.argv[1])) as store:
        async with trio.open_nursery() as nursery:
            for task in range(8):
                nursery.start_soon(pay, store, f"{sys.argv[2]}-{task}")

trio.run(main)
"""

# The disk breaks at the second purchase; the default hook ends the process.
BREAKING = """
import sys
from pathlib import Path

import trio

from isoswitch.store.sqlite import open_sqlite_store
from tests.store.disks import mounted
from tests.store.units import opening

async def main():
    with mounted("breaking") as disk:
        async with open_sqlite_store(Path(sys.argv[1]), vfs=disk.name) as store:
            await store.commit(opening("1"))
            print("first is durable", flush=True)
            disk.is_broken = True
            await store.commit(opening("2"))
            print("second is durable", flush=True)

trio.run(main)
"""

OPENING = """
import sys
from pathlib import Path

import trio

from isoswitch.codecs.canonical.errors import StoreUnavailable
from isoswitch.store.sqlite import open_sqlite_store

async def main():
    async with open_sqlite_store(Path(sys.argv[1])):
        pass

try:
    trio.run(main)
except StoreUnavailable as exc:
    print(exc)
"""


def _python(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    random = Random(SEED)
    acknowledged: list[str] = []
    for life in range(KILLS):
        with _python(PAYING, str(path), str(life)) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(random.randrange(1, 200))]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
        # The last line may be cut by the kill.
        acknowledged += [line.strip() for line in lines if line.endswith("\n")]
        verdict = inspect_store(path)
        assert verdict.is_sound, f"seed {SEED}, life {life}: {verdict}"
    with open_reader(path) as reader:
        closed = {found.id for found in reader.transactions(state="closed", limit=-1)}
    assert len(acknowledged) > KILLS
    assert set(acknowledged) <= closed, f"seed {SEED}"


def test_an_fsync_error_ends_the_process_before_it_answers(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with _python(BREAKING, str(path)) as process:
        output, _ = process.communicate(timeout=30)
    assert process.returncode == EXIT_STORE_FAILED
    assert "first is durable" in output
    assert "store_failed" in output
    assert "second is durable" not in output
    assert inspect_store(path).is_sound


def test_a_second_process_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with _python(PAYING, str(path), "first") as first:
        assert first.stdout is not None
        first.stdout.readline()
        with _python(OPENING, str(path)) as second:
            output, _ = second.communicate(timeout=30)
        first.kill()
    assert output == (
        f"store {path} is in use by process {first.pid}; "
        "stop that one, or give this one a store of its own\n"
    )
    with _python(OPENING, str(path)) as third:
        output, _ = third.communicate(timeout=30)
    assert (third.returncode, output) == (os.EX_OK, "")
