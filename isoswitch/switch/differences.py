"""What differs between two configurations, in words; values of secrets are in neither.

A configuration holds names of keys and of files, never what is in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from isoswitch.routing.table import RoutingTable
from isoswitch.switch.settings import SwitchSettings

NAMES_MAX = 20
TABLES = ("listeners", "endpoints", "houses", "merchants", "terminals")
# What is set for the life of a process, apart from what its command line was told.
LASTING = ("node", "pan_hash_key", "seal_key", "cutover_at", "cutover_zone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A whole configuration as the switch process is given it.

    ``lasting`` are facts that only a restart changes, by the key that sets them;
    ``digests`` are the SHA-256 of the files that were read.
    """

    settings: SwitchSettings
    routing: RoutingTable
    lasting: Mapping[str, str]
    digests: Mapping[str, str]


def find_lasting(before: Configuration, after: Configuration) -> list[str]:
    """Name what differs and cannot be changed while the switch runs."""
    changed = [
        f"{key} ({old} -> {after.lasting.get(key, 'nothing')})"
        for key, old in before.lasting.items()
        if after.lasting.get(key) != old
    ]
    changed += [key for key in after.lasting if key not in before.lasting]
    for name in LASTING:
        old, new = getattr(before.settings, name), getattr(after.settings, name)
        if old != new:
            changed.append(f"{name} ({old} -> {new})")
    return changed


def describe_changes(before: Configuration, after: Configuration) -> list[str]:
    """Tell what is added, removed and changed, one sentence each."""
    return [
        *_scalars(before.settings, after.settings),
        *(
            sentence
            for table in TABLES
            for sentence in _rows(
                table.removesuffix("s"),
                _by_name(getattr(before.settings, table)),
                _by_name(getattr(after.settings, table)),
            )
        ),
        *_routing(before.routing, after.routing),
    ]


def _scalars(before: SwitchSettings, after: SwitchSettings) -> Iterator[str]:
    for each in fields(SwitchSettings):
        old, new = getattr(before, each.name), getattr(after, each.name)
        if each.name in TABLES or each.name in LASTING or old == new:
            continue
        if is_dataclass(old):
            yield f"changed {each.name}: {_fields(old, new)}"
        else:
            yield f"changed {each.name}: {old} -> {new}"


def _rows(
    what: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[str]:
    """Tell of the rows of one table; many of them are counted."""
    added = [name for name in after if name not in before]
    removed = [name for name in before if name not in after]
    changed = [name for name in after if name in before and before[name] != after[name]]
    for verb, names in (("added", added), ("removed", removed)):
        if len(names) > NAMES_MAX:
            yield f"{verb} {len(names)} {what}s"
        else:
            yield from (f"{verb} {what} {name}" for name in names)
    if len(changed) > NAMES_MAX:
        yield f"changed {len(changed)} {what}s"
        return
    for name in changed:
        yield f"changed {what} {name}: {_fields(before[name], after[name])}"


def _routing(before: RoutingTable, after: RoutingTable) -> Iterator[str]:
    # The line where a row stands says nothing about what it does.
    old = {row.label: replace(row, line=0) for row in before.bins.rows().values()}
    new = {row.label: replace(row, line=0) for row in after.bins.rows().values()}
    yield from _rows("BIN", old, new)
    yield from _rows("wallet prefix", before.codes, after.codes)
    old_rules = {rule.name: rule for rule in before.rules}
    new_rules = {rule.name: rule for rule in after.rules}
    yield from _rows("rule", old_rules, new_rules)
    if list(old_rules) != list(new_rules) and set(old_rules) == set(new_rules):
        yield "changed the order of the rules"
    if before.costs != after.costs:
        yield "changed costs"


def _fields(old: Any, new: Any) -> str:
    return ", ".join(
        f"{each.name} {_shown(getattr(old, each.name))} -> "
        f"{_shown(getattr(new, each.name))}"
        for each in fields(old)
        if getattr(old, each.name) != getattr(new, each.name)
    )


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex() or "nothing"
    if isinstance(value, Mapping) and len(value) > NAMES_MAX:
        return f"{len(value)} rows"
    return "nothing" if value in ("", None, ()) else str(value)


def _by_name(table: Any) -> Mapping[str, Any]:
    if isinstance(table, Mapping):
        return table
    return {row.name: row for row in table}
