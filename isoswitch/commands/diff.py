"""What ``isoswitch diff`` does: read two messages and show where they differ."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from isoswitch.codecs.annotation import annotate
from isoswitch.codecs.detection import Profile
from isoswitch.codecs.iso8583.diff import diff_messages
from isoswitch.codecs.iso8583.message import Message
from isoswitch.commands.console import (
    FAILED,
    OK,
    Failure,
    plain_table,
    print_json,
    stdout,
)
from isoswitch.commands.conversations import Known, failure_of, find_conversations
from isoswitch.commands.inputs import read_input

ABSENT = "-"
HIDDEN = "differs where it is hidden"

Row = tuple[str, str, str, str]


def diff(
    left: str, right: str, known: Known, *, as_json: bool = False, unsafe: bool = False
) -> int:
    """Show the fields in which two messages differ; 0 where none does, else 1."""
    first, second = _read(left, known), _read(right, known)
    rows = _rows(first[1], second[1], unsafe=unsafe)
    if as_json:
        print_json(
            {
                "left": str(first[0]),
                "right": str(second[0]),
                "differences": [
                    {"place": place, "name": name, "left": was, "right": now}
                    for place, name, was, now in rows
                ],
            }
        )
        return FAILED if rows else OK
    console = stdout()
    console.print(Text(f"left   {first[0]}\nright  {second[0]}", style="dim"))
    if not rows:
        console.print(Text.assemble(("✓ ", "green"), "no field differs"))
        return OK
    table = plain_table("field", "name", "left", "right")
    for place, name, was, now in rows:
        style = "yellow" if ABSENT not in {was, now} else "red"
        table.add_row(
            Text(place, style="bold cyan"),
            Text(name, style="dim"),
            Text(was, style=style),
            Text(now, style=style),
        )
    console.print(table)
    return FAILED


def _read(what: str, known: Known) -> tuple[Profile, Message]:
    """Give the only message of an input."""
    conversations, _ = find_conversations(read_input(what), known)
    heard = [each for one in conversations for each in one.heard if each.payload]
    found = conversations[0].detection if conversations else None
    if found is None:
        fault = conversations[0].fault if conversations else None
        if fault is None:
            raise Failure("there is no message", fix="give two messages")
        raise failure_of(fault)
    if len(heard) != 1:
        fix = "give one message on each side; decode shows all of them"
        raise Failure(f"the input holds {len(heard)} messages", fix=fix)
    profile = found.best.profile
    return profile, profile.read(heard[0].payload).message


def _rows(left: Message, right: Message, *, unsafe: bool) -> list[Row]:
    """Give the fields that differ, and inside them the parts that do."""
    was, now = _shown(left, unsafe=unsafe), _shown(right, unsafe=unsafe)
    rows: list[Row] = []
    for found in diff_messages(left, right):
        inner = f"{found.field}."
        places = [found.field, *(p for p in {**was, **now} if p.startswith(inner))]
        for place in places:
            before, after = was.get(place), now.get(place)
            if place != found.field and before == after:
                continue
            name = (before or after or ("", ""))[0]
            old = before[1] if before else ABSENT
            new = after[1] if after else ABSENT
            rows.append((place, name, old, new if new != old else HIDDEN))
    return rows


def _shown(message: Message, *, unsafe: bool) -> Mapping[str, tuple[str, str]]:
    return {
        part.place: (part.name, part.value) for part in annotate(message, unsafe=unsafe)
    }
