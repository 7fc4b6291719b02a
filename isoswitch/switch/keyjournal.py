"""What becomes of a working key, step by step, in the journal.

Each key has a stream of its own, ``key/<name>``; its last record says where it stands::

    offered  ---> confirmed --> activated      ours, to a partner or a terminal
         '------> refused
    accepted -----------------> activated      the partner's

Confirmed and accepted keys are activated by whoever reads the stream next, so that a
stop between the partner's word and ours loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from isoswitch.hsm.port import WorkingKey
from isoswitch.journal.records import Record, RecordKind
from isoswitch.store.port import Store
from isoswitch.switch.services import Services


class KeyEvent(StrEnum):
    """What happened to a version of a key."""

    OFFERED = "offered"
    CONFIRMED = "confirmed"
    ACCEPTED = "accepted"
    ACTIVATED = "activated"
    REFUSED = "refused"


AGREED = frozenset({KeyEvent.CONFIRMED, KeyEvent.ACCEPTED})
"""The partner uses the key now, and so must we."""

# After these something is left to do with the key.
_OPEN = AGREED | {KeyEvent.OFFERED}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStory:
    """The last event of a key, which version it is of, and when one became active.

    ``key`` has number and check value, where the event tells them; ``activated_at`` may
    be ``""``.
    """

    event: KeyEvent | None = None
    key: WorkingKey = field(default_factory=lambda: WorkingKey(0, b""))
    activated_at: str = ""


async def note_key(
    services: Services, name: str, event: KeyEvent, **facts: Any
) -> None:
    """Write down an event of a key; returns when it is durable."""
    await services.recorder.note(
        RecordKind.LINK, _stream(name), {"key": name, "event": event, **facts}
    )


async def read_story(store: Store, name: str) -> KeyStory:
    """Give where a key stands."""
    story = KeyStory()
    after_seq = 0
    while chained := await store.records(_stream(name), after_seq=after_seq):
        after_seq = chained[-1].seq
        for each in chained:
            story = continue_story(story, each.record)
    return story


def continue_story(story: KeyStory, record: Record) -> KeyStory:
    """Give where a key stands after one more record of its stream."""
    event = KeyEvent(record.body["event"])
    key = WorkingKey(
        record.body.get("version", 0),
        bytes.fromhex(record.body.get("check_value", "")),
    )
    if event is KeyEvent.ACTIVATED:
        story = replace(story, activated_at=record.at)
    if story.event in _OPEN and key.version < story.key.version:
        # What another process says of an earlier key leaves the later one as it is.
        return story
    return replace(story, event=event, key=key)


def _stream(name: str) -> str:
    return f"key/{name}"
