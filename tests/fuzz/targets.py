"""Every fuzz target by name; ``iso8583:NAME`` is one layout, ``framing:NAME`` one."""

from __future__ import annotations

from collections.abc import Mapping

from isoswitch.codecs.framing import FRAMINGS
from tests.fuzz import messages, tools, values
from tests.fuzz.messages import NAMES, Target
from tests.fuzz.seeds import SEEDS


def get_target(name: str) -> Target:
    """Give a target; a part after a colon fixes the byte that chooses it."""
    if name in TARGETS:
        return TARGETS[name]
    group, part = _chosen(name)
    target = TARGETS[group]
    return lambda data: target(bytes([part]) + data)


def seeds_of(name: str) -> list[bytes]:
    """Give the seeds of a target."""
    if name in TARGETS:
        return SEEDS[name]
    group, part = _chosen(name)
    # What the other layouts say is a seed too: any of it may be good in this one.
    return [seed[1:] for seed in SEEDS[group]] if part < 256 else []


def target_names() -> tuple[str, ...]:
    """The targets of a campaign: each decoder once."""
    split = {"iso8583": NAMES, "framing": FRAMINGS}
    names: list[str] = []
    for name in TARGETS:
        names += [f"{name}:{part}" for part in split.get(name, ())] or [name]
    return tuple(names)


def _chosen(name: str) -> tuple[str, int]:
    group, _, part = name.partition(":")
    parts = {"iso8583": NAMES, "framing": FRAMINGS}.get(group, ())
    if part not in parts:
        msg = f"no target {name!r}; there are {', '.join(target_names())}"
        raise LookupError(msg)
    return group, parts.index(part)


TARGETS: Mapping[str, Target] = {
    **messages.TARGETS,
    **values.TARGETS,
    **tools.TARGETS,
}
