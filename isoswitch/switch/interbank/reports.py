"""Reports and settlements of clearing houses, compared with what we believe.

The rules are those of ``clearing/reports.py``. What we book ourselves joins the unit of
work that books it; what a house reports is a unit of its own. Where a link was down the
house is asked for all bookings of its window (camt.060), so that none is missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import structlog
import trio

from isoswitch.clearing.profiles import PROFILES
from isoswitch.clearing.reports import (
    Booking,
    HouseItem,
    HouseWindow,
    ItemState,
    WindowState,
    adds_up,
    compare,
    count_ours,
    count_theirs,
    item_id,
    new_item,
    settle,
)
from isoswitch.codecs.canonical.errors import LinkDown, StoreUnavailable
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.iso20022.messages import build_message
from isoswitch.codecs.iso20022.reports import (
    AccountReport,
    IntradayReport,
    Notification,
    ReportEntry,
    ReportQuestion,
    ReportRequest,
    Statement,
)
from isoswitch.codecs.iso20022.transfers import Settlement, SettlementRequest
from isoswitch.codecs.iso20022.values import Agent
from isoswitch.journal.records import Record, RecordKind
from isoswitch.store.port import OwnershipLost, UnitOfWork
from isoswitch.store.rows import RowMove
from isoswitch.switch.interbank.house import House
from isoswitch.switch.ports import iso_time
from isoswitch.switch.services import Services

TICK_S = 1.0
ATTEMPTS_MAX = 5
INTRADAY_NAME = "camt.052.001.08"
_OPENING, _CLOSING = "OPBD", "CLBD"

Report = IntradayReport | Statement | Notification

log = structlog.get_logger()


class Reports:
    """Takes what some clearing houses report and settle."""

    def __init__(self, services: Services, houses: Mapping[str, House]) -> None:
        self._services = services
        self._houses = houses

    async def run(self) -> None:
        """Ask each house for its bookings whenever it is connected anew."""
        asked = dict.fromkeys(self._houses, 0)
        while True:
            for name, house in self._houses.items():
                if house.is_up and asked[name] != house.connected_count:
                    asked[name] = house.connected_count
                    await self._ask(house)
            await trio.sleep(TICK_S)

    async def take(self, house: House, message: Report) -> None:
        """Count the bookings that a house reports, each once.

        Raises
        ------
        StoreUnavailable
            Nothing was counted; the house reports again.
        """
        for report in message.reports:
            await self._take(house, report, has_end=isinstance(message, Statement))

    async def settle(self, house: House, message: SettlementRequest) -> None:
        """Compare what a house settles with our net, once for each settlement.

        Raises
        ------
        StoreUnavailable
            Nothing was written down.
        """
        for each in message.settlements:
            for _ in range(ATTEMPTS_MAX):
                try:
                    await self._settle(house, each)
                except OwnershipLost:
                    continue
                break
            else:
                raise StoreUnavailable(
                    f"settlement {each.instruction_id} was not compared"
                )

    async def _take(
        self, house: House, report: AccountReport, *, has_end: bool
    ) -> None:
        for _ in range(ATTEMPTS_MAX):
            moves = await self._counted(house, report.entries)
            if not moves:
                break
            body = {
                "endpoint": house.settings.name,
                "report": report.report_id,
                "bookings": len(moves),
            }
            unit = UnitOfWork(
                records=(self._record(RecordKind.REPORTED, body),), rows=moves
            )
            try:
                await self._services.store.commit(unit)
            except OwnershipLost:
                continue
            break
        else:
            raise StoreUnavailable(f"report {report.report_id} was not counted")
        if has_end and not _adds_up(report):
            await self._break(house, f"statement {report.report_id} does not add up")

    async def _counted(
        self, house: House, entries: Iterable[ReportEntry]
    ) -> tuple[RowMove, ...]:
        """Give the items that entries change, as they were and as they are then."""
        store, name = self._services.store, house.settings.name
        now = self._services.clock.now().timestamp()
        before: dict[str, HouseItem | None] = {}
        after: dict[str, HouseItem] = {}
        for number, entry in enumerate(entries):
            reference = entry.servicer_reference or entry.reference or f"-{number}"
            for booking, currency in _bookings(entry, reference):
                key = item_id(name, booking)
                if key not in before:
                    before[key] = await store.find_row(HouseItem, key)
                item = after.get(key) or before[key]
                item = item or new_item(name, booking, currency)
                after[key] = count_theirs(
                    item, booking, "".join(reference.split()), now=now
                )
        return tuple(
            RowMove(expect=before[key], row=item)
            for key, item in after.items()
            if item != before[key]
        )

    async def _settle(self, house: House, settlement: Settlement) -> None:
        services, name = self._services, house.settings.name
        window_id = f"{name}/{settlement.instruction_id}"
        if await services.store.find_row(HouseWindow, window_id) is not None:
            return
        now = services.clock.now()
        moved = _movement(house, settlement, services.settings.default_currency)
        items = [
            each
            for each in await services.store.find_rows(HouseItem, state=ItemState.OPEN)
            if (each.endpoint, each.currency) == (name, moved.currency)
        ]
        comparison = compare(
            items,
            moved.minor,
            now=now.timestamp(),
            under_way_s=PROFILES[house.settings.profile].total_s,
        )
        window = HouseWindow(
            id=window_id,
            endpoint=name,
            currency=moved.currency,
            settled_minor=moved.minor,
            ours_minor=comparison.ours_minor,
            theirs_minor=comparison.theirs_minor,
            at=iso_time(now),
            state=WindowState.DIFFERS if comparison.breaks else WindowState.AGREED,
        )
        body = {
            "endpoint": name,
            "window": settlement.instruction_id,
            "settled": str(moved),
            "ours": str(Money(comparison.ours_minor, moved.currency)),
            "reported": str(Money(comparison.theirs_minor, moved.currency)),
            "state": window.state,
        }
        breaks = [
            self._record(
                RecordKind.EXCEPTION,
                {
                    "endpoint": name,
                    "reason": f"window {settlement.instruction_id}: {each}",
                },
            )
            for each in comparison.breaks
        ]
        settled = [RowMove(expect=each, row=settle(each)) for each in items]
        await services.store.commit(
            UnitOfWork(
                records=(self._record(RecordKind.SETTLEMENT, body), *breaks),
                rows=(
                    RowMove(expect=None, row=window),
                    *(each for each in settled if each.row != each.expect),
                ),
            )
        )
        log.info("house_settled", **body, breaks=len(breaks))

    async def _ask(self, house: House) -> None:
        """Ask for the bookings of the window that is open."""
        now = self._services.clock.now()
        question = ReportQuestion(
            message_name=INTRADAY_NAME, owner=Agent(bic=house.settings.member)
        )
        request = ReportRequest(
            message_id=f"{self._services.numbers.draw().rrn}Q",
            created_at=now,
            questions=(question,),
        )
        try:
            await house.send(build_message(request, None))
        except LinkDown as error:
            name = house.settings.name
            log.info("reports_not_asked_for", endpoint=name, reason=str(error))

    async def _break(self, house: House, reason: str) -> None:
        body = {"endpoint": house.settings.name, "reason": reason}
        await self._services.recorder.note(RecordKind.EXCEPTION, "", body)

    def _record(self, kind: RecordKind, body: Mapping[str, object]) -> Record:
        at = iso_time(self._services.clock.now())
        return Record(kind=kind, transaction_id="", at=at, body=dict(body))


async def our_items(
    services: Services, endpoint: str, bookings: Iterable[Booking], currency: str
) -> tuple[RowMove, ...]:
    """Give what our own bookings change, for the unit of work that makes them."""
    now = services.clock.now().timestamp()
    moves = []
    for booking in bookings:
        key = item_id(endpoint, booking)
        before = await services.store.find_row(HouseItem, key)
        item = before or new_item(endpoint, booking, currency)
        moves.append(RowMove(expect=before, row=count_ours(item, booking, now=now)))
    return tuple(moves)


def _bookings(entry: ReportEntry, reference: str) -> Iterable[tuple[Booking, str]]:
    """Give the bookings of an entry; one without details is known by its reference."""
    details = [each for each in entry.details if each.amount is not None]
    if not details:
        uetr = next((each.uetr for each in entry.details if each.uetr), reference)
        whole = Booking(uetr=uetr, is_credit=entry.is_credit, minor=entry.amount.minor)
        yield whole, entry.amount.currency
        return
    for each in details:
        assert each.amount is not None, "the others were left out"
        is_credit = entry.is_credit if each.is_credit is None else each.is_credit
        booking = Booking(
            uetr=each.uetr or each.transaction_id or reference,
            is_credit=is_credit,
            minor=each.amount.minor,
        )
        yield booking, each.amount.currency


def _movement(house: House, settlement: Settlement, currency: str) -> Money:
    """Give what a settlement moves on our position; nothing where it names us not."""
    member = house.settings.member
    ours = [
        each for each in settlement.movements if member in {each.bic, each.participant}
    ]
    minor = sum(each.amount.minor * (1 if each.is_credit else -1) for each in ours)
    return Money(minor, ours[0].amount.currency if ours else currency)


def _adds_up(report: AccountReport) -> bool:
    signed = {
        each.kind: each.amount.minor * (1 if each.is_credit else -1)
        for each in report.balances
    }
    if not {_OPENING, _CLOSING} <= signed.keys():
        return False
    moved = [
        each.amount.minor * (1 if each.is_credit else -1) for each in report.entries
    ]
    return adds_up(signed[_OPENING], moved, signed[_CLOSING])
