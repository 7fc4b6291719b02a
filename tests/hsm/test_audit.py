"""The audit trail of key changes, where its disk or its process fails."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from isoswitch.codecs.canonical.errors import VerificationFailed
from isoswitch.hsm.audit import (
    IMPORT,
    Entry,
    KnownTrail,
    append_entry,
    drop_interrupted,
    read_entries,
)
from tests.hsm.full_disk import full_disk


def entry(action: str, *operators: str) -> Entry:
    return Entry(time="2026-11-23T00:00:00+00:00", action=action, operators=operators)


def act(trail: Path, kcv: str, *, action: str = "offer") -> str:
    """Write down that something was done with a value of one key."""
    told = msgspec.structs.replace(entry(action, "link n"), key="n/zpk", kcv=kcv)
    return append_entry(trail, told)


def used(known: KnownTrail, *values: str) -> list[bool]:
    return [known.has_used("n/zpk", each) for each in values]


def actions(trail: Path, head: str) -> list[str]:
    return [each.action for each in read_entries(trail, head=head)]


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    return tmp_path / "keys.audit"


def test_a_disk_that_is_full_for_a_moment_leaves_the_trail_as_it_was(
    trail: Path,
) -> None:
    append_entry(trail, entry("generate", "ann"))
    before = trail.read_bytes()
    with full_disk(at=len(before) + 20), pytest.raises(OSError, match="too large"):
        append_entry(trail, entry("rotate", "ann"))
    assert trail.read_bytes() == before
    head = append_entry(trail, entry("activate", "ann"))
    assert actions(trail, head) == ["generate", "activate"]


def test_what_a_crash_left_of_a_line_counts_for_nothing(trail: Path) -> None:
    head = append_entry(trail, entry("generate", "ann"))
    with trail.open("ab") as file:
        file.write(b'{"time":"2026-11-23T00:0')
    assert actions(trail, head) == ["generate"]
    head = append_entry(trail, entry("rotate", "ann"))
    assert actions(trail, head) == ["generate", "rotate"]


def test_a_first_line_that_was_not_finished_counts_for_nothing(trail: Path) -> None:
    trail.write_bytes(b'{"time":"2026-11-23T00:0')
    head = append_entry(trail, entry("generate", "ann"))
    assert actions(trail, head) == ["generate"]


def test_a_line_may_be_long(trail: Path) -> None:
    append_entry(trail, entry("generate", "ann"))
    append_entry(trail, entry("rotate", *["somebody"] * 2000))
    head = append_entry(trail, entry("activate", "ann"))
    assert actions(trail, head) == ["generate", "rotate", "activate"]


def test_to_append_only_the_end_is_read(trail: Path) -> None:
    head = append_entry(trail, entry("generate", "ann"))
    line = trail.read_bytes()
    with trail.open("wb") as file:
        file.truncate(1 << 40)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + line)
    append_entry(trail, entry("rotate", "ann"))
    with trail.open("rb") as file:
        file.seek(1 << 40)
        last = msgspec.json.decode(file.read().splitlines()[-1], type=Entry)
    assert (last.action, last.previous) == ("rotate", head)


def test_what_is_known_of_a_trail_grows_with_it(trail: Path) -> None:
    known = KnownTrail(trail)
    known.follow(head="")
    assert used(known, "AA") == [False]
    known.follow(head=act(trail, "AA"))
    head = act(trail, "BB", action=IMPORT)
    with trail.open("ab") as file:
        file.write(b'{"time":"2026-11-23T00:0')
    known.follow(head=head)
    assert used(known, "AA", "BB", "CC") == [True, True, False]
    assert known.has_imported("n/zpk", "BB", operator="link n")
    assert not known.has_imported("n/zpk", "BB", operator="link s")
    assert not known.has_imported("n/zpk", "AA", operator="link n")
    later = act(trail, "CC")
    known.follow(head=head)
    assert used(known, "CC") == [False]
    known.follow(head=later)
    assert used(known, "CC") == [True]


def test_what_was_proved_once_is_not_read_again(trail: Path) -> None:
    known = KnownTrail(trail)
    known.follow(head=act(trail, "AA"))
    blank = b" " * (trail.stat().st_size - 1) + b"\n"
    head = act(trail, "BB")
    with trail.open("r+b") as file:
        file.write(blank)
    known.follow(head=head)
    assert used(known, "AA", "BB") == [True, True]
    with pytest.raises(VerificationFailed, match="line 1 "):
        KnownTrail(trail).follow(head=head)


def test_a_trail_from_a_backup_is_followed(trail: Path) -> None:
    known = KnownTrail(trail)
    first = act(trail, "AA")
    backup = trail.read_bytes()
    known.follow(head=act(trail, "BB"))
    known.follow(head=first)
    trail.write_bytes(backup)
    known.follow(head=first)
    assert used(known, "AA", "BB") == [True, False]
    known.follow(head=act(trail, "CC"))
    assert used(known, "AA", "CC") == [True, True]


def test_an_act_that_a_crash_interrupted_is_dropped(trail: Path) -> None:
    drop_interrupted(trail, head="")
    act(trail, "AA")
    drop_interrupted(trail, head="")
    assert trail.read_bytes() == b""
    known = KnownTrail(trail)
    head = act(trail, "AA")
    before = trail.read_bytes()
    act(trail, "BB")
    known.follow(head=head)
    drop_interrupted(trail, head=head)
    assert trail.read_bytes() == before
    drop_interrupted(trail, head=head)
    assert trail.read_bytes() == before
    known.follow(head=act(trail, "CC"))
    assert used(known, "AA", "BB", "CC") == [True, False, True]


def test_what_follows_an_earlier_key_file_is_kept(trail: Path) -> None:
    head = act(trail, "AA")
    act(trail, "BB")
    act(trail, "CC")
    before = trail.read_bytes()
    drop_interrupted(trail, head=head)
    assert trail.read_bytes() == before


def test_a_trail_that_never_held_tells_nothing_the_second_time_either(
    trail: Path,
) -> None:
    head = act(trail, "AA")
    with trail.open("ab") as file:
        file.write(b"hello\n")
    known = KnownTrail(trail)
    for _ in range(3):
        with pytest.raises(VerificationFailed, match="line 2 is no entry"):
            known.follow(head=head)
        assert used(known, "AA") == [False]


def test_a_trail_that_does_not_hold_tells_nothing(trail: Path) -> None:
    known = KnownTrail(trail)
    head = act(trail, "AA")
    known.follow(head=head)
    with trail.open("ab") as file:
        file.write(b"hello\n")
    with pytest.raises(VerificationFailed, match="line 2 is no entry"):
        known.follow(head=head)
    trail.unlink()
    with pytest.raises(VerificationFailed, match="is missing"):
        known.follow(head=head)
