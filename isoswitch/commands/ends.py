"""The simulated ends of a configured network: its terminals and its issuers."""

from __future__ import annotations

import math
import secrets
import socket
import ssl
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import SystemRandom

import msgspec
import trio

from isoswitch.commands.console import UNREACHABLE, USAGE, Failure
from isoswitch.commands.housekeys import signer_of
from isoswitch.config.load import LoadedNetwork
from isoswitch.config.model import Simulators
from isoswitch.config.settings import tls_files
from isoswitch.simulators.cards import CARDS, TestCard, cards_of
from isoswitch.simulators.clearing_house import ClearingHouse
from isoswitch.simulators.house_books import Member
from isoswitch.simulators.house_door import Door
from isoswitch.simulators.issuer import Issuer, IssuerProfile
from isoswitch.simulators.keyring import Keyring, read_keyring, update_keyring
from isoswitch.simulators.requests import TerminalProfile
from isoswitch.simulators.rules import Rule
from isoswitch.simulators.terminal import Connect, Terminal
from isoswitch.simulators.triggers import standing_rules
from isoswitch.simulators.wallet import Wallet, draw_shopper
from isoswitch.switch.numbers import STAN_MAX
from isoswitch.switch.ports import SystemClock

CONNECT_TIMEOUT_S = 3.0
LATE_BY_S = 1.5


def simulators_of(loaded: LoadedNetwork) -> Simulators:
    """Give the simulators of a network.

    Raises
    ------
    Failure
        It has none.
    """
    if loaded.network.simulators is None:
        raise Failure(
            f"{loaded.path} has no [simulators], so nothing can be simulated",
            fix="copy that table from the packaged network.toml",
            exit_code=USAGE,
        )
    return loaded.network.simulators


def keyring_of(loaded: LoadedNetwork) -> Keyring:
    """Read the test keys that the ends share with the switch."""
    return read_keyring(loaded.file(simulators_of(loaded).keyring))


def card_named(name: str) -> TestCard:
    """Give a test card by name.

    Raises
    ------
    Failure
        No card has this name; names those that exist.
    """
    card = CARDS.get(name)
    if card is None:
        raise Failure(
            f"there is no test card {name!r}",
            fix=f"one of {', '.join(CARDS)}",
            exit_code=USAGE,
        )
    return card


def make_terminal(
    loaded: LoadedNetwork, terminal_id: str, *, timeout_s: float | None = None
) -> Terminal:
    """Make one of the configured terminals; its trace numbers start anywhere.

    ``timeout_s`` makes it less patient than configured.

    Raises
    ------
    Failure
        No terminal has this id.
    """
    return Terminal(
        terminal_profile(loaded, terminal_id, timeout_s=timeout_s),
        keyring=keyring_of(loaded),
        connect=_connector(loaded, terminal_id),
        clock=SystemClock(),
        first_stan=secrets.randbelow(STAN_MAX) + 1,
    )


def terminal_profile(
    loaded: LoadedNetwork, terminal_id: str, *, timeout_s: float | None = None
) -> TerminalProfile:
    """Give how one of the configured terminals speaks, and its key names.

    Raises
    ------
    Failure
        No terminal has this id.
    """
    network = loaded.network
    row = network.terminals.get(terminal_id)
    if row is None:
        raise Failure(
            f"there is no terminal {terminal_id!r}",
            fix=f"one of {', '.join(network.terminals)}",
            exit_code=USAGE,
        )
    listener = network.listeners[row.listener]
    merchant = network.merchants[row.merchant]
    return TerminalProfile(
        terminal_id=terminal_id,
        merchant_id=row.merchant,
        merchant_name=merchant.name,
        mcc=merchant.mcc,
        dialect=listener.dialect,
        framing=listener.framing,
        header=listener.header,
        tpk=row.tpk,
        tak=row.tak or "",
        tmk=row.tmk or "",
        acquirer_id=network.switch.acquirer_id,
        currency=row.currency or network.switch.currency,
        timeout_s=timeout_s or network.timers.terminal_s,
    )


def make_issuer(
    loaded: LoadedNetwork, name: str, *, log_path: Path | None = None
) -> Issuer:
    """Make a simulated issuer for the endpoint of its name."""
    network = loaded.network
    row = network.endpoints[name]
    simulated = simulators_of(loaded).issuers[name]
    random = SystemRandom()
    shoppers = [draw_shopper(each, name, random) for each in simulated.shoppers]
    wait_s = row.request_timeout_s or network.timers.issuer_s
    return (Wallet if shoppers else Issuer)(
        IssuerProfile(
            name=name,
            dialect=row.dialect,
            framing=row.framing,
            header=row.header,
            kek=row.key_exchange.under if row.key_exchange else "",
            is_legacy=row.key_exchange is not None and row.key_exchange.legacy,
            zpk=row.zpk,
            zak=row.zak,
            currency=network.switch.currency,
            needs_sign_on=not row.one_shot and row.sign_on != "nobody",
            signs_on=row.sign_on == "them",
        ),
        keyring=keyring_of(loaded),
        cards=shoppers or cards_of(name),
        clock=SystemClock(),
        random=random,
        rules=(
            *(msgspec.convert(rule, Rule) for rule in simulated.rules),
            *standing_rules(late_s=wait_s + LATE_BY_S),
        ),
        log_path=log_path,
        on_new_key=partial(update_keyring, loaded.file(simulators_of(loaded).keyring)),
    )


def make_house(loaded: LoadedNetwork, name: str) -> ClearingHouse:
    """Make a simulated clearing house with our bank and the banks of its payees."""
    network, simulated = loaded.network, simulators_of(loaded).houses[name]
    accounts: dict[str, set[str]] = {
        network.houses[name].member: set(simulated.accounts)
    }
    for merchant in network.merchants.values():
        payee = merchant.payee
        if payee is not None and payee.house == name:
            accounts.setdefault(payee.bank, set()).add(payee.account)
    return ClearingHouse(
        members={
            bic: Member(bic=bic, accounts=frozenset(kept))
            for bic, kept in accounts.items()
        },
        clock=SystemClock(),
        random=SystemRandom(),
        currency=network.switch.currency,
        signer=signer_of(loaded, name),
        door=Door(
            over_https=network.houses[name].transport == "https",
            tls=None if simulated.tls is None else tls_files(loaded, simulated.tls),
        ),
        rules=tuple(msgspec.convert(rule, Rule) for rule in simulated.rules),
        window_s=simulated.window_s or math.inf,
        participant=network.houses[name].member,
        profile=network.houses[name].profile,
    )


async def check_listening(loaded: LoadedNetwork, terminal_id: str) -> None:
    """Find out whether the switch takes connections of a terminal.

    Raises
    ------
    Failure
        Nobody listens there.
    """
    try:
        with trio.fail_after(CONNECT_TIMEOUT_S):
            stream = await _connector(loaded, terminal_id)()
    except (OSError, trio.TooSlowError):
        raise nobody_listens(loaded, terminal_id) from None
    with suppress(trio.BrokenResourceError):
        await trio.aclose_forcefully(stream)


def nobody_listens(loaded: LoadedNetwork, terminal_id: str) -> Failure:
    """Make the failure that no switch takes a terminal's connections."""
    row = loaded.network.terminals[terminal_id]
    listener = loaded.network.listeners[row.listener]
    return Failure(
        f"no switch listens on {listener.host}:{listener.port}",
        fix="start the network in another window: make up",
        exit_code=UNREACHABLE,
    )


def connect_socket(loaded: LoadedNetwork, terminal_id: str) -> socket.socket:
    """Connect a terminal outside trio, over TLS where it must be; raises OSError."""
    row = loaded.network.terminals[terminal_id]
    listener = loaded.network.listeners[row.listener]
    sock = socket.create_connection(
        (listener.host, listener.port), timeout=CONNECT_TIMEOUT_S
    )
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    context = _client_context(loaded, terminal_id)
    if context is None:
        return sock
    return context.wrap_socket(sock, server_hostname=listener.host)


def _connector(loaded: LoadedNetwork, terminal_id: str) -> Connect:
    """Give what connects a terminal to its listener, over TLS where it must be."""
    row = loaded.network.terminals[terminal_id]
    listener = loaded.network.listeners[row.listener]

    async def connect() -> trio.abc.Stream:
        stream = await trio.open_tcp_stream(listener.host, listener.port)
        context = _client_context(loaded, terminal_id)
        if context is None:
            return stream
        secure = trio.SSLStream(stream, context, server_hostname=listener.host)
        try:
            await secure.do_handshake()
        except BaseException as fault:
            await trio.aclose_forcefully(stream)
            if isinstance(fault, trio.BrokenResourceError):
                raise ConnectionError(str(fault.__cause__ or fault)) from None
            raise
        return secure

    return connect


def _client_context(loaded: LoadedNetwork, terminal_id: str) -> ssl.SSLContext | None:
    """Make a terminal's side of mutual TLS, None where it speaks plain TCP."""
    row = loaded.network.terminals[terminal_id]
    if loaded.network.listeners[row.listener].tls is None:
        return None
    assert row.tls is not None, "checked when the configuration was loaded"
    files = tls_files(loaded, row.tls)
    context = ssl.create_default_context(cafile=files.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(files.certificate, files.key)
    return context
