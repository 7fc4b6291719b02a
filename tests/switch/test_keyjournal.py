"""What the journal tells of a key whose events come from several processes."""

from __future__ import annotations

import pytest

from isoswitch.journal.records import Record, RecordKind
from isoswitch.switch.keyjournal import KeyEvent, KeyStory, continue_story

KEY = "north/zak"


def told(*events: tuple[str, int]) -> KeyStory:
    """Read events of versions; each happens at its place in the row."""
    story = KeyStory()
    for at, (event, version) in enumerate(events):
        body = {"key": KEY, "event": event, "version": version}
        record = Record(
            kind=RecordKind.LINK, transaction_id=f"key/{KEY}", at=str(at), body=body
        )
        story = continue_story(story, record)
    return story


@pytest.mark.parametrize("late", ["accepted", "refused", "activated"])
@pytest.mark.parametrize("event", ["offered", "confirmed", "accepted"])
def test_what_is_left_to_do_outlasts_late_words_of_an_earlier_key(
    event: str, late: str
) -> None:
    story = told((event, 3), (late, 2))
    assert (story.event, story.key.version) == (event, 3)


def test_a_late_activation_still_tells_the_age() -> None:
    assert told(("offered", 3), ("activated", 2)).activated_at == "1"


def test_what_is_done_gives_way_to_the_next() -> None:
    story = told(("offered", 2), ("refused", 2), ("offered", 3))
    assert (story.event, story.key.version) == (KeyEvent.OFFERED, 3)
