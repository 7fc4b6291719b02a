"""A PostgreSQL server of one's own: Debian's programs over a folder, on a local socket.

For a network on one machine and for tests; nobody else can connect to it, because only
its owner may enter its folder. As root it runs as ``postgres``, as PostgreSQL demands.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

from isoswitch.codecs.canonical.errors import IsoswitchError

PROGRAMS = Path("/usr/lib/postgresql")
OWNER = "postgres"
DATABASE = "isoswitch"
START_S = 30


class NoDatabase(IsoswitchError):
    """No PostgreSQL is installed here, or it does not start."""


def find_programs() -> Path:
    """Give the folder of the newest PostgreSQL installed.

    Raises
    ------
    NoDatabase
        There is none; says how to install it.
    """
    found = sorted(
        PROGRAMS.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3])
    )
    if not found:
        msg = f"no PostgreSQL below {PROGRAMS}: .ci/packages postgresql installs it"
        raise NoDatabase(msg)
    return found[-1].parent


class LocalServer:
    """A server over a folder; nothing runs before `start`.

    Parameters
    ----------
    folder
        Where everything of it lies; made, with its database, when it is not there.
    settings
        Lines of ``postgresql.conf`` besides the usual ones.
    """

    def __init__(self, folder: Path, *, settings: str = "") -> None:
        self.folder = folder.resolve()
        self._programs = find_programs()
        self._settings = settings
        # PostgreSQL refuses to run as root.
        self._user = OWNER if os.geteuid() == 0 else None

    @property
    def data(self) -> Path:
        """Where the server keeps its files."""
        return self.folder / "data"

    def url(self, database: str = DATABASE) -> str:
        """Give the address of a database of this server."""
        user = self._user or pwd.getpwuid(os.geteuid()).pw_name
        return f"postgresql:///{database}?host={self.folder}&user={user}"

    def prepare(self) -> None:
        """Make folder and server files where there are none."""
        self.make_folder()
        if not (self.data / "PG_VERSION").exists():
            self.run("initdb", "-D", self.data, "--auth=trust", "-E", "UTF8", "-N")
        self.configure(self._settings)

    def make_folder(self) -> None:
        """Make the folder, which nobody but the server's user may enter."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._user:
            owner = pwd.getpwnam(self._user)
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)

    def configure(self, settings: str) -> None:
        """Write the settings in place of those before; takes effect at a start."""
        usual = (
            "listen_addresses = ''\n"
            f"unix_socket_directories = '{self.folder}'\n"
            "unix_socket_permissions = 0700\n"
        )
        path = self.data / "isoswitch.conf"
        path.write_text(usual + settings, encoding="utf-8")
        path.chmod(0o644)
        main = self.data / "postgresql.conf"
        line = f"include '{path.name}'\n"
        if line not in main.read_text(encoding="utf-8"):
            with main.open("a", encoding="utf-8") as file:
                file.write(line)

    def start(self) -> None:
        """Start the server and wait until it takes connections.

        Raises
        ------
        NoDatabase
            It does not; says what it said.
        """
        log = self.folder / "server.log"
        self.run("pg_ctl", "-D", self.data, "-l", log, "-w", "-t", START_S, "start")

    def stop(self, mode: str = "fast") -> None:
        """End the server: ``fast`` in order, ``immediate`` as a kill would."""
        self.run("pg_ctl", "-D", self.data, "-m", mode, "-w", "stop")

    def create(self, database: str = DATABASE) -> None:
        """Make a database, where there is none of this name."""
        query = f"SELECT 1 FROM pg_database WHERE datname = '{database}'"  # noqa: S608 (a name of ours)
        found = self.run("psql", "-tAc", query, self.url("postgres"))
        if not found.strip():
            self.run("createdb", "--maintenance-db", self.url("postgres"), database)

    def run(self, program: str, *arguments: str | Path | int) -> str:
        """Run a program of PostgreSQL as the server's user; give what it printed.

        Raises
        ------
        NoDatabase
            It failed; says what it said.
        """
        command = [str(self._programs / program), *map(str, arguments)]
        if self._user:
            user = (f"--reuid={self._user}", f"--regid={self._user}", "--init-groups")
            command = ["setpriv", *user, *command]
        # A server that is started keeps what it was given to write to.
        output = subprocess.DEVNULL if program == "pg_ctl" else subprocess.PIPE
        done = subprocess.run(  # noqa: S603 (PostgreSQL's own programs, no shell)
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
            check=False,
            cwd="/",
        )
        if done.returncode:
            said = (done.stderr or self._log_tail()).strip()
            msg = f"{program} failed: {said}"
            raise NoDatabase(msg)
        return done.stdout or ""

    def _log_tail(self) -> str:
        log = self.folder / "server.log"
        if not log.exists():
            return "no log"
        return "\n".join(log.read_text(encoding="utf-8").splitlines()[-5:])
