"""``isoswitch simulate storms``: the whole network under faults, story after story."""

from __future__ import annotations

from collections import Counter

from isoswitch.commands.console import FAILED, OK, plain_table, print_json, stdout
from isoswitch.simulators.swarm import Report, simulate


def storms(*, first: int, count: int, as_json: bool) -> int:
    """Tell the stories of some seeds and give the exit code.

    Each is told on a virtual clock, so a story of minutes takes a fraction of a second.
    """
    totals: Counter[str] = Counter()
    failed: list[int] = []
    for seed in range(first, first + count):
        report = simulate(seed)
        totals.update(report.counts)
        if not report.is_good:
            failed.append(seed)
        if as_json:
            _print_line(report)
        elif not report.is_good:
            _print_findings(report)
    if not as_json:
        _print_totals(totals, count, failed)
    return FAILED if failed else OK


def _print_line(report: Report) -> None:
    print_json(
        {
            "seed": report.seed,
            "ok": report.is_good,
            "violations": report.violations,
            "findings": [str(each) for each in report.verdict.findings],
            "pending": report.verdict.pending,
            "counts": report.counts,
            "digest": report.digest,
        }
    )


def _print_findings(report: Report) -> None:
    console = stdout()
    console.print(f"[bold red]✗[/] seed {report.seed}")
    for violation in report.violations:
        console.print(f"  violated {violation}")
    console.print(report.verdict.describe())


def _print_totals(totals: Counter[str], count: int, failed: list[int]) -> None:
    console = stdout()
    table = plain_table("what", "times")
    for name, times in sorted(totals.items()):
        table.add_row(name, str(times))
    console.print(table)
    if failed:
        console.print(
            f"[bold red]✗[/] {len(failed)} of {count} storms left something wrong; "
            f"the same seed tells the same story: --first {failed[0]} --count 1"
        )
    else:
        console.print(
            f"[bold green]✓[/] {count} storms, nothing lost and nothing doubled"
        )
