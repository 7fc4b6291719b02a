"""What operators order links to do, written down before it is done.

Each link has a stream of its orders, ``link/<endpoint>``. A restart reads them again:
what an operator suspended or signed off stays so until an operator says otherwise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.journal.records import Record, RecordKind
from isoswitch.store.port import Store, UnitOfWork
from isoswitch.switch.links import Link
from isoswitch.switch.linkstate import LinkStatus
from isoswitch.switch.ports import iso_time
from isoswitch.switch.services import Services

LinkOrder = Literal["suspend", "resume", "sign-off", "sign-on"]


async def _suspend(link: Link) -> None:
    link.suspend()


async def _resume(link: Link) -> None:
    link.resume()


async def _sign_off(link: Link) -> None:
    await link.sign_off()


async def _sign_on(link: Link) -> None:
    if not await link.sign_on():
        msg = f"{link.settings.name} accepts no sign-on now; its next connection tries"
        raise ConfigError(msg)


ORDERS: Mapping[LinkOrder, Callable[[Link], Awaitable[None]]] = {
    "suspend": _suspend,
    "resume": _resume,
    "sign-off": _sign_off,
    "sign-on": _sign_on,
}


async def carry_out(
    services: Services, order: LinkOrder, endpoint: str, *, operator: str
) -> LinkStatus:
    """Do what an operator orders and tell how the link stands then.

    Raises
    ------
    ConfigError
        No such endpoint, or it does not agree.
    StoreUnavailable
        The order cannot be written down; nothing is done.
    """
    link = services.links.get(endpoint)
    if link is None:
        msg = f"there is no endpoint {endpoint}; `isoswitch links` names all"
        raise ConfigError(msg)
    record = Record(
        kind=RecordKind.OPERATOR,
        transaction_id=_stream(endpoint),
        at=iso_time(services.clock.now()),
        body={"order": order, "endpoint": endpoint, "operator": operator},
    )
    await services.store.commit(UnitOfWork(records=(record,)))
    await ORDERS[order](link)
    return link.status()


async def restore(store: Store, link: Link) -> None:
    """Halt a link that an operator has halted before this start."""
    after_seq = 0
    is_suspended = is_signed_off = False
    while chained := await store.records(
        _stream(link.settings.name), after_seq=after_seq
    ):
        after_seq = chained[-1].seq
        for each in chained:
            order = each.record.body["order"]
            is_suspended = order == "suspend" or (is_suspended and order != "resume")
            is_signed_off = order == "sign-off" or (
                is_signed_off and order != "sign-on"
            )
    if is_suspended:
        link.suspend()
    if is_signed_off:
        link.stay_signed_off()


def _stream(endpoint: str) -> str:
    return f"link/{endpoint}"
