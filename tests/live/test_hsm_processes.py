"""The crypto process: its socket, its limits, its restarts, several tokens."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_MEMLOCK, getrlimit

import pytest
import trio

from isoswitch.codecs.canonical.errors import (
    HsmError,
    HsmUnavailable,
    KeyRefused,
    MacMismatch,
)
from isoswitch.hsm.client import HsmClient, open_hsm
from isoswitch.hsm.connection import Connection
from isoswitch.hsm.port import (
    CheckHealth,
    GenerateMac,
    HashData,
    ListKeys,
    VerifyMac,
)
from isoswitch.hsm.provision import provision
from isoswitch.hsm.settings import HsmdSettings
from isoswitch.hsm.wire import (
    FrameBuffer,
    Reply,
    Request,
    Status,
    decode_replies,
    decode_requests,
    encode,
    frame,
)
from isoswitch.hsm.worker import Orders, encode_orders
from tests.hsm.softhsm import PLANS, plan, provisioned

pytestmark = pytest.mark.live

CAP_IPC_LOCK = 14

RUN = """
import sys
from isoswitch.commands.hsmd import run_hsmd
from isoswitch.hsm.worker import decode_orders
run_hsmd(decode_orders(sys.stdin.buffer.readline()).settings)
"""
MAC = GenerateMac(key="n/zak", data=b"Now is the time for all ")
MAC_VALUE = bytes.fromhex("a1c72e74ea3fa9b6")


@contextmanager
def hsmd(settings: HsmdSettings) -> Iterator[subprocess.Popen[bytes]]:
    """Run the crypto process from its ready line to its end by SIGTERM."""
    with subprocess.Popen(
        [sys.executable, "-c", RUN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        orders = Orders(settings=settings, token=0, listener=0)
        process.stdin.write(encode_orders(orders))
        process.stdin.close()
        try:
            ready = process.stdout.readline().decode()
            assert ready.startswith("hsmd ready"), process.stderr.read().decode()
            yield process
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> HsmdSettings:
    return provisioned(tmp_path_factory.mktemp("hsmd"))


@pytest.fixture(scope="module")
def path(settings: HsmdSettings) -> Iterator[Path]:
    """Give the socket of a running crypto process."""
    with hsmd(settings):
        yield settings.socket


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    # Threads of the supervisor may have started some of them.
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        children += " " + (task / "children").read_text()
    return sorted({int(pid) for pid in children.split()})


@asynccontextmanager
async def raw_connection(path: Path) -> AsyncIterator[trio.SocketStream]:
    stream = await trio.open_unix_socket(os.fspath(path))
    async with stream:
        yield stream


async def test_commands_run_and_fail_as_themselves(path: Path) -> None:
    async with open_hsm(path) as hsm:
        assert await hsm.run(MAC, CheckHealth()) == [MAC_VALUE, b""]
        with pytest.raises(MacMismatch):
            await hsm.run(VerifyMac(key="n/zak", data=b"", mac=bytes(8)))
        with pytest.raises(KeyRefused):
            await hsm.run(HashData(key="n/zak", data=b""))
        with pytest.raises(HsmError):
            await hsm.run(GenerateMac(key="n/zak", data=b"", length=99))
        assert await hsm.run(MAC) == [MAC_VALUE]


async def test_hundreds_of_requests_share_one_connection(path: Path) -> None:
    async with open_hsm(path, deadline_s=5) as hsm:

        async def check(number: int) -> None:
            data = b"%d" % number
            (mac,) = await hsm.run(GenerateMac(key="s/zak", data=data))
            await hsm.run(VerifyMac(key="s/zak", data=data, mac=mac))

        async with trio.open_nursery() as nursery:
            for number in range(400):
                nursery.start_soon(check, number)


async def test_an_abandoned_request_harms_nobody(path: Path) -> None:
    async with open_hsm(path) as hsm:
        with trio.move_on_after(0):
            await hsm.run(MAC)
        assert await hsm.run(MAC) == [MAC_VALUE]


def test_only_its_user_can_open_the_socket(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_second_process_does_not_take_the_socket(
    path: Path, settings: HsmdSettings
) -> None:
    with pytest.raises(AssertionError, match="already listens"), hsmd(settings):
        pass
    assert path.exists()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x00\x00\x05hello",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 1000,
        b"\x00\x01\x00\x01\xdd\x00\x00\x00\x01",
        os.urandom(300),
    ],
    ids=["no request", "http", "length", "over the limit", "random"],
)
async def test_garbage_ends_its_own_connection_only(path: Path, garbage: bytes) -> None:
    async with open_hsm(path) as hsm, raw_connection(path) as stream:
        await stream.send_all(garbage)
        # Random bytes may announce a frame that has not come yet.
        await stream.send_eof()
        with trio.fail_after(5):
            assert await stream.receive_some() == b""
        assert await hsm.run(MAC) == [MAC_VALUE]


def frame_of(request: Request) -> bytes:
    return frame([encode(request)], bytes_max=65_536)


async def receive_reply(stream: trio.SocketStream) -> Reply:
    (reply,) = decode_replies((await stream.receive_some())[4:])
    return reply


async def test_half_a_frame_waits_for_its_other_half(path: Path) -> None:
    octets = frame_of(Request(5, [MAC]))
    async with open_hsm(path) as hsm, raw_connection(path) as stream:
        await stream.send_all(octets[:20])
        assert await hsm.run(MAC) == [MAC_VALUE]
        await stream.send_all(octets[20:])
        reply = await receive_reply(stream)
        assert (reply.number, reply.results) == (5, [MAC_VALUE])


@pytest.mark.parametrize("commands", [0, 17])
async def test_the_number_of_commands_is_limited(path: Path, commands: int) -> None:
    async with raw_connection(path) as stream:
        await stream.send_all(frame_of(Request(1, [MAC] * commands)))
        reply = await receive_reply(stream)
        assert reply.status is Status.REFUSED


async def test_an_oversized_request_is_refused_before_it_is_sent(path: Path) -> None:
    async with open_hsm(path) as hsm:
        with pytest.raises(HsmError, match="longer"):
            await hsm.run(GenerateMac(key="n/zak", data=bytes(70_000)))
        assert await hsm.run(MAC) == [MAC_VALUE]


async def test_too_many_connections_are_closed_at_once(tmp_path: Path) -> None:
    settings = replace(provisioned(tmp_path), connections_max=2)
    with hsmd(settings):
        async with (
            open_hsm(settings.socket) as hsm,
            raw_connection(settings.socket),
            raw_connection(settings.socket) as third,
        ):
            with trio.fail_after(5):
                assert await third.receive_some() == b""
            assert await hsm.run(MAC) == [MAC_VALUE]


async def test_without_a_crypto_process_opening_fails(tmp_path: Path) -> None:
    with pytest.raises(HsmUnavailable, match="no crypto process listens"):
        async with open_hsm(tmp_path / "none.sock"):
            pass


async def test_an_error_in_the_block_comes_out_as_itself(path: Path) -> None:
    with pytest.raises(KeyError):
        async with open_hsm(path):
            raise KeyError


async def test_a_silent_process_costs_one_deadline_and_then_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "silent.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))
        listener.listen()
        async with open_hsm(path, deadline_s=0.2) as hsm:
            started = trio.current_time()
            with pytest.raises(HsmUnavailable, match="in time"):
                await hsm.run(MAC)
            assert 0.15 < trio.current_time() - started < 2
            # Its breaker is open now; once the outage is older than a deadline,
            # requests fail without waiting.
            while not await fails_at_once(hsm):
                pass


async def test_a_process_that_was_away_finds_nothing_that_nobody_waits_for(
    tmp_path: Path,
) -> None:
    path = tmp_path / "away.sock"
    connection = Connection(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.maintain)
        for _ in range(3):
            with pytest.raises(HsmUnavailable, match="in time"):
                await connection.request([CheckHealth()], deadline=trio.current_time())
        nursery.start_soon(partial(connection.request, [MAC], deadline=math.inf))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.fspath(path))
            listener.listen()
            await trio.lowlevel.wait_readable(listener)
            with listener.accept()[0] as process:
                frames = FrameBuffer(bytes_max=65_536)
                await trio.lowlevel.wait_readable(process)
                (body,) = frames.feed(process.recv(65_536))
            assert [each.commands for each in decode_requests(body)] == [[MAC]]
            nursery.cancel_scope.cancel()


async def fails_at_once(hsm: HsmClient) -> bool:
    started = trio.current_time()
    with pytest.raises(HsmUnavailable):
        await hsm.run(MAC)
    return trio.current_time() - started < 0.05


async def steady_load(hsm: HsmClient, answered: list[int]) -> None:
    while True:
        assert await hsm.run(MAC) == [MAC_VALUE]
        answered[0] += 1


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for something that other processes do, and that nothing announces."""
    with trio.fail_after(20):
        while not condition():
            await trio.sleep(0.01)


async def run_until_more(answered: list[int], number: int) -> None:
    goal = answered[0] + number
    await eventually(lambda: answered[0] >= goal)


@asynccontextmanager
async def load(hsm: HsmClient, tasks: int = 16) -> AsyncIterator[list[int]]:
    """Keep requests in flight during the block; each must be answered rightly."""
    answered = [0]
    async with trio.open_nursery() as nursery:
        for _ in range(tasks):
            nursery.start_soon(steady_load, hsm, answered)
        await run_until_more(answered, 200)
        yield answered
        await run_until_more(answered, 200)
        nursery.cancel_scope.cancel()


async def wait_for_workers(
    process: subprocess.Popen[bytes], others_than: list[int]
) -> None:
    await eventually(lambda: not set(workers_of(process)) & set(others_than))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_worker_that_ends_is_replaced_and_no_request_is_lost(
    tmp_path: Path, number: signal.Signals
) -> None:
    settings = provisioned(tmp_path)
    with hsmd(settings) as process:
        async with open_hsm(settings.socket, deadline_s=5) as hsm, load(hsm):
            workers = workers_of(process)
            os.kill(workers[0], number)
            await wait_for_workers(process, workers)


async def test_sighup_loads_new_keys_without_losing_a_request(tmp_path: Path) -> None:
    settings = provisioned(tmp_path)
    new = plan("new/zak", "M6", "C", "aes")
    with hsmd(settings) as process:
        async with open_hsm(settings.socket) as hsm, load(hsm):
            with pytest.raises(KeyRefused):
                await hsm.run(GenerateMac(key="new/zak", data=b""))
            provision(settings, [*PLANS, new], test_values={})
            workers = workers_of(process)
            process.send_signal(signal.SIGHUP)
            await wait_for_workers(process, workers)
            assert b"new/zak" in (await hsm.run(ListKeys()))[0]
            await hsm.run(GenerateMac(key="new/zak", data=b""))


async def test_a_worn_out_worker_is_replaced(tmp_path: Path) -> None:
    settings = replace(provisioned(tmp_path), objects_max=0)
    with hsmd(settings) as process:
        workers = workers_of(process)
        async with open_hsm(settings.socket) as hsm, load(hsm):
            await wait_for_workers(process, workers)


async def test_a_broken_key_file_keeps_the_present_worker(tmp_path: Path) -> None:
    settings = provisioned(tmp_path)
    with hsmd(settings) as process:
        workers = workers_of(process)
        content = settings.keys_file.read_bytes()
        settings.keys_file.write_bytes(content.replace(b"active", b"retired", 1))
        async with open_hsm(settings.socket) as hsm, load(hsm) as answered:
            process.send_signal(signal.SIGHUP)
            await run_until_more(answered, 500)
            assert workers[0] in workers_of(process)
            settings.keys_file.write_bytes(content)
            await wait_for_workers(process, workers)


async def test_the_end_of_the_supervisor_ends_its_workers(tmp_path: Path) -> None:
    settings = provisioned(tmp_path)
    with hsmd(settings) as process:
        (worker,) = workers_of(process)
        process.kill()
        process.wait()
        await eventually(lambda: not Path(f"/proc/{worker}").exists())


async def test_a_token_lost_and_returned_under_load_loses_no_request(
    tmp_path: Path,
) -> None:
    settings = provisioned(tmp_path, tokens=2)
    with hsmd(settings) as process:
        workers = workers_of(process)
        assert len(workers) == 2
        client = open_hsm(*settings.sockets, deadline_s=5)
        async with client as hsm, load(hsm) as answered:
            # A token that hangs: its worker exists and does not answer.
            os.kill(workers[0], signal.SIGSTOP)
            await run_until_more(answered, 500)
            os.kill(workers[0], signal.SIGCONT)
            await run_until_more(answered, 500)
            os.kill(workers[1], signal.SIGKILL)
            await run_until_more(answered, 500)


async def test_a_failed_verification_does_not_move_to_the_other_token(
    tmp_path: Path,
) -> None:
    settings = provisioned(tmp_path, tokens=2)
    with hsmd(settings):
        async with open_hsm(*settings.sockets) as hsm:
            for _ in range(10):
                with pytest.raises(MacMismatch):
                    await hsm.run(VerifyMac(key="n/zak", data=b"", mac=bytes(8)))
            assert all(node.failed_at is None for node in hsm._nodes)


async def test_one_token_of_two_is_enough_to_open(tmp_path: Path, path: Path) -> None:
    for paths in ((path, tmp_path / "none"), (tmp_path / "none", path)):
        async with open_hsm(*paths, deadline_s=2) as hsm:
            for _ in range(6):
                assert await hsm.run(MAC) == [MAC_VALUE]


def test_the_worker_is_not_dumpable_and_leaves_no_core(tmp_path: Path) -> None:
    settings = provisioned(tmp_path)
    with hsmd(settings) as process:
        (worker,) = workers_of(process)
        limits = Path(f"/proc/{worker}/limits").read_text()
        (core,) = [line for line in limits.splitlines() if "core file" in line]
        assert core.split()[4:6] == ["0", "0"]
        status = Path(f"/proc/{worker}/status").read_text()
        assert "NoNewPrivs:\t1" in status
        # May this test lock memory, so may the worker; else it says that it may not.
        may_lock = bool(effective_capabilities() >> CAP_IPC_LOCK & 1)
        may_lock |= getrlimit(RLIMIT_MEMLOCK)[0] == RLIM_INFINITY
        assert ("VmLck:\t       0 kB" not in status) == may_lock


def effective_capabilities() -> int:
    """Give the rights of this process, which its children have too (proc(5))."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("CapEff:")[2].split()[0], 16)


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes somebody else")
def test_whoever_may_not_lock_memory_is_told_so() -> None:
    program = (
        "from isoswitch.hsm.hardening import drop_privileges, harden_process\n"
        "from resource import RLIMIT_MEMLOCK, setrlimit\n"
        "drop_privileges('nobody')\n"
        "setrlimit(RLIMIT_MEMLOCK, (2**20, 2**20))\n"
        "print(harden_process(), len(bytes(2**26)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=30, check=False
    )
    assert done.stdout.split() == [b"False", b"67108864"], done.stderr


def test_a_folder_in_the_place_of_the_socket_is_left_alone(tmp_path: Path) -> None:
    settings = provisioned(tmp_path)
    settings.socket.mkdir()
    with pytest.raises(AssertionError, match="in the way"), hsmd(settings):
        pass
    assert settings.socket.is_dir()


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    settings = provisioned(tmp_path)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(os.fspath(settings.socket))
    with hsmd(settings):
        pass
    assert not settings.socket.exists()


def test_why_it_cannot_start_is_one_sentence(tmp_path: Path) -> None:
    settings = provisioned(tmp_path)
    settings.tokens[0].pin_file.chmod(0o644)
    with pytest.raises(AssertionError, match="chmod 600"), hsmd(settings):
        pass
    assert not settings.socket.exists()
