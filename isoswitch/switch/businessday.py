"""The business day: which one is open, when it is cut, and when it is closed.

The store keeps the days (``store/days.py``); this is the switch's side of them. A day
is cut by the clock, by a partner's message or by an operator, and at once the next one
takes what comes. It is closed when the last of its transactions has ended, and its
totals are written down with it. A day never opens again, and a clock that goes back, or
that is in doubt, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import structlog
import trio

from isoswitch.codecs.canonical.errors import StoreUnavailable
from isoswitch.codecs.canonical.totals import TotalsLine
from isoswitch.journal.records import Record, RecordKind
from isoswitch.store.days import BusinessDay, DayMove, DayRefused, DayState, open_date
from isoswitch.store.port import Committed, Reconciliation, Store, UnitOfWork
from isoswitch.switch.ports import Clock, iso_time

TICK_S = 1.0
MIDNIGHT = time()

log = structlog.get_logger()


def date_at(now: datetime, *, cutover_at: time, zone: ZoneInfo) -> str:
    """Give the business date that the clock names: the next one from the cutover on.

    Examples
    --------
    >>> from datetime import UTC
    >>> late = datetime(2026, 1, 2, 22, 30, tzinfo=UTC)
    >>> date_at(late, cutover_at=time(23), zone=ZoneInfo("Europe/Berlin"))
    '2026-01-03'
    >>> date_at(late, cutover_at=time(), zone=ZoneInfo("UTC"))
    '2026-01-02'
    """
    local = now.astimezone(zone)
    is_next = cutover_at != MIDNIGHT and local.time() >= cutover_at
    return (local.date() + timedelta(days=is_next)).isoformat()


def next_date(date: str) -> str:
    """Give the day after a business date."""
    return (datetime.fromisoformat(date) + timedelta(days=1)).date().isoformat()


class BusinessDays:
    """The days as this switch knows them; ``date`` is the one that takes transactions.

    Follows every commit of its own store; what another node did it learns from the
    store's refusals. ``reconciling`` are the endpoints that get the totals of a closed
    day, with the currency of a day on which nothing moved. The clock cuts while
    ``trusts_clock`` says so.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        cutover_at: time,
        zone: str,
        reconciling: Mapping[str, str],
        trusts_clock: Callable[[], bool],
    ) -> None:
        self._store = store
        self._clock = clock
        self._cutover_at = cutover_at
        self._zone = ZoneInfo(zone)
        self._reconciling = reconciling
        self._trusts_clock = trusts_clock
        # Whether a day may be cut and not closed yet; only the store knows at first.
        self._may_close = True
        self.date = ""

    async def begin(self) -> None:
        """Find the open day, or open the first."""
        days = await self._store.days()
        if not days:
            first = self._date_of_clock()
            # Another node may open it in the same moment.
            with suppress(DayRefused):
                await self._move(DayState.OPEN, first, reason="the first day")
            days = await self._store.days()
        self.date = open_date({day.date: day for day in days})

    def retune(self, *, reconciling: Mapping[str, str]) -> None:
        """Let other endpoints get the totals of the days that are closed from now."""
        self._reconciling = reconciling

    def follow(self, unit: UnitOfWork, _: Committed) -> None:
        """Take the next date from the commit that opened it."""
        if unit.day is not None and unit.day.to is DayState.CUT:
            self.date = unit.day.next_date
            self._may_close = True

    def learn(self, date: str) -> None:
        """Take the open date from the store, which another node moved on."""
        self.date = max(self.date, date)

    async def cut(
        self, *, reason: str, to: str = "", records: tuple[Record, ...] = ()
    ) -> str:
        """End the open day now and give the date of the next one.

        ``records`` become durable with it.

        Raises
        ------
        DayRefused
            Another cut came first.
        StoreUnavailable
            Nothing was cut.
        """
        following = to or next_date(self.date)
        await self._move(
            DayState.CUT,
            self.date,
            reason=reason,
            following=following,
            records=records,
        )
        return following

    async def run(self) -> None:
        """Cut by the clock and close what is done, until cancelled."""
        while True:
            try:
                await self._tick()
            except (StoreUnavailable, DayRefused) as error:
                self._may_close = True
                log.error("business_day_postponed", reason=str(error))
            await trio.sleep(TICK_S)

    async def _tick(self) -> None:
        if self._store.is_shared:
            # What another node cuts is not told.
            self.learn((await self._store.days())[-1].date)
            self._may_close = True
        due = self._date_of_clock()
        if due > self.date and self._trusts_clock():
            await self.cut(reason="the clock", to=due)
        if not self._may_close:
            return
        self._may_close = False
        for day in await self._store.days():
            if day.state is DayState.CUT and await self._has_open(day):
                self._may_close = True
            elif day.state is DayState.CUT:
                await self._close(day)

    async def _has_open(self, day: BusinessDay) -> bool:
        rows = await self._store.open_transactions()
        return any(row.business_date == day.date for row in rows)

    async def _close(self, day: BusinessDay) -> None:
        totals = await self._store.day_totals(day.date)
        moved = {
            (line.endpoint, line.currency)
            for line in totals
            if line.endpoint in self._reconciling
        }
        named = {endpoint for endpoint, _ in moved}
        idle = {each for each in self._reconciling.items() if each[0] not in named}
        owed = tuple(
            Reconciliation(business_date=day.date, endpoint=name, currency=currency)
            for name, currency in sorted(moved | idle)
        )
        await self._move(
            DayState.CLOSED,
            day.date,
            reason="all of it is decided",
            totals=totals,
            owed=owed,
        )

    async def _move(
        self,
        to: DayState,
        date: str,
        *,
        reason: str,
        following: str = "",
        totals: Sequence[TotalsLine] = (),
        owed: tuple[Reconciliation, ...] = (),
        records: tuple[Record, ...] = (),
    ) -> None:
        at = iso_time(self._clock.now())
        body = {"date": date, "state": to, "reason": reason}
        if following:
            body["next_date"] = following
        record = Record(
            kind=RecordKind.BUSINESS_DAY,
            transaction_id="",
            at=at,
            body={**body, "totals": [asdict(line) for line in totals]},
        )
        move = DayMove(date=date, to=to, at=at, next_date=following)
        await self._store.commit(
            UnitOfWork(records=(record, *records), day=move, reconciliations=owed)
        )
        log.info("business_day", **body)

    def _date_of_clock(self) -> str:
        return date_at(self._clock.now(), cutover_at=self._cutover_at, zone=self._zone)
