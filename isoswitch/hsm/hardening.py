"""What the crypto process gives up before it touches a key."""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import socket
import struct
from contextlib import suppress
from pathlib import Path

import trio

from isoswitch.codecs.canonical.errors import ConfigError

_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_MCL_CURRENT = 1
_MCL_FUTURE = 2
# Pages are locked when they are first used, not all that could ever be.
_MCL_ONFAULT = 4
_CAP_IPC_LOCK = 14
_UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def harden_process() -> bool:
    """Forbid core dumps, debuggers and new privileges; stay out of swap if allowed.

    Gives whether no memory of this process is ever swapped.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_DUMPABLE, 0), (_PR_SET_NO_NEW_PRIVS, 1)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl refuses to harden the process")
    # Under a limit on locked memory later allocations would fail.
    if not _may_lock_all():
        return False
    flags = _MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT
    return bool(libc.mlockall(flags) == 0)


def drop_privileges(user: str) -> None:
    """Become another user for good; for processes that root starts.

    Whoever may, takes along the right to lock all memory.

    Raises
    ------
    ConfigError
        There is no such user, or we may not become it.
    """
    try:
        entry = pwd.getpwnam(user)
        # Who may not lift the limit runs with memory that may be swapped, and says so.
        with suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, _UNLIMITED)
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except (KeyError, PermissionError):
        msg = f"the crypto process cannot become user {user}; start it as root"
        raise ConfigError(msg) from None


def is_same_user(sock: trio.socket.SocketType) -> bool:
    """Whether the process at the other end of a unix socket runs as our user."""
    size = struct.calcsize("3i")
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, uid, _ = struct.unpack("3i", credentials)
    return bool(uid == os.getuid())


def _may_lock_all() -> bool:
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        return True
    status = Path("/proc/self/status").read_text()
    (capabilities,) = (
        int(line.split()[1], 16)
        for line in status.splitlines()
        if line.startswith("CapEff:")
    )
    return bool(capabilities >> _CAP_IPC_LOCK & 1)
