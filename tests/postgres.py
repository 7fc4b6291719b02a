"""A real PostgreSQL for tests, where Debian's programs are installed."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from isoswitch.commands.database import LocalServer, NoDatabase, find_programs
from isoswitch.store.place import DatabaseUrl

# No commit is answered before a standby has it.
STANDBY_DEMANDED = "synchronous_standby_names = '*'\n"

_numbers = itertools.count(1)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder that another user may be given, with a path short for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="isoswitch-pg-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def running_server(folder: Path, *, settings: str = "") -> Iterator[LocalServer]:
    """Run a server over a folder, or skip the test where there is none."""
    try:
        find_programs()
    except NoDatabase as exc:
        pytest.skip(str(exc))
    server = LocalServer(folder, settings=settings)
    server.prepare()
    server.start()
    try:
        yield server
    finally:
        if (server.data / "postmaster.pid").exists():
            server.stop("immediate")


def new_database(server: LocalServer) -> DatabaseUrl:
    """Make an empty database."""
    name = f"test{next(_numbers)}"
    server.create(name)
    return DatabaseUrl(server.url(name))


def start_standby(primary: LocalServer, folder: Path) -> LocalServer:
    """Copy a running server and let the copy follow it; every commit waits for it."""
    standby = LocalServer(folder)
    standby.make_folder()
    copy = ("-D", standby.data, "-R", "-X", "stream", "--checkpoint=fast")
    primary.run("pg_basebackup", *copy, "-d", primary.url("postgres"))
    standby.configure("")
    standby.start()
    reconfigure(primary, STANDBY_DEMANDED)
    return standby


def reconfigure(server: LocalServer, settings: str) -> None:
    """Let a running server take other settings, which it does soon."""
    server.configure(settings)
    server.run("pg_ctl", "-D", server.data, "reload")


def promote(standby: LocalServer) -> None:
    """Make a standby take writes."""
    standby.run("pg_ctl", "-D", standby.data, "-w", "promote")


@pytest.fixture(scope="session")
def postgres() -> Iterator[LocalServer]:
    """Run one server for all tests of this process."""
    with temporary_folder() as folder, running_server(folder / "server") as server:
        yield server
