"""The whole network in one process: terminals, a switch, issuers, on memory streams.

Time is trio's, so that under a virtual clock a silent issuer costs nothing; chance
comes from one seed. Nodes end as processes end (``node.py``): their connections break,
what they did not write is lost, and nothing of them runs on.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random

import trio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions.signature import public_of
from isoswitch.hsm.keyfile import KeyFile, write_key_file
from isoswitch.hsm.keyplane import KeyPlane
from isoswitch.hsm.keys import KeyPlan, Mode, Usage
from isoswitch.hsm.keytable import form_record
from isoswitch.hsm.knownanswers import KnownAnswers
from isoswitch.hsm.local import LocalHsm
from isoswitch.hsm.port import Hsm
from isoswitch.hsm.service import CryptoService
from isoswitch.hsm.settings import Environment
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.vault import Vault
from isoswitch.routing.bins import BinRow, code_prefixes
from isoswitch.routing.table import RoutingTable
from isoswitch.simulators.beliefs import Receipt
from isoswitch.simulators.cards import CARDS, NORTH, SOUTH, cards_of
from isoswitch.simulators.clearing_house import ClearingHouse
from isoswitch.simulators.house_books import Member
from isoswitch.simulators.house_door import Door
from isoswitch.simulators.issuer import Issuer, IssuerProfile
from isoswitch.simulators.keyring import Keyring
from isoswitch.simulators.network import MemoryStream, Weather, connect_in_memory
from isoswitch.simulators.node import Node, Surroundings
from isoswitch.simulators.requests import TerminalProfile
from isoswitch.simulators.signer import Signer
from isoswitch.simulators.terminal import Terminal
from isoswitch.simulators.triggers import standing_rules
from isoswitch.simulators.wallet import Wallet, draw_shopper
from isoswitch.store.disk import MemoryDisk
from isoswitch.store.memory import MemoryStore
from isoswitch.switch.server import Switch
from isoswitch.switch.settings import (
    Address,
    AdmissionSettings,
    EndpointSettings,
    HouseSettings,
    KindSettings,
    ListenerSettings,
    MerchantSettings,
    SigningSettings,
    SignOn,
    SwitchSettings,
    TerminalSettings,
)

EPOCH = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
MERCHANT = MerchantSettings(id="KIOSK0000000001", name="Kiosk", mcc="5994")
TERMINALS: Mapping[str, str] = {"TERM0001": "ascii", "TERM0002": "bcd"}
LISTENERS: Mapping[str, ListenerSettings] = {
    "ascii": ListenerSettings(
        name="ascii", host="", port=0, dialect="iso87-ascii", framing="ascii4"
    ),
    "bcd": ListenerSettings(
        name="bcd",
        host="",
        port=0,
        dialect="iso87-bcd",
        framing="bin2",
        header="tpdu",
    ),
}
ISSUERS: Mapping[str, tuple[str, Algorithm]] = {
    NORTH: ("iso87-ascii", Algorithm.TDES),
    SOUTH: ("iso93-bcd", Algorithm.AES),
}
# A clearing house with the payer's bank, and the merchant's.
HOUSE, HOUSE_KEY = "house", "house/signature"
PAYER_BANK, MERCHANT_BANK = "NORTDEFFXXX", "SOUTDEFFXXX"
PAYER_ACCOUNT, MERCHANT_ACCOUNT = "DE89370400440532013000", "DE02120300000000202051"
# Accounts at the payer's bank, which the nodes act for: a merchant's, a blocked one.
SHOP_ACCOUNT, BLOCKED_ACCOUNT = "DE75512108001245126199", "DE02500105170137075030"
# A wallet that honours payment codes.
WALLET, WALLET_DIALECT, WALLET_CODES = "wallet", "iso87-ascii", "25..30"
SHOPPER = "shopper"
# What protects the working keys that an issuer changes: one without key blocks.
KEKS: Mapping[str, str] = {NORTH: f"{NORTH}/zmk", SOUTH: f"{SOUTH}/kbpk"}


class World:
    """A network of two terminals, some switch nodes on one store, and two issuers.

    ``run`` it in a nursery; afterwards use ``terminals`` and ``issuers``, and
    ``crash_switch``, ``start_switch``, ``cut_link`` and ``heal_link`` to disturb it.
    ``change`` adapts the nodes' settings before they start; ``routing`` takes the place
    of a table of the test cards' BINs; ``on_step`` is told of every step after which a
    node may have died; ``with_wallet`` there is a ``wallet`` too. ``receipts`` is what
    payers of codes were told. ``switch`` and ``store`` are those of the first node.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        nodes: int = 1,
        epoch: datetime = EPOCH,
        late_s: float = 30.0,
        store_delay_s: Callable[[], float] = lambda: 0.0,
        change: Callable[[SwitchSettings], SwitchSettings] = lambda settings: settings,
        wrap_hsm: Callable[[Hsm], Hsm] = lambda hsm: hsm,
        routing: RoutingTable | None = None,
        on_step: Callable[[Node, str], None] = lambda _node, _step: None,
        with_wallet: bool = False,
    ) -> None:
        self.random = Random(seed)  # noqa: S311 a simulation repeats its chance
        self.weather = Weather(random=self.random)
        self.streams: list[MemoryStream] = []
        self.disk = MemoryDisk()
        keys = {**_draw_keys(self.random), **_draw_key_encryption_keys(seed)}
        keys |= _draw_wallet_keys(seed) | _draw_chip_keys(seed)
        self.keyring = Keyring(keys)
        self.settings = change(_settings(with_wallet=with_wallet))
        codes = code_rows() if with_wallet else {}
        self.routing = routing or RoutingTable(bin_rows(), codes=codes)
        self._epoch_s = epoch.timestamp() - trio.current_time()
        folder = Path(tempfile.mkdtemp(prefix="isoswitch-world-", dir=_memory()))
        weakref.finalize(self, shutil.rmtree, folder)
        self.keys_file = folder / "keys.json"
        self.hsm = wrap_hsm(LocalHsm(self._make_crypto()))
        self._cut: set[str] = set()
        self._unreachable_until: dict[str, float] = {}
        self.nursery: trio.Nursery | None = None
        self.nodes = [
            Node(
                replace(self.settings, node=f"sw{number}"),
                Surroundings(
                    disk=self.disk,
                    is_shared=nodes > 1,
                    hsm=self.hsm,
                    routing=self.routing,
                    clock=self,
                    random=self.random,
                    connect=self._connect_party,
                    store_delay_s=store_delay_s,
                    on_step=on_step,
                ),
            )
            for number in range(1, nodes + 1)
        ]
        self.issuers = {name: self._make_issuer(name, late_s) for name in ISSUERS}
        self.wallet = self._make_wallet(seed)
        if with_wallet:
            self.issuers[WALLET] = self.wallet
        self.houses = {HOUSE: self._make_house()}
        self.receipts: list[Receipt] = []
        self.terminals = {
            name: self._make_terminal(name, listener)
            for name, listener in TERMINALS.items()
        }

    @property
    def switch(self) -> Switch | None:
        """The switch of the first node; None when it does not run."""
        return self.nodes[0].switch

    @property
    def store(self) -> MemoryStore | None:
        """The store of the first node; None when it does not run."""
        return self.nodes[0].store

    def now(self) -> datetime:
        """Give the world's time, which is its age."""
        return datetime.fromtimestamp(self._now_s(), UTC)

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Start everything, and go on until cancelled."""
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            for node in self.nodes:
                await nursery.start(node.run)
            for terminal in self.terminals.values():
                await nursery.start(terminal.run)
            task_status.started()

    async def start_switch(self) -> None:
        """Start the first node's switch on what the disk holds."""
        assert self.nursery is not None, "a world is run before it is used"
        await self.nursery.start(self.nodes[0].run)

    def crash_switch(self) -> None:
        """End the first node's switch at once; only what is durable is left of it."""
        self.nodes[0].die()

    def cut_link(self, endpoint: str) -> None:
        """Break the connections of an issuer or a house and refuse new ones."""
        self._cut.add(endpoint)
        party = self.issuers.get(endpoint) or self.houses[endpoint]
        for wire in party.wires:
            wire.close()

    def heal_link(self, endpoint: str) -> None:
        """Let an issuer be reached again."""
        self._cut.discard(endpoint)

    def partition(self, party: str, lasts_s: float) -> None:
        """Let nothing pass between the nodes and an issuer or a terminal's listener."""
        until = trio.current_time() + lasts_s
        self._unreachable_until[party] = until
        for stream in self.streams:
            if stream.party == party:
                stream.hold(until)

    async def connect(self, listener: str) -> MemoryStream:
        """Open a connection to a node; raises OSError when none is there."""
        await self._reach(listener)
        listening = [node for node in self.nodes if node.switch is not None]
        if not listening:
            msg = "no switch is running"
            raise OSError(msg)
        node = listening[0]
        if len(listening) > 1:
            node = self.random.choice(listening)
        ours, theirs = self._join(listener)
        node.accept(listener, theirs)
        return ours

    async def _connect_party(self, endpoint: Address) -> MemoryStream:
        await self._reach(endpoint.name)
        if endpoint.name in self._cut:
            msg = f"{endpoint.name} is not reachable"
            raise OSError(msg)
        assert self.nursery is not None, "only a running world connects"
        ours, theirs = self._join(endpoint.name)
        party = self.issuers.get(endpoint.name) or self.houses[endpoint.name]
        self.nursery.start_soon(party.serve_stream, theirs)
        return ours

    async def _reach(self, party: str) -> None:
        """Wait as long as nothing passes between the nodes and a party."""
        await trio.sleep_until(self._unreachable_until.get(party, 0.0))

    def _now_s(self) -> float:
        return self._epoch_s + trio.current_time()

    def _make_crypto(self) -> CryptoService:
        engine = SoftwareEngine()
        self.vault = vault = Vault.of_value(engine, KeyValue(self.random.randbytes(32)))
        values = {
            _plan(name, self.keyring): self.keyring.get_key(name).value
            for name in self.keyring.clear_values()
        }
        values[_STORE_PLANS[0]] = KeyValue(self.random.randbytes(32))
        values[_STORE_PLANS[1]] = KeyValue(self.random.randbytes(32))
        values[_HOUSE_PLAN] = _house_keys()["switch"]
        records = [
            form_record(vault, plan, value, created=EPOCH.isoformat())
            for plan, value in values.items()
        ]
        file = KeyFile(storage_key="world", records=records)
        write_key_file(self.keys_file, file, vault)
        plane = KeyPlane(
            self.keys_file,
            open_vault=lambda _: vault,
            environment=Environment.TEST,
            now=self._now_s,
        )
        return CryptoService(plane.table, KnownAnswers(engine), plane=plane)

    def _join(self, party: str) -> tuple[MemoryStream, MemoryStream]:
        self.streams = [each for each in self.streams if not each.is_closed]
        ours, theirs = connect_in_memory(self.weather, party=party)
        self.streams.append(ours)
        return ours, theirs

    def _make_issuer(self, name: str, late_s: float) -> Issuer:
        endpoint = self.settings.endpoints[name]
        return Issuer(
            IssuerProfile(
                name=name,
                dialect=endpoint.dialect,
                framing=endpoint.framing,
                needs_sign_on=endpoint.sign_on is not SignOn.NOBODY,
                zpk=f"{name}/zpk",
                zak=f"{name}/zak",
                kek=KEKS[name],
                is_legacy=KEKS[name].endswith("/zmk"),
            ),
            keyring=self.keyring,
            cards=cards_of(name),
            clock=self,
            random=self.random,
            rules=standing_rules(late_s=late_s),
        )

    def _make_house(self) -> ClearingHouse:
        house = self.settings.houses.get(HOUSE, house_settings())
        keys, signing = _house_keys(), house.signing
        assert signing is not None, "documents of this house are signed"
        return ClearingHouse(
            members={bank.bic: bank for bank in banks()},
            clock=self,
            random=self.random,
            participant=PAYER_BANK,
            profile=house.profile,
            door=Door(over_https=house.transport == "https"),
            signer=Signer(
                name=signing.their_name,
                private=keys["house"],
                their_name=signing.name,
                their_public=public_of(keys["switch"]),
            ),
        )

    def _make_wallet(self, seed: int) -> Wallet:
        random = Random(f"wallet {seed}")  # noqa: S311
        return Wallet(
            IssuerProfile(
                name=WALLET,
                dialect=WALLET_DIALECT,
                framing="bin2",
                zpk=f"{WALLET}/zpk",
                zak=f"{WALLET}/zak",
            ),
            keyring=self.keyring,
            cards=[draw_shopper(SHOPPER, WALLET, random)],
            clock=self,
            random=random,
        )

    def _make_terminal(self, name: str, listener: str) -> Terminal:
        settings = next(
            each for each in self.settings.listeners if each.name == listener
        )

        async def connect() -> trio.abc.Stream:
            return await self.connect(listener)

        return Terminal(
            TerminalProfile(
                terminal_id=name,
                merchant_id=MERCHANT.id,
                dialect=settings.dialect,
                framing=settings.framing,
                header=settings.header,
                tpk=f"{name}/tpk",
                tak=f"{name}/tak",
                tmk=f"{name}/tmk",
            ),
            keyring=self.keyring,
            connect=connect,
            clock=self,
        )


def house_settings(*, profile: str = "default") -> HouseSettings:
    """Give how a node reaches the clearing house, signed."""
    keys = _house_keys()
    return HouseSettings(
        name=HOUSE,
        host="",
        port=0,
        member=PAYER_BANK,
        profile=profile,
        accounts={
            PAYER_ACCOUNT: f"customer/{PAYER_ACCOUNT}",
            SHOP_ACCOUNT: f"merchant/{MERCHANT.id}",
            BLOCKED_ACCOUNT: f"customer/{BLOCKED_ACCOUNT}",
        },
        blocked=frozenset({BLOCKED_ACCOUNT}),
        signing=SigningSettings(
            key=HOUSE_KEY,
            name="switch-1",
            their_name="house-1",
            their_public=public_of(keys["house"]),
        ),
    )


@cache
def _house_keys() -> Mapping[str, KeyValue]:
    """Draw the two private keys that sign between the switch and the house."""
    random = Random("house keys")  # noqa: S311
    drawn = {}
    for side in ("switch", "house"):
        key = ec.derive_private_key(random.getrandbits(255), ec.SECP256R1())
        drawn[side] = KeyValue(
            key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        )
    return drawn


def banks() -> tuple[Member, ...]:
    """Give the two banks of the clearing house; nothing of a member is shared."""
    return (
        Member(bic=PAYER_BANK, accounts=frozenset({PAYER_ACCOUNT})),
        Member(bic=MERCHANT_BANK, accounts=frozenset({MERCHANT_ACCOUNT})),
    )


def _memory() -> Path | None:
    """Give where files lie in memory: a world's disk is simulated, the real one slow.

    The key file is written durably, as it is everywhere, a few dozen times in a story.
    """
    folder = Path("/dev/shm")  # noqa: S108 the name of what is made there is drawn
    return folder if os.access(folder, os.W_OK) else None


def bin_rows() -> tuple[BinRow, ...]:
    """Give a row for every test card's BIN, with the other issuer as alternate."""
    other = {NORTH: SOUTH, SOUTH: NORTH}
    rows = {
        card.pan.leading(8): BinRow(
            digits=card.pan.leading(8),
            primary=card.issuer,
            alternate=other[card.issuer] if card.name.endswith("-ok") else "",
        )
        for card in CARDS.values()
    }
    return tuple(rows.values())


def code_rows() -> dict[str, BinRow]:
    """Give a row for every prefix of the wallet's payment codes."""
    row = BinRow(digits=WALLET_CODES, name=WALLET, primary=WALLET)
    return dict.fromkeys(code_prefixes(row.digits), row)


def _wallet_endpoint() -> EndpointSettings:
    return EndpointSettings(
        name=WALLET,
        host="",
        port=0,
        dialect=WALLET_DIALECT,
        framing="bin2",
        acquirer_id="10001",
        zpk=f"{WALLET}/zpk",
        zak=f"{WALLET}/zak",
        confirm_s=15.0,
        poll_s=2.0,
    )


def _settings(*, with_wallet: bool) -> SwitchSettings:
    return SwitchSettings(
        node="sw1",
        country="276",
        default_currency="978",
        listeners=tuple(LISTENERS.values()),
        endpoints={
            name: EndpointSettings(
                name=name,
                host="",
                port=0,
                dialect=dialect,
                framing="bin2",
                acquirer_id="10001",
                zpk=f"{name}/zpk",
                zak=f"{name}/zak",
            )
            for name, (dialect, _) in ISSUERS.items()
        }
        | ({WALLET: _wallet_endpoint()} if with_wallet else {}),
        terminals={
            name: TerminalSettings(
                id=name,
                merchant_id=MERCHANT.id,
                tpk=f"{name}/tpk",
                tak=f"{name}/tak",
                partial_approvals=True,
            )
            for name in TERMINALS
        },
        merchants={MERCHANT.id: MERCHANT},
        kinds=KindSettings(cashback_max_minor=5_000, completion_over_percent=10),
        # Terminals of a simulation pay as fast as its stories want.
        admission=AdmissionSettings(terminal_per_s=1000.0, terminal_burst=1000),
    )


def _draw_keys(random: Random) -> dict[str, str]:
    names = [f"{name}/{key}" for name in TERMINALS for key in ("tpk", "tak")]
    values = {name: random.randbytes(16).hex() for name in names}
    for name, (_, mac_algorithm) in ISSUERS.items():
        values[f"{name}/zpk"] = random.randbytes(16).hex()
        prefix = "aes:" if mac_algorithm is Algorithm.AES else ""
        values[f"{name}/zak"] = prefix + random.randbytes(16).hex()
    return values


def _draw_wallet_keys(seed: int) -> dict[str, str]:
    random = Random(f"wallet keys {seed}")  # noqa: S311
    return {f"{WALLET}/{key}": random.randbytes(16).hex() for key in ("zpk", "zak")}


def _draw_chip_keys(seed: int) -> dict[str, str]:
    random = Random(f"chip keys {seed}")  # noqa: S311
    return {f"{name}/imk": random.randbytes(16).hex() for name in ISSUERS}


def _draw_key_encryption_keys(seed: int) -> dict[str, str]:
    # A source of their own: worlds of one seed stay as they were before these keys.
    random = Random(f"key encryption {seed}")  # noqa: S311
    names = [*(f"{name}/tmk" for name in TERMINALS), *KEKS.values()]
    return {
        name: ("aes:" if name.endswith("/kbpk") else "") + random.randbytes(16).hex()
        for name in names
    }


def _plan(name: str, keyring: Keyring) -> KeyPlan:
    role = name.rpartition("/")[2]
    algorithm = keyring.get_key(name).cipher
    if role in {"tak", "zak"}:
        is_aes = algorithm is Algorithm.AES
        usage = Usage.CMAC if is_aes else Usage.MAC_ALGORITHM_3
        return KeyPlan(
            name=name, usage=usage, mode=Mode.GENERATE_AND_VERIFY, algorithm=algorithm
        )
    if role in {"tmk", "zmk", "kbpk"}:
        usage = Usage.KEY_ENCRYPTION
        if role == "kbpk":
            usage = Usage.KEY_BLOCK_PROTECTION
        return KeyPlan(name=name, usage=usage, mode=Mode.BOTH, algorithm=algorithm)
    if role == "imk":
        return KeyPlan(
            name=name,
            usage=Usage.EMV_CRYPTOGRAM,
            mode=Mode.DERIVE_KEYS,
            algorithm=algorithm,
        )
    mode = Mode.DECRYPT if role == "tpk" else Mode.ENCRYPT
    return KeyPlan(name=name, usage=Usage.PIN, mode=mode, algorithm=algorithm)


_STORE_PLANS = (
    KeyPlan(
        name="store/seal",
        usage=Usage.DATA,
        mode=Mode.BOTH,
        algorithm=Algorithm.AES,
        length=32,
    ),
    KeyPlan(
        name="store/pan-hash",
        usage=Usage.HMAC,
        mode=Mode.GENERATE_AND_VERIFY,
        algorithm=Algorithm.HMAC,
        length=32,
    ),
)
_HOUSE_PLAN = KeyPlan(
    name=HOUSE_KEY,
    usage=Usage.SIGNATURE,
    mode=Mode.SIGN,
    algorithm=Algorithm.EC,
    length=32,
)
