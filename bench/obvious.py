"""The obvious stack: the same purchase, written with the obvious libraries.

It is the baseline of ``bench/purchase.py`` and is written the way a good developer
would write it first, not to lose:

    connections   ``trio.serve_tcp``, a nursery for each connection, a task for each
                  message, ``trio.Event`` and ``fail_after`` for each answer, one
                  ``send_all`` for each message under a lock
    messages      pyiso8583, decoded and encoded in full at each hop
    crypto        python-pkcs11 in the event loop: 4 MACs and 1 PIN translation
    store         a thread with ``sqlite3``, WAL and synchronous FULL, which commits
                  what has queued up; two durable commits for each purchase
    logs          structlog's standard JSON, one line for each of 4 legs

It checks what isoswitch checks (registered terminal, repeat, both MACs, PIN block,
echoed fields, deadline), and answers only what is durable. It lacks what only a switch
needs: reversals, store and forward, recovery, a chained journal, sealed card data, key
blocks, a separate process that holds the keys.
"""

from __future__ import annotations

import hmac
import json
import os
import queue
import sqlite3
import sys
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import iso8583
import pkcs11
import structlog
import trio
from iso8583.specs import default_ascii
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from bench.network import ISSUER, TERMINALS, keyring_of
from isoswitch.config.load import LoadedNetwork, load_network
from isoswitch.hsm.engine import Algorithm
from isoswitch.simulators.keyring import SharedKey

Fields = dict[str, str]

ISSUER_TIMEOUT_S = 10.0
ECHOED = ("2", "3", "4", "11", "41")
FORWARDED = (2, 3, 4, 12, 13, 14, 18, 22, 25, 35, 41, 42, 43, 49, 55)
ANSWERED = (2, 3, 4, 7, 11, 12, 13, 25, 41, 42, 49)
HIDDEN = {"35", "52", "55"}
BATCH_MAX = 400
SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"

PROCESSORS = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.StackInfoRenderer(),
    structlog.processors.TimeStamper(fmt="iso"),
    structlog.processors.JSONRenderer(),
)
"""structlog's standard JSON."""

log = structlog.get_logger()


class Crypto:
    """The keys of a SoftHSM token, used through python-pkcs11 where they are needed."""

    def __init__(self, loaded: LoadedNetwork, session: Any) -> None:
        self._session = session
        keyring = keyring_of(loaded)
        self._zpk = self._load(keyring.get_key(f"{ISSUER}/zpk"))
        self._zak = self._load(keyring.get_key(f"{ISSUER}/zak"))
        self._tpk: dict[str, Any] = {}
        self._tak: dict[str, tuple[Any, Any]] = {}
        for name in TERMINALS:
            prefix = f"terminal/{name.lower()}"
            tak = keyring.get_key(f"{prefix}/tak").value.reveal()
            self._tpk[name] = self._load(keyring.get_key(f"{prefix}/tpk"))
            # Triple DES under K1 three times is the single DES of the chain.
            self._tak[name] = (
                self._create(KeyType.DES3, 3 * tak[:8]),
                self._create(KeyType.DES3, tak + tak[:8]),
            )

    def terminal_mac(self, terminal: str, data: bytes) -> bytes:
        """Give the X9.19 MAC under a terminal's key."""
        single, double = self._tak[terminal]
        padded = data + bytes(-len(data) % 8)
        chain = single.encrypt(
            padded[:-8], mechanism=Mechanism.DES3_CBC, mechanism_param=bytes(8)
        )
        last = _xor(chain[-8:], padded[-8:])
        mac: bytes = double.encrypt(last, mechanism=Mechanism.DES3_ECB)
        return mac

    def issuer_mac(self, data: bytes) -> bytes:
        """Give the AES-CMAC under the issuer's key."""
        mac: bytes = self._zak.sign(data, mechanism=Mechanism.AES_CMAC)
        return mac[:8]

    def translate_pin(self, terminal: str, block: bytes, pan: str) -> bytes:
        """Re-encrypt a format 0 PIN block under the issuer's key.

        Raises
        ------
        ValueError
            It is no PIN block for this card.
        """
        clear = self._tpk[terminal].decrypt(block, mechanism=Mechanism.DES3_ECB)
        digits = _xor(clear, bytes(2) + bytes.fromhex(pan[-13:-1])).hex()
        length = int(digits[1], 16)
        pin, filler = digits[2 : 2 + length], digits[2 + length :]
        is_format_0 = digits[0] == "0" and 4 <= length <= 12
        if not (is_format_0 and pin.isdecimal() and not filler.strip("f")):
            msg = "not a PIN block of format 0 for this card"
            raise ValueError(msg)
        translated: bytes = self._zpk.encrypt(clear, mechanism=Mechanism.DES3_ECB)
        return translated

    def _load(self, key: SharedKey) -> Any:
        value = key.value.reveal()
        if key.cipher is Algorithm.AES:
            return self._create(KeyType.AES, value)
        return self._create(KeyType.DES3, value + value[:8])

    def _create(self, kind: KeyType, value: bytes) -> Any:
        return self._session.create_object(
            {
                Attribute.CLASS: ObjectClass.SECRET_KEY,
                Attribute.KEY_TYPE: kind,
                Attribute.VALUE: value,
                Attribute.TOKEN: False,
                Attribute.ENCRYPT: True,
                Attribute.DECRYPT: True,
                Attribute.SIGN: True,
            }
        )


def log_in(loaded: LoadedNetwork) -> Any:
    """Open a session with the token."""
    token = loaded.network.hsm.tokens[0]
    assert token.softhsm_conf is not None, "the benchmark runs on SoftHSM"
    os.environ["SOFTHSM2_CONF"] = str(loaded.file(token.softhsm_conf))
    pin = loaded.file(token.pin_file).read_text().strip()
    found = pkcs11.lib(SOFTHSM).get_token(token_label=token.label)
    return found.open(rw=True, user_pin=pin)


class Store:
    """A thread that commits what has queued up, and wakes the tasks that wait."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = trio.lowlevel.current_trio_token()
        self._queue: queue.SimpleQueue[tuple[str, tuple[str, ...], trio.Event]] = (
            queue.SimpleQueue()
        )
        threading.Thread(target=self._run, daemon=True).start()

    async def execute(self, statement: str, *values: str) -> None:
        """Return once the statement is durable."""
        durable = trio.Event()
        self._queue.put((statement, values, durable))
        await durable.wait()

    def _run(self) -> None:
        database = sqlite3.connect(self._path, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(
            "CREATE TABLE purchases (id TEXT PRIMARY KEY, key TEXT UNIQUE, "
            "state TEXT, opened TEXT, closed TEXT) WITHOUT ROWID"
        )
        while True:
            batch = [self._queue.get()]
            while len(batch) < BATCH_MAX and not self._queue.empty():
                batch.append(self._queue.get())
            database.execute("BEGIN")
            for statement, values, _ in batch:
                database.execute(statement, values)
            database.execute("COMMIT")
            self._token.run_sync_soon(_set_all, [event for _, _, event in batch])


class Link:
    """The connection to the issuer: requests out, answers to the tasks that wait."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._lock = trio.Lock()
        self._waiting: dict[str, tuple[trio.Event, list[tuple[Fields, bytes]]]] = {}

    async def request(self, stan: str, raw: bytes) -> tuple[Fields, bytes]:
        """Send a request and wait for its answer.

        Raises
        ------
        trio.TooSlowError
            None came in time.
        """
        arrived, answers = self._waiting[stan] = trio.Event(), []
        try:
            async with self._lock:
                await self._stream.send_all(len(raw).to_bytes(2) + raw)
            with trio.fail_after(ISSUER_TIMEOUT_S):
                await arrived.wait()
        finally:
            del self._waiting[stan]
        return answers[0]

    async def receive(self) -> None:
        """Hand answers over until the issuer hangs up."""
        reader = FrameReader(self._stream)
        while (raw := await reader.frame()) is not None:
            fields, _ = iso8583.decode(raw, default_ascii)
            waiting = self._waiting.get(fields["11"])
            if waiting is not None:
                arrived, answers = waiting
                answers.append((fields, raw))
                arrived.set()


class FrameCutter:
    """Cuts a stream into messages behind two bytes of length."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Give the messages that are whole now."""
        self._buffer += data
        frames: list[bytes] = []
        while True:
            size = int.from_bytes(self._buffer[:2])
            if len(self._buffer) < 2 + size or not self._buffer:
                return frames
            frames.append(bytes(self._buffer[2 : 2 + size]))
            del self._buffer[: 2 + size]


class FrameReader:
    """Messages behind two bytes of length."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._cutter = FrameCutter()
        self._frames: deque[bytes] = deque()

    async def frame(self) -> bytes | None:
        """Give the next message, None at the end of the stream."""
        while not self._frames:
            data = await self._stream.receive_some()
            if not data:
                return None
            self._frames.extend(self._cutter.feed(data))
        return self._frames.popleft()


class Switch:
    """Takes purchases from terminals to the issuer and back."""

    def __init__(self, loaded: LoadedNetwork, crypto: Crypto, store: Store, link: Link):
        self._acquirer_id = loaded.network.switch.acquirer_id
        self._terminals = loaded.network.terminals
        self._bins = loaded.network.bins
        self._crypto = crypto
        self._store = store
        self._link = link
        self._numbers = count(1)
        self._keys: set[str] = set()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one terminal's connection."""
        stream.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
        lock = trio.Lock()
        reader = FrameReader(stream)
        async with trio.open_nursery() as nursery:
            while (raw := await reader.frame()) is not None:
                nursery.start_soon(self._handle, stream, lock, raw)

    async def _handle(
        self, stream: trio.SocketStream, lock: trio.Lock, raw: bytes
    ) -> None:
        request, _ = iso8583.decode(raw, default_ascii)
        answer = await self._purchase(request, raw)
        async with lock:
            await stream.send_all(len(answer).to_bytes(2) + answer)

    async def _purchase(self, request: Fields, raw: bytes) -> bytes:
        """Decide a purchase: the whole way, top to bottom."""
        terminal, number = request["41"].rstrip(), next(self._numbers)
        key = f"{terminal}|{request['11']}|{request['13']}{request['12']}"
        log.info("leg", transaction=number, direction="in", **_facts(request))
        known = self._terminals.get(terminal)
        if known is None or known.merchant != request["42"].rstrip():
            return await self._decline(request, terminal, number, "58")
        if key in self._keys:
            return await self._decline(request, terminal, number, "94")
        self._keys.add(key)
        mac = self._crypto.terminal_mac(terminal, raw[:-16])
        if not hmac.compare_digest(mac, bytes.fromhex(request["64"])):
            return await self._decline(request, terminal, number, "63")
        if request["2"][:6] not in self._bins:
            return await self._decline(request, terminal, number, "15")
        try:
            block = self._crypto.translate_pin(
                terminal, bytes.fromhex(request["52"]), request["2"]
            )
        except ValueError:
            return await self._decline(request, terminal, number, "81")
        outgoing = self._forward(request, number, block)
        stan = outgoing["11"]
        sealed = self._with_mac(outgoing, self._crypto.issuer_mac)
        await self._store.execute(
            "INSERT INTO purchases VALUES (?, ?, 'sending', ?, '')",
            str(number),
            key,
            json.dumps({"request": _masked(request), "sent": _masked(outgoing)}),
        )
        log.info("leg", transaction=number, direction="out", **_facts(outgoing))
        try:
            answer, answer_raw = await self._link.request(stan, sealed)
        except trio.TooSlowError:
            return await self._decline(request, terminal, number, "91")
        log.info("leg", transaction=number, direction="in", **_facts(answer))
        mac = self._crypto.issuer_mac(answer_raw[:-16])
        echoes = all(answer.get(de) == outgoing[de] for de in ECHOED)
        if not echoes or not hmac.compare_digest(mac, bytes.fromhex(answer["64"])):
            return await self._decline(request, terminal, number, "91")
        return await self._finish(request, terminal, number, answer)

    def _forward(self, request: Fields, number: int, block: bytes) -> Fields:
        """Make the issuer's request of a terminal's."""
        outgoing = {str(de): request[str(de)] for de in FORWARDED if str(de) in request}
        outgoing |= {
            "h": "",
            "t": request["t"],
            "7": datetime.now(UTC).strftime("%m%d%H%M%S"),
            "11": f"{number % 1_000_000:06}",
            "32": self._acquirer_id,
            "37": f"{number:012}",
            "52": block.hex().upper(),
        }
        return outgoing

    async def _finish(
        self, request: Fields, terminal: str, number: int, answer: Fields
    ) -> bytes:
        """Write down an outcome, and give the terminal's answer."""
        response = {str(de): request[str(de)] for de in ANSWERED if str(de) in request}
        response |= {"h": "", "t": "0210", "37": f"{number:012}", "39": answer["39"]}
        if "38" in answer:
            response["38"] = answer["38"]
        await self._store.execute(
            "UPDATE purchases SET state = 'closed', closed = ? WHERE id = ?",
            json.dumps({"answer": _masked(answer), "told": _masked(response)}),
            str(number),
        )
        raw = self._with_mac(
            response, lambda data: self._crypto.terminal_mac(terminal, data)
        )
        log.info("leg", transaction=number, direction="out", **_facts(response))
        return raw

    async def _decline(
        self, request: Fields, terminal: str, number: int, code: str
    ) -> bytes:
        return await self._finish(request, terminal, number, {"39": code})

    def _with_mac(self, fields: Fields, make_mac: Callable[[bytes], bytes]) -> bytes:
        """Encode with a place for the MAC, and put it there."""
        raw, _ = iso8583.encode({**fields, "64": "0" * 16}, default_ascii)
        covered = bytes(raw[:-16])
        return covered + make_mac(covered).hex().upper().encode()


async def main(config: Path, port: int) -> None:
    """Connect to the issuer and serve terminals until killed."""
    loaded = load_network(config)
    structlog.configure(
        processors=PROCESSORS,
        logger_factory=structlog.WriteLoggerFactory(
            file=config.with_name("obvious.log").open("w")
        ),
        cache_logger_on_first_use=True,
    )
    crypto = Crypto(loaded, log_in(loaded))
    store = Store(config.with_name("obvious.db"))
    stream = await trio.open_tcp_stream(
        "127.0.0.1", loaded.network.endpoints[ISSUER].port
    )
    link = Link(stream)
    switch = Switch(loaded, crypto, store, link)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.receive)
        nursery.start_soon(trio.serve_tcp, switch.serve, port)


def _masked(fields: Fields) -> Fields:
    """Give the fields as they may be stored."""
    shown = {de: value for de, value in fields.items() if de not in HIDDEN}
    if "2" in shown:
        pan = shown["2"]
        shown["2"] = pan[:6] + "*" * (len(pan) - 10) + pan[-4:]
    return shown


def _facts(fields: Fields) -> Fields:
    return {
        "mti": fields["t"],
        "stan": fields["11"],
        "terminal": fields["41"],
        "code": fields.get("39", ""),
    }


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left) ^ int.from_bytes(right)).to_bytes(len(left))


def _set_all(events: list[trio.Event]) -> None:
    for event in events:
        event.set()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
