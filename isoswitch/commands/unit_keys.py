"""What the ``units`` commands do: ask a payment HSM, and change the key file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from isoswitch.commands.console import USAGE, Failure, plain_table, print_json, stdout
from isoswitch.commands.key_changes import say
from isoswitch.commands.operate import operator_name
from isoswitch.commands.running import run_trio
from isoswitch.config.load import LoadedNetwork, load_network
from isoswitch.config.model import PaymentHsms
from isoswitch.config.settings import payshield_settings
from isoswitch.hsm.keys import KeyPlan
from isoswitch.hsm.payshield import keyplane
from isoswitch.hsm.payshield.client import PayshieldHsm, open_payshield
from isoswitch.hsm.payshield.keystore import UnitKeyStore
from isoswitch.hsm.payshield.layouts import KeyKind

T = TypeVar("T")


def open_store(config: Path | None, operator: str = "") -> UnitKeyStore:
    """Give the keys of the payment HSMs of a configuration."""
    loaded = load_network(config)
    path = loaded.file(_hsms_of(loaded).keys_file)
    return UnitKeyStore(path, operator=operator_name(operator))


def list_keys(config: Path | None, *, as_json: bool) -> None:
    """Print all keys, without what the units wrapped."""
    keys = open_store(config).list_keys()
    if as_json:
        for key in keys:
            listing = {"kind": key.kind, "state": key.state, "kcv": key.kcv}
            print_json({**msgspec.to_builtins(key.plan), **listing})
        return
    table = plain_table("name", "version", "state", "kind", "usage", "mode", "check")
    for key in keys:
        plan = key.plan
        row = (plan.name, str(plan.version), key.state, key.kind, plan.usage, plan.mode)
        table.add_row(*row, key.kcv)
    stdout().print(table)


def check(config: Path | None) -> None:
    """Compare every check value with the one that a unit computes.

    Raises
    ------
    Failure
        A key has another one, so that the unit does not hold what the file says.
    """
    keys = open_store(config).list_keys()

    async def compare(hsm: PayshieldHsm) -> list[str]:
        values = [(key, await keyplane.read_check_value(hsm, key)) for key in keys]
        return [
            key.plan.describe()
            for key, value in values
            if value[: len(key.kcv)] != key.kcv[: len(value)]
        ]

    wrong = _ask(config, compare)
    if wrong:
        raise Failure(
            f"{wrong[0]} has another check value in the unit ({len(wrong)} in all)",
            fix="import it again under a zone master key",
        )
    stdout().print(f"{len(keys)} keys have their check values")


def generate(
    config: Path | None, operator: str, plan: KeyPlan, kind: str, *, as_block: bool
) -> None:
    """Have a unit make a key, and store it."""
    of_kind = _kind_named(kind)
    made = _ask(
        config,
        lambda hsm: keyplane.generate_key(hsm, plan, of_kind, as_block=as_block),
    )
    say(open_store(config, operator).add(made, action="generate"))


def import_key(
    config: Path | None,
    operator: str,
    plan: KeyPlan,
    kind: str,
    under: str,
    cryptogram: bytes,
    *,
    check_value: str,
) -> None:
    """Have a unit take a key under a zone master key, and store it."""
    store, of_kind = open_store(config, operator), _kind_named(kind)
    zmk = store.get_active(under)
    taken = _ask(
        config,
        lambda hsm: keyplane.import_key(
            hsm, plan, of_kind, zmk=zmk, cryptogram=cryptogram, check_value=check_value
        ),
    )
    say(store.add(taken, action="import"))


def export(config: Path | None, operator: str, name: str, under: str) -> None:
    """Print a key under a zone master key."""
    store = open_store(config, operator)
    key, zmk = store.get_active(name), store.get_active(under)
    cryptogram, check_value = _ask(
        config, lambda hsm: keyplane.export_key(hsm, key, zmk=zmk)
    )
    store.note(key, "export")
    stdout().print(f"{cryptogram.hex().upper()} {check_value}")


def _ask(config: Path | None, ask: Callable[[PayshieldHsm], Awaitable[T]]) -> T:
    """Ask the units of a configuration."""
    loaded = load_network(config)
    _hsms_of(loaded)
    settings = payshield_settings(loaded)
    assert settings is not None, "there are payment HSMs"
    answers: list[T] = []

    async def main() -> None:
        async with open_payshield(settings, []) as hsm:
            answers.append(await ask(hsm))

    run_trio(main)
    return answers[0]


def _hsms_of(loaded: LoadedNetwork) -> PaymentHsms:
    hsms = loaded.network.hsm.payshield
    if hsms is None:
        raise Failure(
            f"{loaded.path} has no [hsm.payshield]",
            fix="docs/payment-hsms.md shows that table",
            exit_code=USAGE,
        )
    return hsms


def _kind_named(kind: str) -> KeyKind:
    try:
        return KeyKind(kind)
    except ValueError:
        raise Failure(
            f"no unit calls a key {kind}",
            fix=f"it is one of {', '.join(KeyKind)}",
            exit_code=USAGE,
        ) from None
