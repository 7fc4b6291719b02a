"""Which day the clock names, and how nodes agree on it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
import trio
import trio.testing

from isoswitch.store.days import BusinessDay, DayState
from isoswitch.store.disk import MemoryDisk
from isoswitch.store.memory import MemoryStore
from isoswitch.store.port import TransactionState
from isoswitch.switch.businessday import BusinessDays, date_at, next_date
from tests.store.units import closing, opening


@pytest.mark.parametrize(
    ("now", "cutover", "zone", "expected"),
    [
        ("2026-01-02T23:59:59", "00:00", "UTC", "2026-01-02"),
        ("2026-01-03T00:00:00", "00:00", "UTC", "2026-01-03"),
        ("2026-01-02T21:59:59", "23:00", "Europe/Berlin", "2026-01-02"),
        ("2026-01-02T22:00:00", "23:00", "Europe/Berlin", "2026-01-03"),
        ("2026-07-02T21:00:00", "23:00", "Europe/Berlin", "2026-07-03"),
        ("2026-12-31T15:00:00", "23:00", "Asia/Shanghai", "2027-01-01"),
        ("2026-01-02T04:59:59", "00:00", "America/New_York", "2026-01-01"),
    ],
)
def test_the_next_day_begins_at_the_cutover(
    now: str, cutover: str, zone: str, expected: str
) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert (
        date_at(moment, cutover_at=time.fromisoformat(cutover), zone=ZoneInfo(zone))
        == expected
    )


def test_the_day_after_new_years_eve_is_new_year() -> None:
    assert next_date("2026-12-31") == "2027-01-01"


class Watched(MemoryStore):
    """A store that counts how often it is asked for the days."""

    questions = 0

    async def days(self) -> Sequence[BusinessDay]:
        """Count, and give the days."""
        self.questions += 1
        return await super().days()


class Noon:
    """A clock that stands still."""

    def now(self) -> datetime:
        """Give noon."""
        return datetime(2026, 1, 31, 12, tzinfo=UTC)


async def test_a_day_on_which_nothing_is_cut_asks_the_store_nothing(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    store = Watched(MemoryDisk())
    days = BusinessDays(
        store,
        Noon(),
        cutover_at=time(),
        zone="UTC",
        reconciling={},
        trusts_clock=lambda: True,
    )
    store.on_commit(days.follow)
    await days.begin()
    nursery.start_soon(days.run)
    await trio.sleep(2)
    before = store.questions
    await trio.sleep(3600)
    assert store.questions == before
    await store.commit(opening("1"))
    await days.cut(reason="a test")
    await trio.sleep(10)
    states = {day.date: day.state for day in await store.days()}
    assert states == {"2026-01-31": DayState.CUT, "2026-02-01": DayState.OPEN}
    await store.commit(closing("1"))
    await trio.sleep(2)
    stored = await store.find_transaction("1")
    assert stored is not None
    assert stored.state is TransactionState.CLOSED
    (first, _) = await store.days()
    assert first.state is DayState.CLOSED
    before = store.questions
    await trio.sleep(3600)
    assert store.questions == before


async def test_nodes_that_start_together_open_one_first_day(
    autojump_clock: trio.testing.MockClock,
) -> None:
    disk = MemoryDisk()

    async def begin() -> None:
        store = MemoryStore(disk, is_shared=True, delay_s=lambda: 0.01)
        days = BusinessDays(
            store,
            Morning(),
            cutover_at=time(),
            zone="UTC",
            reconciling={},
            trusts_clock=lambda: True,
        )
        await days.begin()
        assert days.date == "2026-01-02"
        await store.aclose()

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(begin)
    assert list(disk.days) == ["2026-01-02"]


class Morning:
    """A clock that stands."""

    def now(self) -> datetime:
        """Give a morning."""
        return datetime(2026, 1, 2, 8, tzinfo=UTC)
