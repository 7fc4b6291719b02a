"""``isoswitch units``: the keys that payment HSMs wrapped, from making to removal.

A running switch reads the key file when it starts.
"""

from __future__ import annotations

from typing import Annotated

import typer

from isoswitch.commands.keys import (
    Exportable,
    Mode,
    Name,
    PinRule,
    Usage,
    Version,
)
from isoswitch.commands.options import Config, Json, Operator, Yes

app = typer.Typer(
    name="units", help="List and change keys of payment HSMs.", no_args_is_help=True
)

Kind = Annotated[
    str, typer.Option(help="What a unit calls it: BDK CVK MK-AC PVK TAK TPK ZAK ...")
]
Under = Annotated[str, typer.Option(help="The zone master key (ZMK).")]


@app.command("list")
def list_keys(config: Config = None, as_json: Json = False) -> None:
    """Show all keys of the units, without values."""
    from isoswitch.commands import unit_keys

    unit_keys.list_keys(config, as_json=as_json)


@app.command()
def check(config: Config = None) -> None:
    """Have the units compute every key's check value, and compare (BU)."""
    from isoswitch.commands import unit_keys

    unit_keys.check(config)


@app.command()
def generate(
    name: Name,
    kind: Kind,
    usage: Usage,
    mode: Mode,
    block: Annotated[bool, typer.Option(help="Ask for a key block.")] = False,
    exportable: Exportable = False,
    pin_rule: PinRule = "",
    config: Config = None,
    operator: Operator = "",
    yes: Yes = False,
) -> None:
    """Have a unit make a double-length TDES key (A0)."""
    from isoswitch.commands import console, key_changes, unit_keys

    plan = key_changes.plan_key(
        name,
        usage,
        mode,
        "tdes",
        length=16,
        is_exportable=exportable,
        pin_rule=key_changes.read_pin_rule(pin_rule),
    )
    console.confirm(f"have a unit make {plan.describe()}", yes=yes)
    unit_keys.generate(config, operator, plan, kind, as_block=block)


@app.command("import")
def import_key(
    name: Name,
    cryptogram: Annotated[str, typer.Argument(help="The key under the ZMK, in hex.")],
    kind: Kind,
    usage: Usage,
    mode: Mode,
    under: Under,
    check_value: Annotated[str, typer.Option(help="Six digits from the partner.")],
    exportable: Exportable = False,
    pin_rule: PinRule = "",
    config: Config = None,
    operator: Operator = "",
    yes: Yes = False,
) -> None:
    """Have a unit take a partner's key with its check value (A6)."""
    from isoswitch.commands import console, key_changes, unit_keys

    plan = key_changes.plan_key(
        name,
        usage,
        mode,
        "tdes",
        length=16,
        is_exportable=exportable,
        pin_rule=key_changes.read_pin_rule(pin_rule),
    )
    octets = key_changes.read_hex(cryptogram, "the encrypted key")
    console.confirm(f"import {plan.describe()} under {under}", yes=yes)
    unit_keys.import_key(
        config, operator, plan, kind, under, octets, check_value=check_value
    )


@app.command()
def export(
    name: Name,
    under: Under,
    config: Config = None,
    operator: Operator = "",
    yes: Yes = False,
) -> None:
    """Print an exportable key under a zone master key, and its check value (A8)."""
    from isoswitch.commands import console, unit_keys

    console.confirm(f"export key {name} under {under}", yes=yes)
    unit_keys.export(config, operator, name, under)


@app.command()
def activate(
    name: Name,
    version: Version,
    config: Config = None,
    operator: Operator = "",
    yes: Yes = False,
) -> None:
    """Use a pending version from the switch's next start on; the other retires."""
    from isoswitch.commands import console, key_changes, unit_keys

    console.confirm(f"activate key {name} version {version}", yes=yes)
    key_changes.say(unit_keys.open_store(config, operator).activate(name, version))


@app.command()
def remove(
    name: Name,
    version: Version,
    config: Config = None,
    operator: Operator = "",
    yes: Yes = False,
) -> None:
    """Forget a version that is not in use, for ever."""
    from isoswitch.commands import console, key_changes, unit_keys

    console.confirm(f"remove key {name} version {version}", yes=yes)
    key = unit_keys.open_store(config, operator).remove(name, version)
    key_changes.say(key, became="removed")
