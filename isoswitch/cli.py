"""The command line: what each command takes, and which function does it.

Commands import what they need when they run, so that ``isoswitch --help`` answers at
once; ``tests/test_cli.py`` watches over that.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from isoswitch.codecs.canonical.errors import IsoswitchError
from isoswitch.commands.callbacks import app as callbacks_app
from isoswitch.commands.day import app as day_app
from isoswitch.commands.dialect import app as dialect_app
from isoswitch.commands.explain import explain
from isoswitch.commands.hsm import app as hsm_app
from isoswitch.commands.keys import app as keys_app
from isoswitch.commands.link import app as link_app
from isoswitch.commands.link import links
from isoswitch.commands.options import Config, Json, Operator
from isoswitch.commands.qr import app as qr_app
from isoswitch.commands.route import app as route_app
from isoswitch.commands.saf import exceptions_app, saf_app
from isoswitch.commands.schemas import app as schemas_app
from isoswitch.commands.standin import app as standin_app
from isoswitch.commands.transfers import app as transfers_app
from isoswitch.commands.translate import translate
from isoswitch.commands.units import app as units_app
from isoswitch.commands.wire import decode, diff, encode
from isoswitch.store.place import Place

app = typer.Typer(
    name="isoswitch",
    help="A payment switch for ISO 8583, and a whole payment network to try it on.",
    epilog="Exit codes: 0 done, 1 declined or failed, 2 wrong usage, 3 not reachable.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
verify_app = typer.Typer(
    help="Prove what was written down.", no_args_is_help=True, name="verify"
)
simulate_app = typer.Typer(
    help="Run a whole network under faults, or the other ends by themselves.",
    no_args_is_help=True,
    invoke_without_command=True,
    name="simulate",
)

clock_app = typer.Typer(
    help="The wall clock of the running switch.", no_args_is_help=True, name="clock"
)

NETWORK = "The network"
OPERATE = "Operate the running switch"
TRY = "Try it"
LOOK = "Look"
CODES = "Messages and codes in words"
PARTS = "Parts of a network"

Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="Show the bytes too, secrets hidden.")
]
Pin = Annotated[str, typer.Option(help="The PIN the cardholder types.")]


def main() -> None:
    """Run the command line; a fault becomes one clear sentence and its fix."""
    # Triple DES is what card networks speak; the simulators' oracles import it from
    # where the cryptography package no longer wants it.
    warnings.filterwarnings("ignore", message=".*TripleDES.*")
    try:
        app()
    except (IsoswitchError, OSError) as fault:
        from isoswitch.commands.console import say_failure

        sys.exit(say_failure(fault))


@app.command(rich_help_panel=NETWORK)
def setup(config: Config = None) -> None:
    """Make what the test network needs in var/: token, keys, certificates."""
    from isoswitch.commands import setup as command

    command.setup(config)


@app.command(rich_help_panel=NETWORK)
def up(
    config: Config = None,
    trickle: Annotated[
        bool, typer.Option(help="Let simulated terminals pay all the time.")
    ] = True,
    postgres: Annotated[
        bool, typer.Option("--postgres", help="Keep the store in a PostgreSQL of ours.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, help="So many switch processes; needs PostgreSQL.")
    ] = 1,
) -> None:
    """Start the whole network; Ctrl-C lets it finish what is in flight."""
    from isoswitch.commands import network

    sys.exit(network.up(config, trickle=trickle, postgres=postgres, workers=workers))


@app.command(rich_help_panel=NETWORK)
def demo(config: Config = None, as_json: Json = False) -> None:
    """Start the network, tour what can happen to a payment, and audit the result."""
    from isoswitch.commands import demo as command

    sys.exit(command.demo(config, as_json=as_json))


@app.command(rich_help_panel=NETWORK)
def check(
    config: Annotated[
        Path | None, typer.Argument(help="A configuration file.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell whether a configuration holds, and what to change where it does not."""
    from isoswitch.commands import check as command

    sys.exit(command.check(config, as_json=as_json))


@app.command(rich_help_panel=NETWORK)
def doctor(config: Config = None, as_json: Json = False) -> None:
    """Examine this machine and var/, and say how to mend what is wrong."""
    from isoswitch.commands import doctor as command

    sys.exit(command.doctor(config, as_json=as_json))


@app.command(rich_help_panel=OPERATE)
def status(config: Config = None, as_json: Json = False) -> None:
    """Tell whether the running switch takes money, and if not, why."""
    from isoswitch.commands import operate

    sys.exit(operate.status(config, as_json=as_json))


@app.command(rich_help_panel=OPERATE)
def reload(
    config: Config = None,
    operator: Operator = "",
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would change.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Change the running switch to its configuration file as it stands now."""
    from isoswitch.commands import operate

    sys.exit(
        operate.reload(config, operator=operator, dry_run=dry_run, as_json=as_json)
    )


@clock_app.callback()
def _clock() -> None:
    """The wall clock of the running switch."""


@clock_app.command("confirm")
def confirm_clock(config: Config = None, operator: Operator = "") -> None:
    """Trust the clock as it stands after a jump, and take money again."""
    from isoswitch.commands import operate

    sys.exit(operate.confirm_clock(config, operator=operator))


@app.command(rich_help_panel=TRY)
def pay(
    amount: Annotated[str, typer.Argument(help="Major units, such as 12.50.")],
    card: Annotated[str, typer.Option(help="A test card by name.")] = "visa-ok",
    pin: Pin = "",
    terminal: Annotated[
        str, typer.Option(help="The terminal that pays (DE 41).")
    ] = "TERM0001",
    kind: Annotated[
        str, typer.Option(help="purchase, preauth, complete, void, refund, cash ...")
    ] = "purchase",
    of: Annotated[
        str, typer.Option(help="The transaction that it acts on, such as 1-7.")
    ] = "",
    cash: Annotated[str, typer.Option(help="How much of it is paid out.")] = "0",
    config: Config = None,
    *,
    more: Annotated[
        bool, typer.Option("--more", help="More completions follow.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay until a code is paid or too old.")
    ] = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Pay at a simulated terminal and print both messages, field by field."""
    from isoswitch.commands import pay as command

    sys.exit(
        command.pay(
            config,
            command.Wish(
                kind=kind,
                amount=amount,
                card=card,
                pin=pin,
                of=of,
                cash=cash,
                is_final=not more,
                waits=wait,
            ),
            terminal=terminal,
            verbose=verbose,
            as_json=as_json,
        )
    )


@app.command(rich_help_panel=TRY)
def trigger(
    event: Annotated[str, typer.Argument(help="What shall happen; `list` names all.")],
    terminal: Annotated[
        str, typer.Option(help="The terminal it happens to (DE 41).")
    ] = "TERM0001",
    config: Config = None,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Make one thing go wrong on purpose, and show what the switch makes of it."""
    from isoswitch.commands import pay as command

    sys.exit(
        command.trigger(
            config, event=event, terminal=terminal, verbose=verbose, as_json=as_json
        )
    )


@app.command(rich_help_panel=TRY)
def load(
    rate: Annotated[
        list[float],
        typer.Option(min=0.1, help="Requests a second; repeat it for steps."),
    ] = [20.0],  # noqa: B006 (Typer copies it)
    duration: Annotated[str, typer.Option(help="How long each rate is held.")] = "30s",
    ramp: Annotated[str, typer.Option(help="How long each rise takes.")] = "5s",
    mix: Annotated[
        str, typer.Option(help="Kinds and their weights.")
    ] = "purchase=90,balance=10",
    card: Annotated[list[str], typer.Option(help="A test card by name.")] = [  # noqa: B006
        "visa-ok",
        "mc-ok",
    ],
    terminal: Annotated[
        list[str], typer.Option(help="A terminal (DE 41); else all that can.")
    ] = [],  # noqa: B006
    threshold: Annotated[
        list[str], typer.Option(help="Such as p99<200ms or approved>99%.")
    ] = [],  # noqa: B006
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML page.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="What is asked for, drawn.")] = 1,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Pay at a rate; exit 1 when a threshold is missed or an answer was wrong."""
    from isoswitch.commands import load as command

    sys.exit(
        command.load(
            config,
            rates=rate,
            duration=duration,
            ramp=ramp,
            mix=mix,
            cards=card,
            terminals=terminal,
            thresholds=threshold,
            seed=seed,
            report=report,
            as_json=as_json,
        )
    )


@app.command(rich_help_panel=LOOK)
def show(
    transaction: Annotated[
        str, typer.Argument(help="A transaction id, or `last` for the newest.")
    ],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show every leg of a transaction: fields, MAC and PIN results, why this route."""
    from isoswitch.commands import view

    sys.exit(view.show(_store(config), transaction, as_json=as_json))


@app.command(rich_help_panel=LOOK)
def tail(
    config: Config = None,
    endpoint: Annotated[str, typer.Option(help="Only legs with this endpoint.")] = "",
    last: Annotated[int, typer.Option("-n", min=0, help="Begin so many back.")] = 10,
    follow: Annotated[bool, typer.Option(help="Go on until Ctrl-C.")] = True,
    as_json: Json = False,
) -> None:
    """Show legs as they are written down."""
    from isoswitch.commands import view

    sys.exit(
        view.tail(
            _store(config), endpoint=endpoint, last=last, follow=follow, as_json=as_json
        )
    )


@verify_app.callback()
def _verify() -> None:
    """Prove what was written down."""


@verify_app.command("journal")
def verify_journal(config: Config = None, as_json: Json = False) -> None:
    """Walk the journal's hash chain from its first record."""
    from isoswitch.commands import view

    sys.exit(view.verify_journal(_store(config), as_json=as_json))


@app.command(rich_help_panel=PARTS)
def serve(
    config: Config = None,
    store: Annotated[
        Path | None, typer.Option(help="Another store.", show_default=False)
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="Another log file.", show_default=False)
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="So many processes; needs PostgreSQL.")
    ] = 1,
    worker: Annotated[int, typer.Option(hidden=True)] = 0,
) -> None:
    """Run the switch alone; the crypto process must be running."""
    from isoswitch.commands import serve as command

    command.serve(config, store=store, log=log, workers=workers, worker=worker)


@app.command(rich_help_panel=PARTS)
def hsmd(config: Config = None) -> None:
    """Run the crypto process alone: the only one that ever holds a clear PIN."""
    from isoswitch.commands.hsmd import run_hsmd
    from isoswitch.config.load import load_network
    from isoswitch.config.settings import hsmd_settings

    run_hsmd(hsmd_settings(load_network(config)))


@simulate_app.callback()
def simulate_stories(
    context: typer.Context,
    *,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 20,
    first: Annotated[int, typer.Option(help="The first seed.")] = 1,
    seed: Annotated[
        int | None, typer.Option(help="This seed only.", show_default=False)
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Tell the story of --seed as a timeline.")
    ] = False,
    crash_points: Annotated[
        bool, typer.Option("--crash-points", help="Die at every step of a story.")
    ] = False,
    every: Annotated[
        int, typer.Option(min=1, help="With --crash-points: only every so manieth.")
    ] = 1,
    processes: Annotated[int, typer.Option(min=1, help="Side by side.")] = 1,
    as_json: Json = False,
) -> None:
    """Run a whole network in one process under drawn faults, and audit it."""
    if context.invoked_subcommand is not None:
        return
    from isoswitch.commands import simulation

    if explain and seed is None:
        raise typer.BadParameter("--explain needs the --seed to explain")
    if crash_points:
        code = simulation.crash_points(
            every=every, processes=processes, as_json=as_json
        )
    elif seed is not None and explain:
        code = simulation.explain(seed)
    else:
        code = simulation.seeds(
            first=first if seed is None else seed,
            count=seeds if seed is None else 1,
            processes=processes,
            as_json=as_json,
        )
    raise typer.Exit(code)


@simulate_app.command("issuers")
def simulate_issuers(config: Config = None) -> None:
    """Run the simulated issuers of the configuration."""
    from isoswitch.commands import simulate

    simulate.issuers(config)


@simulate_app.command("trickle")
def simulate_trickle(config: Config = None) -> None:
    """Run the simulated terminals that pay all the time."""
    from isoswitch.commands import simulate

    simulate.trickle(config)


@simulate_app.command("payshield")
def simulate_payshield(config: Config = None) -> None:
    """Run a simulated payment HSM at the first address that is configured."""
    from isoswitch.commands import simulate

    simulate.payment_hsm(config)


app.add_typer(verify_app, rich_help_panel=LOOK)
app.add_typer(route_app, rich_help_panel=LOOK)
app.add_typer(standin_app, rich_help_panel=LOOK)
app.command(rich_help_panel=OPERATE)(links)
app.add_typer(link_app, rich_help_panel=OPERATE)
app.add_typer(day_app, rich_help_panel=OPERATE)
app.add_typer(callbacks_app, rich_help_panel=OPERATE)
app.add_typer(transfers_app, rich_help_panel=OPERATE)
app.add_typer(clock_app, rich_help_panel=OPERATE)
app.add_typer(saf_app, rich_help_panel=OPERATE)
app.add_typer(exceptions_app, rich_help_panel=OPERATE)
app.add_typer(simulate_app, rich_help_panel=PARTS)
app.add_typer(keys_app, rich_help_panel=PARTS)
app.add_typer(hsm_app, rich_help_panel=PARTS)
app.add_typer(units_app, rich_help_panel=PARTS)
app.command(rich_help_panel=CODES)(decode)
app.command(rich_help_panel=CODES)(encode)
app.command(rich_help_panel=CODES)(diff)
app.command(rich_help_panel=CODES)(translate)
app.add_typer(dialect_app, rich_help_panel=CODES)
app.add_typer(qr_app, rich_help_panel=CODES)
app.add_typer(schemas_app, rich_help_panel=CODES)
app.command(rich_help_panel=CODES)(explain)


def _store(config: Path | None) -> Place:
    """Give the store of a configuration."""
    from isoswitch.config.load import load_network

    return load_network(config).store
