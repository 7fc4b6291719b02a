"""Fuzz with coverage guidance: ``python -m tests.fuzz TARGET [SECONDS]``.

    python -m tests.fuzz                     names the targets
    python -m tests.fuzz tlv 60              one target for a minute
    python -m tests.fuzz iso8583:cup-pos 60  one layout of messages
    python -m tests.fuzz all 1800            every target in turn, half an hour in all

A target starts from its seeds and from what earlier runs found, in
``var/fuzz/TARGET``. Atheris runs in a process of its own, slowed down by counting
branches; afterwards everything it kept is decoded again at full speed, and the longest
decode is told. The input that broke a target is saved there too, as ``crash-...``;
the exit code is then 1.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("var/fuzz")
SECONDS = 60
INPUT_BYTES_MAX = 4096
TIMEOUT_S = 10
DECODE_S_MAX = 0.005
LIMITS_S = {"detection": 0.25}
"""What may take longer: detection decodes in every dialect, for a person who waits."""

ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a run of one target came to."""

    name: str
    executions: int
    longest_s: float
    longest_bytes: int
    fault: str

    def __str__(self) -> str:
        longest = f"{self.longest_s * 1000:7.2f} ms ({self.longest_bytes} bytes)"
        verdict = self.fault or "clean"
        return f"{self.name:<34}{self.executions:>10}  {longest:<24}  {verdict}"


def main() -> int:
    """Run what the command line asks for."""
    match sys.argv[1:]:
        case ["--instrumented", name, seconds]:
            run_instrumented(name, int(seconds))
            return 0
        case [name] | [name, _] if name != "--help":
            seconds = int(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
            return campaign(name, seconds)
        case _:
            from tests.fuzz.targets import target_names

            sys.stdout.write(f"{__doc__}\n{', '.join(target_names())}\n")
            return 2


def campaign(name: str, seconds: int) -> int:
    """Run one target, or all in turn; print a line of figures for each."""
    from tests.fuzz.targets import target_names

    names = target_names() if name == "all" else (name,)
    sys.stdout.write(f"{'target':<34}{'executions':>10}  longest decode\n")
    is_clean = True
    for each in names:
        figures = run(each, max(seconds // len(names), 1))
        is_clean = is_clean and not figures.fault
        sys.stdout.write(f"{figures}\n")
        sys.stdout.flush()
    return 0 if is_clean else 1


def run(name: str, seconds: int) -> Figures:
    """Fuzz a target in a process of its own, then time what it kept."""
    from tests.fuzz.targets import seeds_of

    folder = FOLDER / name.replace(":", "-")
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds_of(name)):
        (folder / f"seed-{number:03}").write_bytes(seed)
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--instrumented", name, str(seconds)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    (folder.parent / f"{folder.name}.log").write_text(done.stderr)
    count = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    what = re.findall(
        r"^(\w[\w.]*(?:Error|Exception|Undetected)\b.*)$",
        done.stdout + done.stderr,
        re.MULTILINE,
    )
    fault = (what[-1] if what else f"exit code {done.returncode}")[:100]
    longest_s, longest_bytes = replay(name, folder)
    limit_s = LIMITS_S.get(name, DECODE_S_MAX)
    if longest_s > limit_s:
        fault = f"over {limit_s * 1000:.0f} ms"
    return Figures(
        name=name,
        executions=int(count[1]) if count else 0,
        longest_s=longest_s,
        longest_bytes=longest_bytes,
        fault=fault if done.returncode or longest_s > limit_s else "",
    )


def replay(name: str, folder: Path) -> tuple[float, int]:
    """Give the longest decode of what was kept, the best of some attempts each."""
    from tests.fuzz.clock import CLOCK
    from tests.fuzz.targets import get_target

    target, longest = get_target(name), (0.0, 0)
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        if path.name.startswith(("crash-", "timeout-", "oom-")):
            continue
        best_s = float("inf")
        for _ in range(ATTEMPTS):
            CLOCK.take_longest_s()
            target(data)
            best_s = min(best_s, CLOCK.take_longest_s())
            if best_s <= longest[0]:
                break
        longest = max(longest, (best_s, len(data)))
    return longest


def run_instrumented(name: str, seconds: int) -> None:
    """Fuzz a target in this process; never returns."""
    import atheris

    with atheris.instrument_imports(include=["isoswitch"]):
        from tests.fuzz.targets import get_target
    folder = FOLDER / name.replace(":", "-")
    atheris.Setup(
        [
            f"tests.fuzz {name}",
            f"-max_total_time={seconds}",
            f"-max_len={INPUT_BYTES_MAX}",
            f"-timeout={TIMEOUT_S}",
            f"-artifact_prefix={folder}/",
            "-print_final_stats=1",
            str(folder),
        ],
        get_target(name),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
