"""A power cut at any moment: what was acknowledged is there, and nothing is torn.

The disk notes down every write and sync of a run; from that, the files that a cut
after each of these events may leave are built, opened and walked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

from isoswitch.journal.chain import walk_chain
from isoswitch.store.batching import Waiter
from isoswitch.store.inspection import inspect_store
from isoswitch.store.port import Committed
from isoswitch.store.reader import StoreReader
from isoswitch.store.schema import connect_writer
from tests.store.disks import Disk, Event, after_power_cut, mounted
from tests.store.driving import write
from tests.store.units import closing, opening

BATCHES = 25
CHECKPOINT_PAGES = 40
SEED = 20260131


@dataclass(slots=True)
class Tally:
    """What became of the disks of one run."""

    images: int = 0
    lost: int = 0
    broken: int = 0


def test_no_acknowledged_unit_is_lost_with_synchronous_full(tmp_path: Path) -> None:
    tally = _cut_everywhere(tmp_path, _recorded(tmp_path, synchronous="full"))
    assert tally.images > 500
    assert (tally.lost, tally.broken) == (0, 0), f"seed {SEED}: {tally}"


def test_the_same_cuts_lose_units_with_synchronous_normal(tmp_path: Path) -> None:
    """The control: a disk model that could not lose anything would prove nothing."""
    tally = _cut_everywhere(tmp_path, _recorded(tmp_path, synchronous="normal"))
    assert tally.lost > 50
    assert tally.broken == 0, f"seed {SEED}: {tally}"


def _recorded(folder: Path, *, synchronous: str) -> list[Event]:
    """Write batches of growing and shrinking size; give all that reached the disk."""
    with mounted("recording") as disk:
        connection = connect_writer(folder / "recorded.db", vfs=disk.name)
        connection.pragma("synchronous", synchronous)
        numbers = [
            [f"{batch}-{unit}" for unit in range(batch % 5 + 1)]
            for batch in range(BATCHES)
        ]
        write(
            connection,
            [
                [make(number) for number in batch for make in (opening, closing)]
                for batch in numbers
            ],
            delivered=lambda batch: _note_acknowledged(disk, batch),
            checkpoint_pages=CHECKPOINT_PAGES,
        )
        return disk.events


def _note_acknowledged(disk: Disk, batch: list[Waiter]) -> None:
    committed = batch[-1].result
    assert isinstance(committed, Committed)
    disk.note(str(committed.last_seq))


def _cut_everywhere(folder: Path, events: list[Event]) -> Tally:
    tally = Tally()
    random = Random(SEED)
    acknowledged = 0
    for count, event in enumerate(events, start=1):
        if not event.file:
            acknowledged = int(event.what)
        image = folder / f"cut-{count}"
        image.mkdir()
        for name, content in after_power_cut(events[:count], random).items():
            (image / name).write_bytes(content)
        _judge(image / "recorded.db", acknowledged, tally)
    return tally


def _judge(path: Path, acknowledged: int, tally: Tally) -> None:
    """Start on a disk as a switch does, and compare it with what was promised."""
    connection = connect_writer(path)
    verdict = walk_chain(StoreReader(connection).links())
    connection.close()
    tally.images += 1
    tally.lost += verdict.last_seq < acknowledged
    tally.broken += not (verdict.is_sound and inspect_store(path).is_sound)
