"""Orders to a running switch, over a unix socket that only its user can reach.

One JSON object per line each way: what is asked for, and what came of it::

    {"order": "exchange keys", "endpoint": "north", "operator": "ann"}
    {"changes": [{"key": "north/zpk", "version": 2, ...}], "fault": ""}
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import msgspec
import structlog
import trio

from isoswitch.codecs.canonical.errors import ConfigError, IsoswitchError
from isoswitch.switch.keyexchange import Change
from isoswitch.switch.server import Switch

LINE_BYTES_MAX = 4096
CONNECTIONS_MAX = 8
PATIENCE_S = 60.0

log = structlog.get_logger()


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator wants."""

    order: Literal["exchange keys"] = "exchange keys"
    endpoint: str
    operator: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an order; ``fault`` says why nothing did."""

    changes: list[Change] = []
    fault: str = ""


def control_path(store: Path) -> Path:
    """Give the socket of the switch that keeps this store."""
    return store.with_suffix(".control")


async def serve_control(
    switch: Switch,
    path: Path,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Take orders until cancelled."""
    limit = trio.CapacityLimiter(CONNECTIONS_MAX)
    with _listening(path) as listener:
        listening = trio.socket.from_stdlib_socket(listener)
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                sock, _ = await listening.accept()
                nursery.start_soon(_serve, switch, trio.SocketStream(sock), limit)


async def send_order(path: Path, order: Order) -> list[Change]:
    """Give an order to a running switch and wait for what comes of it.

    Raises
    ------
    ConfigError
        No switch listens there, or it does not carry out the order; says why.
    """
    line = b""
    try:
        async with await trio.open_unix_socket(os.fspath(path)) as stream:
            with trio.fail_after(PATIENCE_S):
                await stream.send_all(msgspec.json.encode(order) + b"\n")
                async for data in stream:
                    line += data
        report = msgspec.json.decode(line, type=Report)
    except (OSError, trio.BrokenResourceError, msgspec.MsgspecError):
        msg = f"no switch takes orders at {path}; start it with `isoswitch serve`"
        raise ConfigError(msg) from None
    except trio.TooSlowError:
        msg = "the switch does not answer; its log tells what it waits for"
        raise ConfigError(msg) from None
    if report.fault:
        raise ConfigError(report.fault)
    return report.changes


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """Listen on a socket of mode 0600; only one switch has this store."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        previous = os.umask(0o177)
        try:
            listener.bind(os.fspath(path))
        finally:
            os.umask(previous)
        listener.listen(CONNECTIONS_MAX)
        listener.setblocking(False)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


async def _serve(
    switch: Switch, stream: trio.SocketStream, limit: trio.CapacityLimiter
) -> None:
    """Carry out the one order of a connection."""
    with suppress(trio.BrokenResourceError, trio.TooSlowError):
        async with stream, limit:
            with trio.fail_after(PATIENCE_S):
                report = await _carry_out(switch, await _read_line(stream))
                await stream.send_all(msgspec.json.encode(report) + b"\n")


async def _read_line(stream: trio.SocketStream) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) <= LINE_BYTES_MAX:
        data = await stream.receive_some(LINE_BYTES_MAX)
        if not data:
            break
        line += data
    return line


async def _carry_out(switch: Switch, line: bytes) -> Report:
    try:
        order = msgspec.json.decode(line, type=Order)
    except msgspec.MsgspecError:
        return Report(fault="not an order")
    if switch.services is None:
        return Report(fault="the switch is starting; order again when it is ready")
    try:
        changes = await switch.keys.order(
            switch.services, order.endpoint, operator=order.operator
        )
    except IsoswitchError as error:
        log.error("order_not_done", order=order.order, reason=str(error))
        return Report(fault=str(error))
    return Report(changes=changes)
