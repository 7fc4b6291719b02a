"""Counts commands by name and outcome, and the time they took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from isoswitch.codecs.canonical.errors import (
    HsmError,
    HsmUnavailable,
    KeyRefused,
    NotSupported,
    VerificationFailed,
)

# The first class that fits an error decides, so a subclass stands before its base.
_OUTCOMES: Mapping[type[Exception], str] = {
    VerificationFailed: "verification_failed",
    KeyRefused: "key_refused",
    HsmUnavailable: "unavailable",
    NotSupported: "not_supported",
    HsmError: "refused",
}
OK = "ok"


class CommandMetrics:
    """Counters of one worker, in the text format of Prometheus.

    Examples
    --------
    >>> metrics = CommandMetrics()
    >>> metrics.count("VerifyMac", OK, 0.25)
    >>> print(metrics.render({"isoswitch_hsm_keys": 3}))
    # TYPE isoswitch_hsm_commands_total counter
    isoswitch_hsm_commands_total{command="VerifyMac",outcome="ok"} 1
    # TYPE isoswitch_hsm_command_seconds_total counter
    isoswitch_hsm_command_seconds_total{command="VerifyMac"} 0.250000
    # TYPE isoswitch_hsm_keys gauge
    isoswitch_hsm_keys 3
    <BLANKLINE>
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._seconds: dict[str, float] = {}

    def count(self, command: str, outcome: str, seconds: float) -> None:
        """Count one command."""
        self._counts[command, outcome] += 1
        self._seconds[command] = self._seconds.get(command, 0.0) + seconds

    def render(self, gauges: Mapping[str, int]) -> str:
        """Give all counters, and gauges that others know, as text."""
        lines = ["# TYPE isoswitch_hsm_commands_total counter"]
        for (command, outcome), number in sorted(self._counts.items()):
            labels = f'command="{command}",outcome="{outcome}"'
            lines.append(f"isoswitch_hsm_commands_total{{{labels}}} {number}")
        name = "isoswitch_hsm_command_seconds_total"
        lines.append(f"# TYPE {name} counter")
        for command, seconds in sorted(self._seconds.items()):
            lines.append(f'{name}{{command="{command}"}} {seconds:.6f}')
        for gauge, value in gauges.items():
            lines += [f"# TYPE {gauge} gauge", f"{gauge} {value}"]
        return "\n".join(lines) + "\n"


def merge(texts: Mapping[str, str]) -> str:
    """Give the counters of several tokens as one text, each line with its token.

    Examples
    --------
    >>> text = '# TYPE n counter\\nn{command="Sign"} 3\\n# TYPE k gauge\\nk 1\\n'
    >>> print(merge({"a": text, "b": text}))
    # TYPE n counter
    n{token="a",command="Sign"} 3
    n{token="b",command="Sign"} 3
    # TYPE k gauge
    k{token="a"} 1
    k{token="b"} 1
    <BLANKLINE>
    """
    families: dict[str, list[str]] = {}
    for token, text in texts.items():
        family = ""
        for line in text.splitlines():
            if line.startswith("#"):
                family = line
                continue
            series, _, value = line.rpartition(" ")
            name, _, labels = series.rstrip("}").partition("{")
            labels = ",".join(filter(None, (f'token="{token}"', labels)))
            families.setdefault(family, []).append(f"{name}{{{labels}}} {value}")
    return "".join(
        f"{line}\n" for family, series in families.items() for line in (family, *series)
    )


def outcome_of(error: Exception) -> str:
    """Give the outcome that an error counts as."""
    fitting = (name for kind, name in _OUTCOMES.items() if isinstance(error, kind))
    return next(fitting, "fault")
