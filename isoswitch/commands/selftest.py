"""``isoswitch hsm selftest``: known answers and the capability report of each token.

Test keys are loaded into the token for this session only; the stored keys are not
touched, and the crypto process may go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isoswitch.commands.console import FAILED, OK, plain_table, print_json, stdout
from isoswitch.config.load import load_network
from isoswitch.config.settings import hsmd_settings
from isoswitch.hsm.capabilities import FUNCTIONS, Capability, Place, probe
from isoswitch.hsm.hardening import harden_process
from isoswitch.hsm.token import open_engine
from isoswitch.hsm.vectors.selftest import Failure, run_vectors

_COLOURS = {Place.TOKEN: "green", Place.MEMORY: "yellow", Place.NOWHERE: "red"}


def selftest(config: Path | None, *, as_json: bool) -> int:
    """Test every configured token and print the report; 1 if a vector fails."""
    settings = hsmd_settings(load_network(config))
    harden_process()
    is_well = True
    for token in settings.tokens:
        engine = open_engine(token)
        passed, failures = run_vectors(engine)
        capabilities = probe(engine)
        is_well = is_well and not failures
        if as_json:
            print_json(_listing(token.label, passed, failures, capabilities))
        else:
            _say_vectors(token.label, passed, failures)
            _say_capabilities(capabilities)
    return OK if is_well else FAILED


def _listing(
    label: str,
    passed: Mapping[str, int],
    failures: list[Failure],
    capabilities: Mapping[Capability, bool],
) -> dict[str, Any]:
    return {
        "token": label,
        "ok": not failures,
        "passed": dict(passed),
        "failed": [
            {
                "function": failure.vector.function,
                "name": failure.vector.name,
                "reason": failure.reason,
            }
            for failure in failures
        ],
        "capabilities": {str(name): can for name, can in capabilities.items()},
        "functions": [
            {
                "function": function.name,
                "place": function.place(capabilities),
                "in_memory": function.in_memory,
                "why": function.why,
                "missing": [n for n in function.needs if not capabilities[n]],
            }
            for function in FUNCTIONS
        ],
    }


def _say_vectors(
    label: str, passed: Mapping[str, int], failures: list[Failure]
) -> None:
    total = sum(passed.values()) + len(failures)
    mark = "[red]✗[/]" if failures else "[green]✓[/]"
    count = f"{total - len(failures)} of {total}"
    stdout().print(f"{mark} token {label}: {count} published vectors come out right")
    for failure in failures:
        vector = failure.vector
        reason = f"{vector.function} {vector.name}: {failure.reason}"
        stdout().print(f"  [red]{reason}[/]")


def _say_capabilities(capabilities: Mapping[Capability, bool]) -> None:
    console = stdout()
    can = ", ".join(name for name, able in capabilities.items() if able)
    cannot = ", ".join(name for name, able in capabilities.items() if not able)
    console.print(f"\nThe token can   {can}")
    console.print(f"It cannot       {cannot or 'nothing that was asked'}\n")
    table = plain_table("function", "keys are in", "in memory", "because")
    for function in FUNCTIONS:
        place = function.place(capabilities)
        missing = ", ".join(each for each in function.needs if not capabilities[each])
        table.add_row(
            function.name,
            f"[{_COLOURS[place]}]{place}[/]",
            function.in_memory,
            f"the token lacks {missing}" if missing else function.why,
        )
    console.print(table)
    console.print(
        "\nMemory is that of the crypto process, which nothing else may read. A clear"
        "\nPIN in it is not what PCI PIN allows in production: see docs/hsm.md."
    )
