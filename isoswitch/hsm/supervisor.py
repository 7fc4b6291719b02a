"""Keeps one worker process per token alive, and replaces it without a gap.

The supervisor owns the sockets and no key. A worker that ends, fails or is worn out is
replaced: the next one is ready before the present one is told to stop, and connections
that arrive in between wait in the socket. SIGHUP replaces all workers, which makes
them read the key file again.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import structlog
import trio

from isoswitch.codecs.canonical.errors import ConfigError, HsmUnavailable
from isoswitch.hsm.groups import ungrouped
from isoswitch.hsm.settings import HsmdSettings
from isoswitch.hsm.worker import Orders, encode_orders

_BACKLOG = 128
_PAUSE_MIN_S = 0.05
_PAUSE_MAX_S = 5.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

log = structlog.get_logger()


class _Worker:
    """One running worker process."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.keys_loaded = 0
        self.is_to_replace = trio.Event()

    async def begin(self, orders: Orders) -> None:
        """Give it its orders and wait until it serves.

        Raises
        ------
        HsmUnavailable
            It ends instead; says why.
        """
        assert self.process.stdin is not None, "it was started with pipes"
        assert self.process.stdout is not None, "it was started with pipes"
        report = b""
        with suppress(trio.BrokenResourceError):
            await self.process.stdin.send_all(encode_orders(orders))
            while not report.endswith(b"\n"):
                octets = await self.process.stdout.receive_some()
                if not octets:
                    break
                report += octets
        first, _, others = report.decode().partition("\n")
        word, _, rest = first.partition(" ")
        if word != "ready":
            raise HsmUnavailable(rest or "the crypto worker ended while it started")
        self.keys_loaded = int(rest)
        if "replace" in others:
            self.is_to_replace.set()

    async def watch(self) -> None:
        """Follow its reports until it ends."""
        assert self.process.stdout is not None, "it was started with pipes"
        async for report in self.process.stdout:
            if b"replace" in report:
                self.is_to_replace.set()
        self.is_to_replace.set()
        await self.process.wait()

    async def stop(self, timeout_s: float) -> None:
        """Let it answer what it has read, and end it."""
        with trio.CancelScope(shield=True):
            self.process.terminate()
            with trio.move_on_after(timeout_s):
                await self.process.wait()
            if self.process.returncode is None:
                self.process.kill()
                await self.process.wait()


class Supervisor:
    """Runs the workers of all tokens."""

    def __init__(self, settings: HsmdSettings) -> None:
        self._settings = settings
        self._workers: dict[int, _Worker] = {}

    async def run(self, *, on_ready: Callable[[int], None]) -> None:
        """Serve all tokens until SIGTERM or SIGINT.

        Parameters
        ----------
        on_ready
            Called with the number of keys once every worker serves its socket.

        Raises
        ------
        ConfigError
            A socket cannot be opened.
        HsmUnavailable
            A worker cannot start; says why.
        """
        with ungrouped(), ExitStack() as stack:
            sockets = self._settings.sockets
            listeners = [
                stack.enter_context(_listening(path, self._settings.user))
                for path in sockets
            ]
            async with trio.open_nursery() as nursery:
                for token, listener in enumerate(listeners):
                    await nursery.start(self._keep, token, listener)
                for path in sockets:
                    _partial(path).replace(path)
                # Who is told that we are ready may want us to stop at once.
                with trio.open_signal_receiver(*_SIGNALS) as signals:
                    on_ready(self._workers[0].keys_loaded)
                    await self._wait_stopped(signals)
                nursery.cancel_scope.cancel()

    async def _wait_stopped(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if number != signal.SIGHUP:
                return
            for worker in self._workers.values():
                worker.is_to_replace.set()

    async def _keep(
        self,
        token: int,
        listener: socket.socket,
        *,
        task_status: trio.TaskStatus[None],
    ) -> None:
        """Have a worker for a token, always."""
        async with trio.open_nursery() as nursery:
            try:
                worker = await self._start(token, listener, nursery)
                self._workers[token] = worker
                task_status.started()
                while True:
                    await worker.is_to_replace.wait()
                    replacement = await self._replace(token, listener, nursery)
                    self._workers[token] = replacement
                    await worker.stop(self._settings.stop_timeout_s)
                    worker = replacement
            finally:
                if token in self._workers:
                    await self._workers[token].stop(self._settings.stop_timeout_s)

    async def _replace(
        self, token: int, listener: socket.socket, nursery: trio.Nursery
    ) -> _Worker:
        pause_s = _PAUSE_MIN_S
        while True:
            log.warning("worker replaced", token=self._settings.tokens[token].label)
            try:
                return await self._start(token, listener, nursery)
            except HsmUnavailable as fault:
                log.error("worker not started", reason=str(fault))
                await trio.sleep(pause_s)
                pause_s = min(2 * pause_s, _PAUSE_MAX_S)

    async def _start(
        self, token: int, listener: socket.socket, nursery: trio.Nursery
    ) -> _Worker:
        """Start a worker and wait until it serves.

        Raises
        ------
        HsmUnavailable
            It does not; says why.
        """
        descriptor = listener.fileno()
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "isoswitch.hsm.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[descriptor],
        )
        worker = _Worker(process)
        orders = Orders(settings=self._settings, token=token, listener=descriptor)
        try:
            with trio.fail_after(self._settings.start_timeout_s):
                await worker.begin(orders)
        except trio.TooSlowError:
            await worker.stop(self._settings.stop_timeout_s)
            raise HsmUnavailable("the crypto worker does not start in time") from None
        except BaseException:
            await worker.stop(self._settings.stop_timeout_s)
            raise
        nursery.start_soon(worker.watch)
        return worker


@contextmanager
def _listening(path: Path, user: str) -> Iterator[socket.socket]:
    """Listen on a unix socket of mode 0600, still under another name.

    Clients take the name for readiness, so it appears when workers are ready.

    Raises
    ------
    ConfigError
        Another process listens there, or something else lies in the way.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    partial = _partial(path)
    partial.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        previous = os.umask(0o177)
        try:
            listener.bind(os.fspath(partial))
            if user:
                shutil.chown(partial, user)
        except (OSError, LookupError) as fault:
            msg = f"cannot listen on {path}: {getattr(fault, 'strerror', '') or fault}"
            raise ConfigError(msg) from None
        finally:
            os.umask(previous)
        listener.listen(_BACKLOG)
        try:
            yield listener
        finally:
            partial.unlink(missing_ok=True)
            path.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".starting")


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        msg = f"{path} is in the way of the socket; move it"
        raise ConfigError(msg)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            with suppress(FileNotFoundError):
                path.unlink()
            return
    msg = f"another crypto process already listens on {path}"
    raise ConfigError(msg)
