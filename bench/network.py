"""The network of the benchmark: its configuration, keys and purchases.

Fifty terminals with keys of their own, one issuer, ISO 8583:1987 in ASCII on both
sides. Terminals authenticate with X9.19 MACs and the issuer with AES-CMACs; PIN blocks
are under two-key triple DES. Both stacks read the same configuration and keyring and
work with the same SoftHSM.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from itertools import count
from pathlib import Path

from bench.codec import ICC
from isoswitch.codecs.canonical.codes import EntryMode, Function, Kind, PinEntry
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import Secret, Track2
from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.codecs.dialects.dialect import LegNumbers
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.commands.setup import ensure
from isoswitch.config.load import LoadedNetwork, load_network
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.keyed_macs import MacMaker, mac_maker
from isoswitch.simulators.keyring import Keyring, read_keyring
from isoswitch.simulators.stencils import Filled, Stencil
from isoswitch.simulators.terminal_crypto import encrypt_pin

DIALECT = "iso87-ascii"
FRAMING = "bin2"
ISSUER = "north"
CARD = "visa-ok"
MERCHANT = "KIOSK0000000001"
SECURE = "TERM9001"
"""The terminal that connects over TLS."""
TERMINALS = tuple(f"TERM{number:04}" for number in range(1, 51))

_HEAD = """
[switch]
node = "bench"
acquirer_id = "10001"
country = "276"
currency = "978"
[admission]
terminal_per_s = 100000
terminal_burst = 100000
merchant_in_flight_max = 100000
in_flight_max = 250
[timers]
terminal_s = 30.0
switch_s = 15.0
issuer_s = 10.0
[store]
path = "NETWORK.db"
[log]
path = "NETWORK.log"
[hsm]
environment = "test"
socket = "hsmd.sock"
keys_file = "keys.json"
[[hsm.tokens]]
label = "bench"
pin_file = "token.pin"
softhsm_conf = "softhsm2.conf"
[endpoints.north]
dialect = "iso87-ascii"
framing = "bin2"
zpk = "north/zpk"
zak = "north/zak"
port = {issuer_port}
[listeners.ascii]
dialect = "iso87-ascii"
framing = "bin2"
port = {port}
connections_max = 20000
[listeners.tls]
dialect = "iso87-ascii"
framing = "bin2"
port = {tls_port}
tls = {{ certificate = "tls/switch.pem", key = "tls/switch.key", ca = "tls/ca.pem" }}
[merchants.KIOSK0000000001]
name = "Kiosk by the station"
mcc = "5994"
[bins]
476173 = {{ primary = "north" }}
[simulators]
keyring = "test-keys.json"
[simulators.issuers.north]
mac = "aes-cmac"
"""
_SECURE = """
[terminals.{name}]
merchant = "KIOSK0000000001"
listener = "tls"
tpk = "terminal/{lower}/tpk"
tak = "terminal/{lower}/tak"
tls = {{ certificate = "tls/{name}.pem", key = "tls/{name}.key", ca = "tls/ca.pem" }}
"""
_TERMINAL = """
[terminals.{name}]
merchant = "KIOSK0000000001"
listener = "ascii"
tpk = "terminal/{lower}/tpk"
tak = "terminal/{lower}/tak"
"""


def make_network(
    folder: Path,
    *,
    port: int,
    issuer_port: int,
    tls_port: int = 0,
    name: str = "network",
) -> LoadedNetwork:
    """Write the configuration into a folder and make its token and keys.

    Without a port for TLS it lies beside that of the others. Networks of one folder
    share token and keys, and have stores and logs of their own names.
    """
    text = _HEAD.replace("NETWORK", name).format(
        port=port, tls_port=tls_port or port + 1, issuer_port=issuer_port
    )
    text += _SECURE.format(name=SECURE, lower=SECURE.lower())
    text += "".join(_TERMINAL.format(name=t, lower=t.lower()) for t in TERMINALS)
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    loaded = load_network(path)
    ensure(loaded)
    return loaded


def keyring_of(loaded: LoadedNetwork) -> Keyring:
    """Read the keys that the ends share with both stacks."""
    assert loaded.network.simulators is not None, "written above"
    return read_keyring(loaded.file(loaded.network.simulators.keyring))


class Content(StrEnum):
    """What a load generator sends; an echo must be its own approval."""

    PURCHASE = "purchase"
    WITHOUT_MAC = "purchase without MAC"
    ECHO = "echo"


def purchases(
    keyring: Keyring, terminal_id: str, content: Content, *, first_stan: int
) -> Iterator[Filled]:
    """Encode purchases of a terminal, under trace numbers that follow."""
    now = datetime.now(UTC).replace(microsecond=0)
    stencil = _stencil(keyring, terminal_id, content, now)
    return map(stencil.fill, count(first_stan))


def terminal_mac(keyring: Keyring, terminal_id: str) -> MacMaker:
    """Give what makes the MACs of a terminal."""
    return mac_maker(keyring.get_key(f"terminal/{terminal_id.lower()}/tak"))


def _stencil(
    keyring: Keyring, terminal_id: str, content: Content, now: datetime
) -> Stencil:
    """Make the purchase of a terminal that all others are copied from."""
    card = get_card(CARD)
    pin_key = keyring.get_key(f"terminal/{terminal_id.lower()}/tpk")
    transaction = Transaction(
        kind=Kind.PURCHASE,
        function=Function.REQUEST,
        stan="000000",
        pan=card.pan,
        track2=Track2(f"{card.pan.reveal()}={card.expiry}2011212120531"),
        expiry=card.expiry,
        amount=Money(1250, "978"),
        transmitted_at=now,
        local_at=now.replace(tzinfo=None),
        entry_mode=EntryMode.CHIP,
        pin_entry=PinEntry.CAPABLE,
        mcc="5994",
        terminal_id=terminal_id,
        merchant_id=MERCHANT,
        merchant_name="Kiosk by the station",
        pin_block=encrypt_pin(pin_key, card.pin, card.pan),
        emv=Secret(bytes.fromhex(ICC)),
    )
    leg = LegNumbers(stan="000000", rrn="", transmitted_at=now, acquirer_id="")
    dialect = get_dialect(DIALECT)
    has_mac = content is Content.PURCHASE
    message = dialect.to_request(transaction, leg, mac=has_mac)
    if content is Content.ECHO:
        message = message.replace({39: "00"}, mti="0210")
    return Stencil(
        message,
        dialect,
        framing=FRAMING,
        make_mac=terminal_mac(keyring, terminal_id) if has_mac else None,
    )
