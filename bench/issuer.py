"""A light issuer: verifies each request's MAC, approves it, authenticates the answer.

It books nothing and opens no PIN block, because here the switch is measured and not
the issuer, but it answers only what verifies.
"""

from __future__ import annotations

import selectors
import socket
import sys
from hmac import compare_digest
from pathlib import Path

from bench.network import DIALECT, FRAMING, ISSUER, keyring_of
from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.framing import FrameDecoder, get_framing
from isoswitch.codecs.iso8583.message import Message
from isoswitch.config.load import load_network
from isoswitch.simulators.keyed_macs import MacMaker, mac_maker

APPROVED = Outcome(code=ResponseCode.APPROVED, approval_code="A1B2C3")
WRONG_MAC = Outcome.declined(ResponseCode.SECURITY_VIOLATION)

dialect = get_dialect(DIALECT)
framing = get_framing(FRAMING)


def serve(config: Path) -> None:
    """Answer the requests of any number of connections, until killed."""
    loaded = load_network(config)
    make_mac = mac_maker(keyring_of(loaded).get_key(f"{ISSUER}/zak"))
    address = ("127.0.0.1", loaded.network.endpoints[ISSUER].port)
    selector = selectors.DefaultSelector()
    with socket.create_server(address) as listener:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    sock, _ = listener.accept()
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    selector.register(sock, selectors.EVENT_READ, framing.decoder())
                elif isinstance(key.fileobj, socket.socket) and not _answer_all(
                    key.fileobj, key.data, make_mac
                ):
                    selector.unregister(key.fileobj)
                    key.fileobj.close()


def _answer_all(sock: socket.socket, frames: FrameDecoder, make_mac: MacMaker) -> bool:
    """Answer what one read brings; False when the peer is gone."""
    try:
        data = sock.recv(65_536)
    except ConnectionError:
        return False
    answers = [
        framing.encode(_answer(dialect.codec.decode(payload), make_mac).raw)
        for payload in frames.feed(data)
    ]
    if answers:
        sock.sendall(b"".join(answers))
    return bool(data)


def _answer(request: Message, make_mac: MacMaker) -> Message:
    if 64 not in request:
        return dialect.to_response(request, APPROVED)
    mac = make_mac(request.raw[: request.offset(64)])
    outcome = APPROVED if compare_digest(mac, _octets(request)) else WRONG_MAC
    answer = dialect.to_response(request, outcome, mac=True)
    # The MAC is last: sixteen hexadecimal digits.
    covered = answer.raw[:-16]
    return answer.replace({64: make_mac(covered)})


def _octets(message: Message) -> bytes:
    value = message[64]
    assert isinstance(value, bytes), "a MAC is binary"
    return value


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
