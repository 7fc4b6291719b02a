"""Payment HSMs as one ``Hsm``: several connections to one or more units.

Commands go round the connections in turn. A command that was not answered in time is
sent once more, by another connection: all commands of the port are functions of their
arguments. While no connection is ready, commands wait for one as long as the outage is
younger than the deadline, which bridges a reconnect; after that they fail at once. What
a unit answers, a failed verification too, is final.

The units run commands one by one, so a list of commands takes a round trip for each.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter
from typing import NoReturn

import msgspec
import trio

from isoswitch.codecs.canonical.errors import (
    DecodeError,
    EncodeError,
    HsmError,
    HsmUnavailable,
    NotSupported,
    VerificationFailed,
)
from isoswitch.hsm.groups import ungrouped
from isoswitch.hsm.metrics import OK, CommandMetrics, outcome_of
from isoswitch.hsm.payshield.commands import ELSEWHERE, ROWS, Context
from isoswitch.hsm.payshield.connection import UnitConnection
from isoswitch.hsm.payshield.fields import Layout, Values
from isoswitch.hsm.payshield.keys import UnitKey, UnitKeys
from isoswitch.hsm.payshield.layouts import get_profile
from isoswitch.hsm.payshield.settings import PayshieldSettings
from isoswitch.hsm.payshield.wire import decode_fields, encode_fields, fault_of
from isoswitch.hsm.port import AnyCommand, CheckHealth, Hsm, ListKeys, ReadMetrics

Address = tuple[str, int]
Connect = Callable[[Address], Awaitable[trio.abc.Stream]]


class PayshieldHsm:
    """The ``Hsm`` port over payment HSMs.

    ``maintain`` must run in a task of its own for as long as the client is used.

    Parameters
    ----------
    keys
        What the units wrapped for us.
    data
        Runs the commands that these units do not have in this form: sealing, opening
        and hashing of stored data. Without it they are refused.
    connect
        Opens a stream to a unit; by default over TCP or TLS as the settings say.
    """

    def __init__(
        self,
        settings: PayshieldSettings,
        keys: Iterable[UnitKey],
        *,
        data: Hsm | None = None,
        connect: Connect | None = None,
    ) -> None:
        self._settings = settings
        self._connect = connect or partial(_open_stream, settings)
        self._profile = get_profile(settings.profile)
        self._keys = UnitKeys(keys)
        self._data = data
        self._metrics = CommandMetrics()
        self._connections = [
            (unit, self._connection(unit))
            for _ in range(settings.connections_per_unit)
            for unit in settings.units
        ]
        self._turn = 0
        self._lost_at: float | None = -math.inf
        self._changed = trio.lowlevel.ParkingLot()

    async def run(self, *commands: AnyCommand) -> list[bytes]:
        """Run commands in order; see ``Hsm.run``."""
        results: list[bytes] = []
        last = b""
        for command in commands:
            started = perf_counter()
            name, result = type(command).__name__, OK
            try:
                last = await self._run_one(command, last)
            except (HsmError, VerificationFailed) as fault:
                result = outcome_of(fault)
                raise
            finally:
                self._metrics.count(name, result, perf_counter() - started)
            results.append(last)
        return results

    async def ask(
        self, code: str, values: Values, *, is_repeatable: bool = True
    ) -> Values:
        """Run one host command; gives the fields of its answer.

        Parameters
        ----------
        is_repeatable
            Whether it may be sent again when the first answer did not come; not for
            what makes something new each time.

        Raises
        ------
        HsmError, VerificationFailed
            What the unit's error code stands for.
        HsmUnavailable
            No unit answered in time, or the answer is not as the profile says.
        """
        layout = self._profile.layouts[code]
        try:
            fields = encode_fields(layout.request, self._with_lmk(values))
        except EncodeError as fault:
            raise HsmError(f"command {code}, {fault}") from None
        answer = await self._request(layout, fields, is_repeatable=is_repeatable)
        return _read(layout, answer, values)

    async def maintain(self) -> NoReturn:
        """Keep all connections."""
        async with trio.open_nursery() as nursery:
            for _, connection in self._connections:
                nursery.start_soon(connection.maintain)
            await trio.sleep_forever()

    async def wait_ready(self) -> None:
        """Wait for the first connection.

        Raises
        ------
        HsmUnavailable
            No unit answers within the deadline.
        """
        self._lost_at = trio.current_time()
        await self._choose(trio.current_time() + self._settings.deadline_s)

    async def _run_one(self, command: AnyCommand, last: bytes) -> bytes:
        if type(command) in ELSEWHERE:
            return await self._run_elsewhere(command)
        match command:
            case CheckHealth():
                return await self._check_health(command)
            case ListKeys():
                return await self._list_keys(command)
            case ReadMetrics():
                number = len(self._keys.records)
                return self._metrics.render({"isoswitch_hsm_keys": number}).encode()
        row = ROWS.get(type(command))
        if row is None:
            raise NotSupported(f"payment HSMs do not run {type(command).__name__}")
        context = Context(
            self._keys, self._profile, self._settings.ksn_descriptor, last
        )
        requests = row.requests(command, context)
        for request in requests[:-1]:
            try:
                answer = await self.ask(request.code, request.values)
            except VerificationFailed:
                # A key change is running; the partner may use the other key.
                continue
            return row.result(answer, request)
        answer = await self.ask(requests[-1].code, requests[-1].values)
        return row.result(answer, requests[-1])

    async def _run_elsewhere(self, command: AnyCommand) -> bytes:
        if self._data is None:
            name = type(command).__name__
            raise NotSupported(
                f"payment HSMs do not run {name}, and nothing else is set up"
            )
        return (await self._data.run(command))[0]

    async def _check_health(self, command: CheckHealth) -> bytes:
        _check_lmk(await self.ask("NC", {}), self._settings.lmk_check_value)
        if self._data is not None:
            await self._data.run(command)
        return b""

    async def _list_keys(self, command: ListKeys) -> bytes:
        listing = [
            {
                "name": key.plan.name,
                "version": key.plan.version,
                "state": key.state,
                "kcv": key.kcv,
            }
            for key in self._keys.records
        ]
        if self._data is not None:
            listing += msgspec.json.decode((await self._data.run(command))[0])
        return msgspec.json.encode(listing)

    def _connection(self, unit: Address) -> UnitConnection:
        return UnitConnection(
            partial(self._connect, unit),
            probe=self._probe,
            on_change=self._note_change,
            reconnect_max_s=self._settings.reconnect_max_s,
        )

    async def _probe(self, connection: UnitConnection) -> None:
        layout = self._profile.layouts["NC"]
        deadline = trio.current_time() + self._settings.deadline_s
        answer = await connection.request(layout, b"", deadline=deadline)
        _check_lmk(_read(layout, answer, {}), self._settings.lmk_check_value)

    async def _request(
        self, layout: Layout, fields: bytes, *, is_repeatable: bool
    ) -> bytes:
        now = trio.current_time()
        deadline = now + self._settings.deadline_s
        unit, connection = await self._choose(deadline)
        # Leaves time for another connection when this one does not answer at all.
        first = (now + deadline) / 2 if is_repeatable else deadline
        try:
            return await connection.request(layout, fields, deadline=first)
        except HsmUnavailable:
            if not is_repeatable:
                raise
        _, connection = await self._choose(deadline, avoid=unit)
        return await connection.request(layout, fields, deadline=deadline)

    async def _choose(
        self, deadline: float, *, avoid: Address | None = None
    ) -> tuple[Address, UnitConnection]:
        """Give the next connection that is ready; wait for one in a short outage.

        A unit to avoid is asked only when no other one is ready.
        """
        while True:
            ready = [each for each in self._connections if each[1].is_ready]
            ready = [each for each in ready if each[0] != avoid] or ready
            if ready:
                self._turn += 1
                unit, connection = ready[self._turn % len(ready)]
                if connection.in_flight >= self._settings.in_flight_max:
                    raise HsmUnavailable("too many commands wait for the payment HSM")
                return unit, connection
            lost_at = self._lost_at if self._lost_at is not None else deadline
            bridged_until = min(deadline, lost_at + self._settings.deadline_s)
            if trio.current_time() >= bridged_until:
                raise HsmUnavailable("no payment HSM is available")
            with trio.move_on_at(bridged_until):
                await self._changed.park()

    def _note_change(self) -> None:
        """Remember since when no connection is ready, and wake who waits for one."""
        if any(connection.is_ready for _, connection in self._connections):
            self._lost_at = None
        elif self._lost_at is None:
            self._lost_at = trio.current_time()
        self._changed.unpark_all()

    def _with_lmk(self, values: Values) -> Values:
        lmk = self._settings.lmk
        return {**values, "lmk": lmk} if lmk else values


@asynccontextmanager
async def open_payshield(
    settings: PayshieldSettings,
    keys: Iterable[UnitKey],
    *,
    data: Hsm | None = None,
    connect: Connect | None = None,
) -> AsyncIterator[PayshieldHsm]:
    """Connect to payment HSMs for the length of a block.

    Raises
    ------
    HsmUnavailable
        None of them answers.
    """
    client = PayshieldHsm(settings, keys, data=data, connect=connect)
    with ungrouped():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.maintain)
            await client.wait_ready()
            yield client
            nursery.cancel_scope.cancel()


async def _open_stream(settings: PayshieldSettings, unit: Address) -> trio.abc.Stream:
    host, port = unit
    try:
        with trio.fail_after(settings.deadline_s):
            stream = await trio.open_tcp_stream(host, port)
            if settings.tls is None:
                return stream
            return await _secured(
                trio.SSLStream(stream, settings.tls, server_hostname=host)
            )
    except (OSError, trio.TooSlowError, trio.BrokenResourceError):
        raise HsmUnavailable("the payment HSM does not take connections") from None


async def _secured(stream: trio.SSLStream[trio.SocketStream]) -> trio.abc.Stream:
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


def _read(layout: Layout, answer: bytes, request: Values) -> Values:
    """Read error code and fields of an answer."""
    error = answer[:2].decode("ascii", "replace")
    unreadable = f"the answer to {layout.code} is not as its profile says"
    if len(error) != 2 or not error.isalnum():
        raise HsmUnavailable(unreadable)
    fault = fault_of(layout, error)
    if fault is not None:
        raise fault
    try:
        return decode_fields(layout.response, answer[2:], request)
    except DecodeError as wrong:
        raise HsmUnavailable(f"{unreadable}: {wrong}") from None


def _check_lmk(answer: Values, expected: str) -> None:
    """Refuse a unit that holds another local master key than ours."""
    value = answer["lmk check value"]
    assert isinstance(value, bytes), "the layout says so"
    if not value.hex().upper().startswith(expected.upper()):
        raise HsmUnavailable("the payment HSM holds another local master key")
