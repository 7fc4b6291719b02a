"""``isoswitch keys``: the life of the stored keys, from generation to removal."""

from __future__ import annotations

from typing import Annotated

import typer

from isoswitch.commands.options import Config, Json, Operator, Yes

app = typer.Typer(
    name="keys", help="List and change the stored keys.", no_args_is_help=True
)

USAGES = "TR-31 usage: B0 C0 D0 E0 E2 E4 K0 K1 M1 M3 M6 M7 P0 S0 V1 V2, 10 UnionPay."

Name = Annotated[str, typer.Argument(help="The key's name, such as north/zpk.")]
Version = Annotated[int, typer.Argument(help="The key's version.", min=1)]
Usage = Annotated[str, typer.Option(help=USAGES)]
Mode = Annotated[str, typer.Option(help="TR-31 mode: B C D E G S V X.")]
Algorithm = Annotated[str, typer.Option(help="tdes, aes, hmac, ec or rsa.")]
Length = Annotated[int, typer.Option(help="Bytes: 16, 24 or 32; of RSA 256 or more.")]
PinRule = Annotated[
    str,
    typer.Option(
        help="Of a V1 key: decimalisation table:start:length:filler.",
        show_default=False,
    ),
]
Exportable = Annotated[
    bool, typer.Option("--exportable", help="May leave in a key block.")
]
Under = Annotated[str, typer.Option(help="The key block protection key (K1).")]


@app.command("list")
def list_keys(config: Config = None, as_json: Json = False) -> None:
    """Show all stored keys, without values."""
    from isoswitch.commands import key_changes

    key_changes.list_keys(config, as_json=as_json)


@app.command()
def log(config: Config = None, as_json: Json = False) -> None:
    """Prove the trail of key changes and show it."""
    from isoswitch.commands import key_changes

    key_changes.list_changes(config, as_json=as_json)


@app.command()
def generate(
    name: Name,
    usage: Usage,
    mode: Mode,
    algorithm: Algorithm = "aes",
    length: Length = 16,
    exportable: Exportable = False,
    pin_rule: PinRule = "",
    config: Config = None,
    operator: Operator = "",
    yes: Yes = False,
) -> None:
    """Store a new random key; the first of its name is active at once."""
    from isoswitch.commands import console, key_changes

    plan = key_changes.plan_key(
        name,
        usage,
        mode,
        algorithm,
        length=length,
        is_exportable=exportable,
        pin_rule=key_changes.read_pin_rule(pin_rule),
    )
    with key_changes.changing(config, operator) as store:
        console.confirm(f"generate {plan.describe()}", yes=yes)
        key_changes.say(store.generate(plan))


@app.command()
def form(
    name: Name,
    usage: Usage,
    mode: Mode,
    algorithm: Algorithm = "aes",
    length: Length = 16,
    components: Annotated[int, typer.Option(min=2, max=3)] = 2,
    exportable: Exportable = False,
    pin_rule: PinRule = "",
    config: Config = None,
    yes: Yes = False,
) -> None:
    """Form a key from components that different people enter, one after the other."""
    from isoswitch.commands import console, key_changes

    plan = key_changes.plan_key(
        name,
        usage,
        mode,
        algorithm,
        length=length,
        is_exportable=exportable,
        pin_rule=key_changes.read_pin_rule(pin_rule),
    )
    value, holders = key_changes.ask_components(plan.algorithm, components)
    with key_changes.changing(config, *holders) as store:
        check = key_changes.check_value_of(value, plan.algorithm)
        console.confirm(f"form {plan.describe()} of check value {check}", yes=yes)
        key_changes.say(store.add(plan, value, action="form"))


@app.command("import")
def import_key(
    name: Name,
    under: Annotated[str, typer.Option(help="The key that protects it: K1, or K0.")],
    block: Annotated[
        str, typer.Argument(help="The key block (or cryptogram), or - for a line.")
    ] = "-",
    exportable: Exportable = False,
    pin_rule: PinRule = "",
    check_value: Annotated[
        str,
        typer.Option(
            help="Of a key in ECB without a key block; at least 6 digits.",
            show_default=False,
        ),
    ] = "",
    usage: Annotated[str, typer.Option(help=f"Without a block. {USAGES}")] = "",
    mode: Annotated[
        str, typer.Option(help="TR-31 mode; of a block a part of its own.")
    ] = "",
    config: Config = None,
    operator: Operator = "",
    yes: Yes = False,
) -> None:
    """Store the key of a TR-31 block, or by its check value one in ECB mode.

    A block says itself what the key is for; one of mode N, or of two directions, may be
    narrowed by --mode. ECB is taken only under a key for which the
    profile of a link or terminal allows it, and with --check-value, --usage and --mode.
    """
    from isoswitch.commands import console, key_changes

    text = key_changes.read_block(block)
    rule = key_changes.read_pin_rule(pin_rule)
    if not check_value:
        with key_changes.changing(config, operator) as store:
            console.confirm(f"import key {name} under {under}", yes=yes)
            record = store.import_block(
                name,
                text,
                protection_key=under,
                mode=mode,
                is_exportable=exportable,
                pin_rule=rule,
            )
            key_changes.say(record)
        return
    key_changes.check_legacy_allowed(config, under)
    plan = key_changes.plan_key(
        name, usage, mode, "tdes", length=16, is_exportable=exportable, pin_rule=rule
    )
    cryptogram = key_changes.read_hex(text, "the encrypted key")
    check = key_changes.read_hex(check_value, "the check value")
    with key_changes.changing(config, operator) as store:
        console.confirm(f"import {plan.describe()} under {under}", yes=yes)
        key_changes.say(
            store.import_cryptogram(plan, cryptogram, check, key_encryption_key=under)
        )


@app.command("export")
def export_block(
    name: Name,
    under: Under,
    config: Config = None,
    operator: Operator = "",
    yes: Yes = False,
) -> None:
    """Print the active version of an exportable key as a TR-31 block."""
    from isoswitch.commands import console, key_changes

    with key_changes.changing(config, operator, reload=False) as store:
        console.confirm(f"export key {name} under {under}", yes=yes)
        typer.echo(store.export_block(name, protection_key=under))


@app.command()
def rotate(
    name: Name, config: Config = None, operator: Operator = "", yes: Yes = False
) -> None:
    """Store a new random version of a key, pending until it is activated."""
    from isoswitch.commands import console, key_changes

    with key_changes.changing(config, operator) as store:
        console.confirm(f"make a new version of key {name}", yes=yes)
        key_changes.say(store.rotate(name))


@app.command()
def exchange(
    endpoint: Annotated[str, typer.Argument(help="The endpoint, such as north.")],
    config: Config = None,
    operator: Operator = "",
    yes: Yes = False,
) -> None:
    """Have the running switch send an endpoint new working keys, and use them."""
    from isoswitch.commands import console, key_changes

    console.confirm(f"change the working keys of {endpoint}", yes=yes)
    key_changes.exchange(config, endpoint, operator)


@app.command()
def activate(
    name: Name,
    version: Version,
    config: Config = None,
    operator: Operator = "",
    yes: Yes = False,
) -> None:
    """Use a pending version from now on; the present one retires."""
    from isoswitch.commands import console, key_changes

    with key_changes.changing(config, operator) as store:
        console.confirm(f"activate key {name} version {version}", yes=yes)
        key_changes.say(store.activate(name, version))


@app.command()
def retire(
    name: Name,
    version: Version,
    config: Config = None,
    operator: Operator = "",
    yes: Yes = False,
) -> None:
    """Stop using a version; what partners still send under it is accepted."""
    from isoswitch.commands import console, key_changes

    with key_changes.changing(config, operator) as store:
        console.confirm(f"retire key {name} version {version}", yes=yes)
        key_changes.say(store.retire(name, version))


@app.command()
def remove(
    name: Name,
    version: Version,
    config: Config = None,
    operator: Operator = "",
    yes: Yes = False,
) -> None:
    """Forget a version that is not in use, for ever."""
    from isoswitch.commands import console, key_changes

    with key_changes.changing(config, operator) as store:
        key_changes.verify_unneeded(config, store, name, version)
        console.confirm(f"remove key {name} version {version}", yes=yes)
        key_changes.say(store.remove(name, version), became="removed")


@app.command()
def rewrap(
    config: Config = None,
    components: Annotated[
        int, typer.Option(help="Form the new key from 2 or 3; 0 generates it.", max=3)
    ] = 0,
    operator: Operator = "",
    yes: Yes = False,
) -> None:
    """Protect all keys with a new storage master key, while traffic flows."""
    from isoswitch.commands import key_changes

    key_changes.rewrap(config, operator, components=components, yes=yes)


@app.command()
def reload(config: Config = None) -> None:
    """Have the crypto process read the key file again, without a gap."""
    from isoswitch.commands import key_changes

    key_changes.reload_keys(key_changes.settings_of(config))
