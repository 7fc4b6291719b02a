"""Orders to a running switch, over a unix socket that only its user can reach.

One JSON object per line each way: what is asked for, and what came of it::

    {"order": "exchange keys", "endpoint": "north", "operator": "ann"}
    {"result": [{"key": "north/zpk", "version": 2, ...}], "fault": ""}
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import structlog
import trio

from isoswitch.clearing.receipt import Receipt
from isoswitch.codecs.canonical.errors import (
    ConfigError,
    IsoswitchError,
    OrderUnanswered,
    SwitchUnavailable,
)
from isoswitch.journal.records import RecordKind
from isoswitch.switch.callbacks import replay_callback
from isoswitch.switch.health import Part
from isoswitch.switch.keyexchange import Change
from isoswitch.switch.linkorders import LinkOrder, carry_out
from isoswitch.switch.linkstate import LinkStatus
from isoswitch.switch.reload import Reloader
from isoswitch.switch.saforders import park_entry, resolve_exception, retry_entry
from isoswitch.switch.server import Switch
from isoswitch.switch.services import Services
from isoswitch.switch.sockets import accept_forever
from isoswitch.switch.status import Status, read_status

LINE_BYTES_MAX = 4096
CONNECTIONS_MAX = 8
PATIENCE_S = 60.0

T = TypeVar("T")
# What a store can number.
RowId = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]

log = structlog.get_logger()


class Order(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="order",
):
    """What an operator wants."""

    operator: str


class ExchangeKeys(Order, frozen=True, kw_only=True, tag="exchange keys"):
    """Change the working keys of a link now."""

    endpoint: str


class ConfirmClock(Order, frozen=True, kw_only=True, tag="confirm clock"):
    """Trust the clock as it stands."""


class ReadStatus(Order, frozen=True, kw_only=True, tag="status"):
    """Tell how the switch stands."""


class ReadLinks(Order, frozen=True, kw_only=True, tag="links"):
    """Tell how the links stand."""


class OrderLink(Order, frozen=True, kw_only=True, tag="link"):
    """Suspend or resume a link, sign it off or on."""

    endpoint: str
    act: LinkOrder


class CutDay(Order, frozen=True, kw_only=True, tag="cut day"):
    """End the open business day now."""


class Reload(Order, frozen=True, kw_only=True, tag="reload"):
    """Change to the configuration as its file stands now, or tell what would change."""

    dry_run: bool = False


class RetrySaf(Order, frozen=True, kw_only=True, tag="saf retry"):
    """Send a store-and-forward entry now."""

    entry: RowId


class ParkSaf(Order, frozen=True, kw_only=True, tag="saf park"):
    """Set a store-and-forward entry aside."""

    entry: RowId
    reason: str


class ResolveException(Order, frozen=True, kw_only=True, tag="resolve exception"):
    """Write down that an exception was dealt with."""

    exception: RowId
    note: str


class ReturnReceipt(Order, frozen=True, kw_only=True, tag="return receipt"):
    """Give a transfer back that was received."""

    receipt: str
    reason: str


class ReplayCallback(Order, frozen=True, kw_only=True, tag="replay callback"):
    """Send a merchant's callback again."""

    callback: str


AnyOrder = (
    ReplayCallback
    | ReturnReceipt
    | ExchangeKeys
    | ConfirmClock
    | ReadStatus
    | ReadLinks
    | OrderLink
    | CutDay
    | Reload
    | RetrySaf
    | ParkSaf
    | ResolveException
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Who carries orders out: the switch, and what changes its configuration."""

    switch: Switch
    reloader: Reloader | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an order; ``fault`` says why nothing did."""

    result: Any = None
    fault: str = ""


def control_path(store: Path) -> Path:
    """Give the socket of the switch that keeps this store."""
    return store.with_suffix(".control")


async def serve_control(
    desk: Desk,
    path: Path,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Take orders until cancelled."""
    limit = trio.CapacityLimiter(CONNECTIONS_MAX)
    with _listening(path) as listener:
        async with trio.open_nursery() as nursery:

            def accepted(sock: socket.socket) -> None:
                stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
                nursery.start_soon(_serve, desk, stream, limit)

            task_status.started()
            await accept_forever(listener, accepted)


async def send_order(path: Path, order: AnyOrder, result: type[T]) -> T:
    """Give an order to a running switch and wait for what comes of it.

    Raises
    ------
    SwitchUnavailable
        No switch listens there.
    OrderUnanswered
        It has taken the order, and may have carried it out.
    ConfigError
        It does not carry out the order; says why.
    """
    line = b""
    try:
        stream = await trio.open_unix_socket(os.fspath(path))
    except OSError:
        msg = f"no switch takes orders at {path}"
        raise SwitchUnavailable(msg) from None
    try:
        async with stream:
            with trio.fail_after(PATIENCE_S):
                await stream.send_all(msgspec.json.encode(order) + b"\n")
                async for data in stream:
                    line += data
        report = msgspec.json.decode(line, type=Report)
        if not report.fault:
            return msgspec.convert(report.result, result)
    except (trio.BrokenResourceError, trio.TooSlowError, msgspec.MsgspecError):
        msg = f"the switch at {path} does not say what came of the order"
        raise OrderUnanswered(msg) from None
    raise ConfigError(report.fault)


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
    desk: Desk, stream: trio.SocketStream, limit: trio.CapacityLimiter
) -> None:
    """Carry out the one order of a connection."""
    with suppress(trio.BrokenResourceError, trio.TooSlowError):
        async with stream, limit:
            with trio.fail_after(PATIENCE_S):
                report = await _carry_out(desk, await _read_line(stream))
                await stream.send_all(msgspec.json.encode(report) + b"\n")


async def _read_line(stream: trio.SocketStream) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) <= LINE_BYTES_MAX:
        data = await stream.receive_some(LINE_BYTES_MAX)
        if not data:
            break
        line += data
    return line


async def _carry_out(desk: Desk, line: bytes) -> Report:
    try:
        order = msgspec.json.decode(line, type=AnyOrder)
    except msgspec.MsgspecError as error:
        return Report(fault=f"not an order: {error}")
    if desk.switch.services is None:
        return Report(fault="the switch is starting; order again when it is ready")
    try:
        result = await HANDLERS[type(order)](desk, desk.switch.services, order)
    except IsoswitchError as error:
        log.error("order_not_done", order=type(order).__name__, reason=str(error))
        return Report(fault=str(error))
    except Exception:
        # The edge of an order: a fault of ours fails this one, and nothing else.
        log.exception("order_failed", order=type(order).__name__)
        return Report(
            fault="it failed by a fault of ours, which the switch's log tells"
        )
    return Report(result=result)


async def _exchange_keys(
    desk: Desk, services: Services, order: ExchangeKeys
) -> list[Change]:
    return await desk.switch.keys.order(
        services, order.endpoint, operator=order.operator
    )


async def _confirm_clock(desk: Desk, services: Services, order: ConfirmClock) -> bool:
    """Give whether there was anything to confirm."""
    if not services.health.has(Part.CLOCK):
        return False
    body = {"order": "confirm clock", "operator": order.operator}
    await services.recorder.note(RecordKind.OPERATOR, "", body)
    services.health.confirm_clock()
    return True


async def _read_status(desk: Desk, services: Services, order: ReadStatus) -> Status:
    return read_status(desk.switch)


async def _read_links(
    desk: Desk, services: Services, order: ReadLinks
) -> list[LinkStatus]:
    return [link.status() for link in services.links.values()]


async def _order_link(desk: Desk, services: Services, order: OrderLink) -> LinkStatus:
    return await carry_out(services, order.act, order.endpoint, operator=order.operator)


async def _cut_day(desk: Desk, services: Services, order: CutDay) -> str:
    """Give the date of the day that is open now."""
    body = {"order": "cut day", "operator": order.operator, "date": services.days.date}
    await services.recorder.note(RecordKind.OPERATOR, "", body)
    return await services.days.cut(reason=f"operator {order.operator}")


async def _replay_callback(
    desk: Desk, services: Services, order: ReplayCallback
) -> str:
    """Give the id of the callback that goes out again."""
    owed = await replay_callback(services, order.callback, operator=order.operator)
    return owed.id


async def _return_receipt(desk: Desk, services: Services, order: ReturnReceipt) -> str:
    """Give the state of the received transfer then."""
    receipts = desk.switch.receipts
    receipt = await services.store.find_row(Receipt, order.receipt)
    if receipts is None or receipt is None:
        msg = f"there is no received transfer {order.receipt}"
        raise ConfigError(msg)
    body = {"order": "return", "operator": order.operator, "reason": order.reason}
    await services.recorder.note(RecordKind.OPERATOR, receipt.transaction_id, body)
    returned = await receipts.give_back(receipt, order.reason)
    return returned.state


async def _reload(desk: Desk, services: Services, order: Reload) -> list[str]:
    if desk.reloader is None:
        msg = "this switch was not started from a file; there is none to read again"
        raise ConfigError(msg)
    return await desk.reloader.reload(operator=order.operator, dry_run=order.dry_run)


async def _retry_saf(desk: Desk, services: Services, order: RetrySaf) -> str:
    """Give the endpoint it goes to."""
    assert desk.switch.saf is not None, "a switch that takes orders has begun"
    entry = await retry_entry(
        services, desk.switch.saf, order.entry, operator=order.operator
    )
    return entry.endpoint


async def _park_saf(desk: Desk, services: Services, order: ParkSaf) -> str:
    """Give the endpoint it does not go to."""
    assert desk.switch.saf is not None, "a switch that takes orders has begun"
    entry = await park_entry(
        services,
        desk.switch.saf,
        order.entry,
        reason=order.reason,
        operator=order.operator,
    )
    return entry.endpoint


async def _resolve_exception(
    desk: Desk, services: Services, order: ResolveException
) -> str:
    """Give the transaction that it was about."""
    return await resolve_exception(
        services, order.exception, note=order.note, operator=order.operator
    )


Handler = Callable[[Desk, Services, Any], Awaitable[Any]]

HANDLERS: Mapping[type[Order], Handler] = {
    ExchangeKeys: _exchange_keys,
    ConfirmClock: _confirm_clock,
    ReadStatus: _read_status,
    ReadLinks: _read_links,
    OrderLink: _order_link,
    CutDay: _cut_day,
    Reload: _reload,
    ReplayCallback: _replay_callback,
    ReturnReceipt: _return_receipt,
    RetrySaf: _retry_saf,
    ParkSaf: _park_saf,
    ResolveException: _resolve_exception,
}
