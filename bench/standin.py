"""A stand-in for the crypto process that computes nothing and answers at once.

    python -m bench.standin <socket>

With it the client's own cost is measured: the process that asks is never asleep, as a
switch at its limit is not, and no token takes its caches.
"""

from __future__ import annotations

import socket
import sys

from isoswitch.hsm.wire import (
    FrameBuffer,
    Reply,
    Request,
    Status,
    decode_requests,
    encode,
    frame,
)

FRAME_BYTES_MAX = 65_536
RESULT = bytes(32)


def main(path: str) -> None:
    """Serve one connection after the other until it is terminated."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        while True:
            connection, _ = listener.accept()
            with connection:
                _serve(connection)


def _serve(connection: socket.socket) -> None:
    frames = FrameBuffer(bytes_max=FRAME_BYTES_MAX)
    while data := connection.recv(FRAME_BYTES_MAX):
        for body in frames.feed(data):
            replies = list(map(_answer, decode_requests(body)))
            connection.sendall(frame(replies, bytes_max=FRAME_BYTES_MAX))


def _answer(request: Request) -> bytes:
    results = [RESULT] * len(request.commands)
    return encode(Reply(request.number, Status.OK, results))


if __name__ == "__main__":
    main(sys.argv[1])
