"""The process that works one token: hardened, fail-stop, started by the supervisor.

It inherits the listening socket and gets its orders as one line of JSON on standard
input, which stays open: its end means that the supervisor is gone. It reports on
standard output in lines::

    ready 27            connections are served, 27 keys are loaded
    replace             the token failed, or too many session objects were made
    failed <reason>     it cannot start
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec
import structlog
import trio

from isoswitch.codecs.canonical.errors import ConfigError, HsmError
from isoswitch.hsm.daemon import Daemon
from isoswitch.hsm.hardening import drop_privileges, harden_process
from isoswitch.hsm.logs import configure_logs
from isoswitch.hsm.pkcs11_engine import Pkcs11Engine
from isoswitch.hsm.settings import HsmdSettings
from isoswitch.hsm.token import open_engine, open_service

_STDIN = 0
_WEAR_CHECK_S = 1.0

log = structlog.get_logger()


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told: its token and the inherited socket."""

    settings: HsmdSettings
    token: int
    listener: int


def encode_orders(orders: Orders) -> bytes:
    """Give the line of JSON that orders a worker."""
    return msgspec.json.encode(orders, enc_hook=str) + b"\n"


def decode_orders(line: bytes) -> Orders:
    """Read the line of JSON that orders a worker."""
    return msgspec.json.decode(line, type=Orders, dec_hook=_decode_path)


async def work(orders: Orders) -> None:
    """Serve one token until SIGTERM, or until the supervisor is gone.

    Raises
    ------
    ConfigError, HsmError
        Why it cannot start.
    """
    settings = orders.settings
    if settings.user:
        drop_privileges(settings.user)
    # Changing the user would make the process dumpable again, so this comes after.
    if not harden_process():
        log.info("memory may be swapped", fix="LimitMEMLOCK=infinity or CAP_IPC_LOCK")
    engine = open_engine(settings.tokens[orders.token])
    service = open_service(engine, settings.keys_file, settings.environment)
    worn_out = trio.Event()
    daemon = Daemon(service, settings, on_unavailable=worn_out.set)
    listener = socket.socket(fileno=orders.listener)
    listener.setblocking(False)
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            await nursery.start(daemon.run, listener)
            _report(f"ready {service.keys_loaded}")
            nursery.start_soon(_report_wear, engine, settings.objects_max, worn_out)
            nursery.start_soon(_wait_orphaned, nursery.cancel_scope)
            await signals.__anext__()
            nursery.cancel_scope.cancel()


def main() -> int:
    """Run a worker; the supervisor's ``python -m`` entry."""
    # An interrupt from the keyboard is the supervisor's to act on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure_logs()
    try:
        trio.run(work, decode_orders(_read_line(_STDIN)))
    except (ConfigError, HsmError) as fault:
        _report(f"failed {fault}")
        return 1
    return 0


async def _report_wear(
    engine: Pkcs11Engine, objects_max: int, worn_out: trio.Event
) -> None:
    """Ask for a replacement once the token failed or enough objects were made."""
    limit = engine.objects_created + objects_max
    while not worn_out.is_set() and engine.objects_created < limit:
        with trio.move_on_after(_WEAR_CHECK_S):
            await worn_out.wait()
    _report("replace")


async def _wait_orphaned(worker: trio.CancelScope) -> None:
    """End the worker when standard input ends, and the supervisor with it."""
    await trio.lowlevel.wait_readable(_STDIN)
    worker.cancel()


def _report(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _read_line(descriptor: int) -> bytes:
    """Read up to the line's end without buffering what follows."""
    line = b""
    while not line.endswith(b"\n"):
        octets = os.read(descriptor, 65_536)
        if not octets:
            raise ConfigError("a worker is started by the supervisor only")
        line += octets
    return line


def _decode_path(kind: type, value: object) -> Any:
    if kind is Path:
        return Path(str(value))
    msg = f"a setting of type {kind.__name__} cannot travel to a worker"
    raise TypeError(msg)


if __name__ == "__main__":
    sys.exit(main())
