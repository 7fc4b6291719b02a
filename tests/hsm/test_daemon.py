"""The daemon and its client in one process, over a real socket."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from isoswitch.codecs.canonical.errors import HsmError, HsmUnavailable, MacMismatch
from isoswitch.hsm.client import HsmClient, open_hsm
from isoswitch.hsm.connection import Connection, ConnectionBusy
from isoswitch.hsm.daemon import Daemon
from isoswitch.hsm.keytable import KeyTable, form_record
from isoswitch.hsm.knownanswers import KnownAnswers
from isoswitch.hsm.port import AnyCommand, CheckHealth, GenerateMac, VerifyMac
from isoswitch.hsm.service import CryptoService
from isoswitch.hsm.settings import HsmdSettings
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.vault import Vault
from isoswitch.hsm.wire import FrameBuffer, Request, decode_replies, encode, frame
from tests.hsm.softhsm import PLANS, VALUES

pytestmark = pytest.mark.live

MAC = GenerateMac(key="n/zak", data=b"Now is the time for all ")
MAC_VALUE = bytes.fromhex("a1c72e74ea3fa9b6")
REQUEST = frame([encode(Request(1, [MAC]))], bytes_max=65_536)


def software_service() -> CryptoService:
    vault = Vault.of_value(SoftwareEngine(), VALUES["store/hash"])
    records = [
        form_record(vault, each, VALUES[each.name], created="") for each in PLANS
    ]
    return CryptoService(KeyTable(vault, records), KnownAnswers(vault.engine))


class FaultyService(CryptoService):
    """A service over a token with a fault that a test puts in."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.result = b""

    def execute(self, commands: Sequence[AnyCommand]) -> list[bytes]:
        if self.fault is not None:
            raise self.fault
        return [self.result for _ in commands]


@asynccontextmanager
async def serving(
    path: Path, service: CryptoService, **limits: float
) -> AsyncIterator[list[str]]:
    """Serve during the block; gives the calls of ``on_unavailable``."""
    calls: list[str] = []
    settings = HsmdSettings(socket=path, keys_file=path, tokens=())
    settings = replace(settings, **limits)  # type: ignore[arg-type] ints and floats
    daemon = Daemon(service, settings, on_unavailable=lambda: calls.append("x"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))
        listener.listen()
        listener.setblocking(False)
        async with trio.open_nursery() as nursery:
            await nursery.start(daemon.run, listener)
            yield calls
            nursery.cancel_scope.cancel()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hsmd.sock"


async def test_commands_run_over_the_socket(path: Path) -> None:
    async with serving(path, software_service()) as calls, open_hsm(path) as hsm:
        assert await hsm.run(MAC, CheckHealth()) == [MAC_VALUE, b""]
        with pytest.raises(MacMismatch):
            await hsm.run(VerifyMac(key="n/zak", data=b"", mac=bytes(8)))
        assert calls == []


async def test_a_lost_token_is_reported_and_the_breaker_closes_again(
    path: Path,
) -> None:
    service = FaultyService()
    async with serving(path, service) as calls, open_hsm(path) as hsm:
        service.fault = HsmUnavailable("no token")
        with pytest.raises(HsmUnavailable, match="no token"):
            await hsm.run(MAC)
        assert calls
        assert hsm._nodes[0].failed_at is not None
        service.fault = None
        with trio.fail_after(5):
            while hsm._nodes[0].failed_at is not None:
                await trio.sleep(0.01)
        assert await hsm.run(MAC) == [b""]


async def test_a_bug_in_a_command_ends_nobody(path: Path) -> None:
    service = FaultyService()
    async with serving(path, service) as calls, open_hsm(path) as hsm:
        service.fault = RuntimeError("PIN 1234")
        with pytest.raises(HsmError, match="internal fault"):
            await hsm.run(MAC)
        service.fault = None
        assert await hsm.run(MAC) == [b""]
        assert calls == []


async def test_results_longer_than_a_frame_are_refused(path: Path) -> None:
    service = FaultyService()
    service.result = bytes(70_000)
    async with serving(path, service), open_hsm(path) as hsm:
        with pytest.raises(HsmError, match="longer"):
            await hsm.run(MAC)


async def test_requests_of_one_frame_are_answered_one_by_one(path: Path) -> None:
    wrong = VerifyMac(key="n/zak", data=b"", mac=bytes(8))
    requests = [Request(7, [MAC]), Request(8, [wrong]), Request(9, [MAC, MAC])]
    async with serving(path, software_service()):
        stream = await trio.open_unix_socket(os.fspath(path))
        async with stream:
            await stream.send_all(frame([*map(encode, requests)], bytes_max=65_536))
            with trio.fail_after(5):
                answer = bytes(await stream.receive_some())
    (body,) = FrameBuffer(bytes_max=65_536).feed(answer)
    replies = {reply.number: reply for reply in decode_replies(body)}
    assert replies[7].unwrap() == [MAC_VALUE]
    with pytest.raises(MacMismatch):
        replies[8].unwrap()
    assert replies[9].unwrap() == [MAC_VALUE] * 2


async def test_requests_of_more_than_a_frame_together_are_all_answered(
    path: Path,
) -> None:
    service = FaultyService()
    service.result = bytes(9_000)
    # So much at once that the socket does not take it at once either.
    large = GenerateMac(key="n/zak", data=bytes(60_000))
    lengths: list[int] = []

    async def ask(hsm: HsmClient) -> None:
        (result,) = await hsm.run(large)
        lengths.append(len(result))

    async with (
        serving(path, service),
        open_hsm(path) as hsm,
        trio.open_nursery() as nursery,
    ):
        for _ in range(20):
            nursery.start_soon(ask, hsm)
    assert lengths == [9_000] * 20


async def test_another_user_is_not_served(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(path, software_service()):
        uid = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: uid + 1)
        stream = await trio.open_unix_socket(os.fspath(path))
        async with stream:
            with trio.fail_after(5):
                assert await stream.receive_some() == b""


async def test_a_client_that_does_not_read_is_dropped(path: Path) -> None:
    service = FaultyService()
    service.result = bytes(50_000)
    async with serving(path, service, write_timeout_s=0.05), open_hsm(path) as hsm:
        stream = await trio.open_unix_socket(os.fspath(path))
        async with stream:
            await stream.send_all(REQUEST * 50)
            assert len((await hsm.run(MAC))[0]) == 50_000
            with trio.fail_after(5), pytest.raises(trio.BrokenResourceError):
                await send_until_closed(stream)


async def send_until_closed(stream: trio.SocketStream) -> None:
    while True:
        await stream.send_all(REQUEST)
        await trio.sleep(0.01)


async def test_a_client_that_goes_in_mid_reply_harms_nobody(path: Path) -> None:
    service = FaultyService()
    service.result = bytes(50_000)
    async with serving(path, service), open_hsm(path) as hsm:
        stream = await trio.open_unix_socket(os.fspath(path))
        await stream.send_all(REQUEST * 20)
        await stream.aclose()
        assert len((await hsm.run(MAC))[0]) == 50_000


async def test_requests_over_the_limit_fail_and_open_no_breaker(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))
        listener.listen()
        connection = Connection(path, in_flight_max=2)
        await connection.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.maintain)
            for _ in range(2):
                nursery.start_soon(expect_unavailable, connection)
            await trio.testing.wait_all_tasks_blocked()
            deadline = trio.current_time() + 1
            with pytest.raises(ConnectionBusy):
                await connection.request([MAC], deadline=deadline)
            await trio.sleep(0.2)
            nursery.cancel_scope.cancel()


async def expect_unavailable(connection: Connection) -> None:
    with pytest.raises(HsmUnavailable, match="in time"):
        await connection.request([MAC], deadline=trio.current_time() + 0.05)


async def test_a_process_that_talks_nonsense_is_left(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))
        listener.listen()
        listener.setblocking(False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk_nonsense, listener)
            async with open_hsm(path, deadline_s=0.2) as hsm:
                with pytest.raises(HsmUnavailable):
                    await hsm.run(MAC)
            nursery.cancel_scope.cancel()


async def talk_nonsense(listener: socket.socket) -> None:
    accepting = trio.socket.from_stdlib_socket(listener)
    while True:
        sock, _ = await accepting.accept()
        with sock:
            await sock.send(b"\x00\x00\x00\x05hello")


def test_a_client_has_a_socket() -> None:
    with pytest.raises(ValueError, match="at least one"):
        HsmClient([])
