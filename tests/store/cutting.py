"""A socket between a client and PostgreSQL that cuts what it is told to cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path

SOCKET_NAME = ".s.PGSQL.5432"
# What a writer's batch begins and ends with, when it is said in full: the first time.
START_OF_BATCH = b"SELECT seq, hash FROM journal ORDER BY"
END_OF_BATCH = b"COMMIT\0"


class Fault(Enum):
    """What happens to the first batch that goes through."""

    COMMIT_LOST = "its commit never reaches the server"
    ANSWER_LOST = "its commit is done, and nobody hears of it"
    FROZEN = "it is begun, and its client says nothing any more"


class CuttingProxy:
    """Passes connections to a server, and commits one fault on one of them."""

    def __init__(self, folder: Path, *, server: Path, fault: Fault) -> None:
        self._server = server / SOCKET_NAME
        self._fault: Fault | None = fault
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / SOCKET_NAME))
        self._listening.listen()
        self.happened = threading.Event()
        self._start(self._accept)

    def close(self) -> None:
        """Take no more connections."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()
        return thread

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                # Closed by the test that is over.
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        is_mute = threading.Event()
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(str(self._server))
            answering = self._start(self._answer, client, server, is_mute)
            self._ask(client, server, is_mute)
            answering.join()

    def _ask(
        self, client: socket.socket, server: socket.socket, is_mute: threading.Event
    ) -> None:
        said = b""
        while data := receive(client):
            said += data
            is_begun = START_OF_BATCH in said
            if self._fault is Fault.FROZEN and is_begun:
                is_mute.set()
                self._happen()
            elif is_begun and END_OF_BATCH in said:
                if self._fault is Fault.COMMIT_LOST:
                    self._happen()
                    break
                if self._fault is Fault.ANSWER_LOST:
                    is_mute.set()
                    self._happen()
            server.sendall(data)
        end(client, server)

    def _answer(
        self, client: socket.socket, server: socket.socket, is_mute: threading.Event
    ) -> None:
        while data := receive(server):
            if not is_mute.is_set():
                client.sendall(data)
            elif END_OF_BATCH in data:
                break
        end(client, server)

    def _happen(self) -> None:
        self._fault = None
        self.happened.set()


def receive(source: socket.socket) -> bytes:
    """Give what comes next; nothing when the connection has ended or was cut."""
    try:
        return source.recv(1 << 20)
    except OSError:
        return b""


def end(*connections: socket.socket) -> None:
    """End connections, so that whoever waits for them hears it."""
    for each in connections:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
