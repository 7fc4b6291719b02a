"""Figures in the text format of Prometheus (version 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One number, and the labels it stands under.

    ``suffix`` follows the name of the family, as in the buckets of a histogram.
    """

    value: float
    labels: Mapping[str, str]
    suffix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The samples of one name, what they count, and how."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: tuple[Sample, ...]


def render(families: Iterable[Family]) -> str:
    r"""Write families as text.

    Examples
    --------
    >>> sample = Sample(value=2, labels={"kind": 'a "b"'})
    >>> print(render([
    ...     Family(name="done_total", kind="counter", help="Done.", samples=(sample,))
    ... ]), end="")
    # HELP done_total Done.
    # TYPE done_total counter
    done_total{kind="a \"b\""} 2
    """
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {family.help}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines += [_line(family.name, sample) for sample in family.samples]
    return "\n".join(lines) + "\n"


def _line(name: str, sample: Sample) -> str:
    labels = ",".join(
        f'{key}="{value.translate(_ESCAPES)}"' for key, value in sample.labels.items()
    )
    given = f"{{{labels}}}" if labels else ""
    return f"{name}{sample.suffix}{given} {sample.value:.15g}"
