"""What the ``keys`` commands do: ask, change the key file, tell the crypto process."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import trio
import typer

from isoswitch.codecs.canonical.errors import HsmUnavailable, NoStore
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.commands.console import (
    USAGE,
    Failure,
    confirm,
    plain_table,
    print_json,
    stdout,
)
from isoswitch.commands.operate import operator_name, order_one
from isoswitch.config.load import load_network
from isoswitch.config.settings import hsmd_settings
from isoswitch.hsm.client import open_hsm
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions.components import Component, form_key
from isoswitch.hsm.functions.ibm3624 import Ibm3624Rule
from isoswitch.hsm.hardening import harden_process
from isoswitch.hsm.keychange import KeyStore
from isoswitch.hsm.keyfile import read_storage_key
from isoswitch.hsm.keys import KeyPlan, KeyRecord, Mode, Usage, check_value
from isoswitch.hsm.payshield.keys import UnitKey
from isoswitch.hsm.pkcs11_engine import Pkcs11Engine
from isoswitch.hsm.port import ListKeys
from isoswitch.hsm.settings import HsmdSettings
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.token import open_engine, open_vault
from isoswitch.store.port import SafEntry, SafState, StoredTransaction
from isoswitch.store.reader import open_reader
from isoswitch.switch.control import ExchangeKeys
from isoswitch.switch.keyexchange import CHANGED, Change

_RELOAD_TIMEOUT_S = 30.0
_POLL_S = 0.05


def settings_of(config: Path | None) -> HsmdSettings:
    """Give what the crypto process of a network is told."""
    return hsmd_settings(load_network(config))


def list_keys(config: Path | None, *, as_json: bool) -> None:
    """Print all stored keys."""
    settings = settings_of(config)
    records = _store(settings, _open_engine(settings), ()).list_keys()
    if as_json:
        for record in records:
            plan = msgspec.to_builtins(record.plan)
            print_json({**_listing(record), **plan, "public": record.public})
        return
    table = plain_table("name", "version", "state", "usage", "mode", "cipher", "check")
    for record in records:
        plan = record.plan
        cipher = f"{plan.algorithm}-{plan.length * 8}{' test' * plan.is_test}"
        row = (plan.name, str(plan.version), record.state, plan.usage, plan.mode)
        table.add_row(*row, cipher, record.kcv)
    stdout().print(table)


def list_changes(config: Path | None, *, as_json: bool) -> None:
    """Print the proved trail of key changes."""
    settings = settings_of(config)
    changes = _store(settings, _open_engine(settings), ()).list_changes()
    if as_json:
        for change in changes:
            print_json(msgspec.to_builtins(change))
        return
    table = plain_table("time", "operators", "action", "key", "version", "check")
    for change in changes:
        operators = ", ".join(change.operators)
        version = str(change.version or "")
        table.add_row(
            change.time, operators, change.action, change.key, version, change.kcv
        )
    stdout().print(table)


def plan_key(
    name: str,
    usage: str,
    mode: str,
    algorithm: str,
    *,
    length: int,
    is_exportable: bool,
    pin_rule: Ibm3624Rule | None = None,
) -> KeyPlan:
    """Give the plan that an operator typed.

    Raises
    ------
    Failure
        A code that is none.
    KeyRefused
        The codes contradict each other.
    """
    try:
        return KeyPlan(
            name=name,
            usage=Usage(usage),
            mode=Mode(mode),
            algorithm=Algorithm(algorithm),
            length=length,
            is_exportable=is_exportable,
            pin_rule=pin_rule,
        )
    except ValueError as fault:
        raise Failure(
            f"key {name}: {fault}",
            fix="`isoswitch keys generate --help` lists the codes",
            exit_code=USAGE,
        ) from None


def read_pin_rule(text: str) -> Ibm3624Rule | None:
    """Read the rule of a PIN offset key, such as ``0123456789012345:0:16:F``.

    Raises
    ------
    Failure
        It is not four parts.
    ConfigError
        The table is not one, or gives too few different digits.
    """
    if not text:
        return None
    table, *others = text.split(":")
    try:
        start, length, pad = others
        return Ibm3624Rule(table=table, start=int(start), length=int(length), pad=pad)
    except ValueError:
        raise Failure(
            "the rule of a PIN offset key is not table:start:length:filler",
            fix="for example 0123456789012345:0:16:F",
            exit_code=USAGE,
        ) from None


@contextmanager
def changing(
    config: Path | None, *operators: str, reload: bool = True
) -> Iterator[KeyStore]:
    """Open the stored keys for a change, and have it loaded afterwards."""
    settings = settings_of(config)
    names = tuple(operator_name(name) for name in operators)
    yield _store(settings, _open_engine(settings), names)
    if reload:
        reload_keys(settings)


def verify_unneeded(
    config: Path | None, store: KeyStore, name: str, version: int
) -> None:
    """Raise KeyRefused if a version of a key has sealed what is still owed.

    Only a key that seals needs the store.
    """
    store.verify_unneeded(name, version, _sealed(config))


def say(record: KeyRecord | UnitKey, *, became: str = "") -> None:
    """Print what became of a key; its state says so while it is stored."""
    became = became or record.state
    stdout().print(f"{record.plan.describe()}: {became}, check {record.kcv}")


def check_value_of(value: KeyValue, algorithm: Algorithm) -> str:
    """Give the check value of a key that is not stored yet, for its holders to see."""
    return check_value(SoftwareEngine(), value, algorithm)


def ask_components(
    algorithm: Algorithm, number: int
) -> tuple[KeyValue, tuple[str, ...]]:
    """Have different people enter one component each, and form the key.

    Raises
    ------
    Failure
        One person entered two components, or what was typed is not hexadecimal.
    VerificationFailed, KeyRefused
        A component does not have its check value, or they form no key.
    """
    harden_process()
    holders: list[str] = []
    components: list[Component] = []
    for position in range(1, number + 1):
        holder = typer.prompt(f"Component {position}, entered by", err=True).strip()
        if holder.casefold() in map(str.casefold, holders):
            raise Failure(
                f"{holder} has entered a component already",
                fix="different people hold the components of a key",
            )
        digits = typer.prompt("Component (not shown)", hide_input=True, err=True)
        check = typer.prompt("Its check value", err=True)
        try:
            value, check_value = bytes.fromhex(digits), bytes.fromhex(check)
        except ValueError:
            raise Failure("a component is typed in hexadecimal digits") from None
        holders.append(holder)
        components.append(Component(value=KeyValue(value), check_value=check_value))
    return form_key(components, algorithm), tuple(holders)


def read_block(text: str) -> str:
    """Give a key block from the command line, or from a line of standard input."""
    return (sys.stdin.readline() if text == "-" else text).strip()


def check_legacy_allowed(config: Path | None, under: str) -> None:
    """Refuse keys without a key block, unless the profile of a link asks for them.

    Raises
    ------
    Failure
        No link and no terminal has legacy keys under this key.
    """
    network = load_network(config).network
    profiles = [each.key_exchange for each in network.endpoints.values()]
    allowed = {each.under for each in profiles if each is not None and each.legacy}
    allowed |= {
        each.tmk for each in network.terminals.values() if each.tmk and each.legacy_keys
    }
    if under not in allowed:
        raise Failure(
            f"no link's profile allows keys without a key block under {under}",
            fix="have the partner send a key block; if it knows none, set "
            "[endpoints.<name>.key_exchange] legacy = true",
            exit_code=USAGE,
        )


def read_hex(text: str, what: str) -> bytes:
    """Read hexadecimal digits that an operator typed.

    Raises
    ------
    Failure
        They are not; does not repeat them.
    """
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise Failure(
            f"{what} is not made of hexadecimal digits", exit_code=USAGE
        ) from None


def rewrap(config: Path | None, operator: str, *, components: int, yes: bool) -> None:
    """Make a new storage master key in every token and protect all keys with it.

    Raises
    ------
    Failure
        Several tokens need one that was formed from components.
    """
    settings = settings_of(config)
    engines = [_open_engine(settings, number) for number in range(len(settings.tokens))]
    if len(engines) > 1 and not components:
        raise Failure(
            "a storage master key generated in one token is not in the others",
            fix="form it from components: --components 3",
            exit_code=USAGE,
        )
    label = _next_label(read_storage_key(settings.keys_file))
    confirm(f"protect all keys with a new storage master key {label}", yes=yes)
    operators: tuple[str, ...] = (operator_name(operator),)
    if components:
        value, operators = ask_components(Algorithm.AES, components)
        for engine in engines:
            engine.store_storage_key(label, value)
    else:
        engines[0].generate_storage_key(label)
    store = _store(settings, engines[0], operators)
    number = store.rewrap(open_vault(engines[0], label), storage_key=label)
    stdout().print(f"{number} keys are protected by {label}")
    reload_keys(settings)


def exchange(config: Path | None, endpoint: str, operator: str) -> None:
    """Have the running switch change the working keys of a link, and print them.

    Raises
    ------
    ConfigError
        No switch runs, or the endpoint has no profile for key changes.
    Failure
        The endpoint did not take a key.
    """
    order = ExchangeKeys(endpoint=endpoint, operator=operator_name(operator))
    changes = order_one(config, order, list[Change])
    table = plain_table("key", "version", "check", "result")
    for change in changes:
        table.add_row(
            change.key, str(change.version), change.check_value, change.result
        )
    stdout().print(table)
    if any(change.result != CHANGED for change in changes):
        raise Failure(
            f"{endpoint} did not take every key; the old ones stay in use",
            fix="an offer without an answer is repeated by itself; else ask them",
        )


def reload_keys(settings: HsmdSettings) -> None:
    """Have a running crypto process load the stored keys, and wait until it has.

    Raises
    ------
    HsmUnavailable
        It goes on with the keys it had; its log tells why.
    """
    supervisor = _supervisor(settings.socket)
    if supervisor is None:
        stdout().print("no crypto process runs; the next one loads the keys")
        return
    records = _store(settings, _open_engine(settings), ()).list_keys()
    os.kill(supervisor, signal.SIGHUP)
    trio.run(_wait_loaded, settings.sockets, sorted(map(_key_of, records)))
    stdout().print("the crypto process has loaded the keys")


async def _wait_loaded(paths: tuple[Path, ...], expected: list[list[object]]) -> None:
    with trio.move_on_after(_RELOAD_TIMEOUT_S):
        for path in paths:
            async with open_hsm(path, deadline_s=5) as hsm:
                while True:
                    loaded = json.loads((await hsm.run(ListKeys()))[0])
                    if sorted([*each.values()] for each in loaded) == expected:
                        break
                    await trio.sleep(_POLL_S)
        return
    raise HsmUnavailable("the crypto process does not load the keys; see its log")


def _key_of(record: KeyRecord) -> list[object]:
    return [*_listing(record).values()]


def _listing(record: KeyRecord) -> dict[str, object]:
    return {
        "name": record.plan.name,
        "version": record.plan.version,
        "state": str(record.state),
        "kcv": record.kcv,
    }


def _supervisor(path: Path) -> int | None:
    """Give the process that listens on a unix socket: who called ``listen``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(os.fspath(path))
        except OSError:
            return None
        size = struct.calcsize("3i")
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return int(struct.unpack("3i", credentials)[0])


def _open_engine(settings: HsmdSettings, number: int = 0) -> Pkcs11Engine:
    harden_process()
    return open_engine(settings.tokens[number])


def _sealed(config: Path | None) -> Iterator[bytes]:
    """Give what is sealed and still owed; the store is opened for the first of it."""
    try:
        with open_reader(load_network(config).store) as reader:
            owed: list[SafEntry | StoredTransaction] = [
                *reader.saf(SafState.PENDING),
                *reader.saf(SafState.QUARANTINED),
                *reader.open_transactions(),
            ]
    except NoStore:
        return
    yield from (each.sealed for each in owed if each.sealed)


def _store(
    settings: HsmdSettings, engine: Pkcs11Engine, operators: tuple[str, ...]
) -> KeyStore:
    label = read_storage_key(settings.keys_file)
    vault = open_vault(engine, label)
    return KeyStore(
        settings.keys_file,
        vault,
        operators=operators,
        environment=settings.environment,
    )


def _next_label(label: str) -> str:
    """Count a label up.

    Examples
    --------
    >>> _next_label("isoswitch-storage-9")
    'isoswitch-storage-10'
    >>> _next_label("storage")
    'storage-2'
    """
    numbered = re.fullmatch(r"(.*?)(\d+)", label)
    if numbered is None:
        return f"{label}-2"
    return f"{numbered[1]}{int(numbered[2]) + 1}"
