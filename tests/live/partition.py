"""A way between a node and its PostgreSQL that can be closed without a word."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.postgres import temporary_folder
from tests.store.cutting import SOCKET_NAME, end, receive


class Way:
    """Passes connections on; while it is closed, bytes wait and nobody is told."""

    def __init__(self, folder: Path, *, server: Path) -> None:
        self._server = server / SOCKET_NAME
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / SOCKET_NAME))
        self._listening.listen()
        self.is_open = threading.Event()
        self.is_open.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def remove(self) -> None:
        """Let everything through, and take no more connections."""
        self.is_open.set()
        end(self._listening)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                # Removed by the drill that is over.
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(str(self._server))
            back = threading.Thread(target=self._pass_on, args=(server, client))
            back.start()
            self._pass_on(client, server)
            back.join()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        while data := receive(source):
            self.is_open.wait()
            try:
                target.sendall(data)
            except OSError:
                # The other side has given up meanwhile.
                break
        self.is_open.wait()
        end(source, target)


@contextmanager
def way_to(server: Path, url: str) -> Iterator[tuple[Way, str]]:
    """Give a way to a server, and the address of a database that goes by it."""
    with temporary_folder() as folder:
        way = Way(folder, server=server)
        hosts = next(part for part in url.split("?")[1].split("&") if "host=" in part)
        try:
            yield way, url.replace(hosts, f"host={folder}")
        finally:
            way.remove()
