"""``isoswitch simulate``: the whole network under faults, story after story.

Each story is told on a virtual clock, so minutes of it take a fraction of a second.
"""

from __future__ import annotations

import gc
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import get_context
from typing import TypeVar

from isoswitch.commands.console import FAILED, OK, plain_table, print_json, stdout
from isoswitch.simulators.crashpoints import Ending, all_deaths, tell_with
from isoswitch.simulators.shrink import shrink
from isoswitch.simulators.swarm import Report, simulate, tell

CHUNK = 8
# A story makes much garbage and few cycles.
GC_THRESHOLDS = (50_000, 20, 100)

Asked = TypeVar("Asked")
Told = TypeVar("Told")


def seeds(*, first: int, count: int, processes: int, as_json: bool) -> int:
    """Tell the stories of some seeds and give the exit code."""
    totals: Counter[str] = Counter()
    failed: list[int] = []
    for report in _each(simulate, range(first, first + count), processes):
        totals.update(report.counts)
        if not report.is_good:
            failed.append(report.seed)
        if as_json:
            _print_line(report)
        elif not report.is_good:
            _print_findings(report)
    if not as_json:
        _print_totals(totals, count, failed)
    return FAILED if failed else OK


def explain(seed: int) -> int:
    """Tell one story as a timeline; one that fails is cut to its smallest first."""
    report = simulate(seed)
    plan = report.plan
    if not report.is_good:
        plan = shrink(plan, lambda smaller: not tell(smaller).is_good)
    told = tell(plan, with_timeline=True)
    console = stdout()
    for line in told.timeline:
        console.print(line, markup=False)
    console.print(f"\n{plan}", markup=False)
    if told.is_good:
        console.print("[bold green]✓[/] nothing lost and nothing doubled")
        return OK
    _print_findings(told)
    return FAILED


def crash_points(*, every: int, processes: int, as_json: bool) -> int:
    """Let a node die at every step of a story, and give the exit code."""
    steps = tell_with(None).steps
    deaths = list(all_deaths(steps.total()))[::every]
    failed = 0
    for ending in _each(tell_with, deaths, processes):
        failed += not ending.is_good
        if as_json:
            _print_ending(ending)
        elif not ending.is_good:
            console = stdout()
            console.print(f"[bold red]✗[/] {ending.death}")
            console.print("\n".join(ending.violations), markup=False)
            console.print(ending.verdict.describe(), markup=False)
    if not as_json:
        _print_steps(steps, len(deaths), failed)
    return FAILED if failed else OK


def _each(
    ask: Callable[[Asked], Told], questions: Iterable[Asked], processes: int
) -> Iterator[Told]:
    """Ask one by one, or side by side in processes of their own, in order."""
    if processes == 1:
        yield from map(ask, questions)
        return
    with get_context("spawn").Pool(processes, initializer=_prepare) as pool:
        yield from pool.imap(ask, questions, chunksize=CHUNK)


def _prepare() -> None:
    """Set up a process that tells stories, as the command line sets up its own."""
    gc.set_threshold(*GC_THRESHOLDS)
    # The simulated ends use it because terminals do.
    warnings.filterwarnings("ignore", message=".*TripleDES.*")


def _print_line(report: Report) -> None:
    print_json(
        {
            "seed": report.seed,
            "ok": report.is_good,
            "nodes": report.plan.nodes,
            "faults": sorted(report.plan.faults),
            "transactions": report.transactions,
            "violations": report.violations,
            "findings": [str(each) for each in report.verdict.findings],
            "pending": report.verdict.pending,
            "counts": report.counts,
            "digest": report.digest,
        }
    )


def _print_ending(ending: Ending) -> None:
    print_json(
        {
            "death": str(ending.death),
            "ok": ending.is_good,
            "violations": ending.violations,
            "findings": [str(each) for each in ending.verdict.findings],
            "pending": ending.verdict.pending,
        }
    )


def _print_findings(report: Report) -> None:
    console = stdout()
    console.print(f"[bold red]✗[/] seed {report.seed}")
    for violation in report.violations:
        console.print(f"  violated {violation}", markup=False)
    console.print(report.verdict.describe(), markup=False)


def _print_totals(totals: Counter[str], count: int, failed: list[int]) -> None:
    console = stdout()
    table = plain_table("what", "times")
    for name, times in sorted(totals.items()):
        table.add_row(name, str(times))
    console.print(table)
    if failed:
        console.print(
            f"[bold red]✗[/] {len(failed)} of {count} stories left something wrong; "
            f"the smallest part of one that does: isoswitch simulate "
            f"--seed {failed[0]} --explain"
        )
        return
    console.print(
        f"[bold green]✓[/] {count} stories, {totals['record opened']} transactions, "
        "nothing lost and nothing doubled"
    )


def _print_steps(steps: Counter[str], deaths: int, failed: int) -> None:
    console = stdout()
    table = plain_table("a node may die", "times")
    for name, times in sorted(steps.items()):
        table.add_row(name, str(times))
    console.print(table)
    mark = "[bold red]✗[/]" if failed else "[bold green]✓[/]"
    console.print(f"{mark} {deaths} deaths, {failed} of them left something wrong")
