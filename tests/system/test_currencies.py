"""Amounts in currencies of which nobody knows the decimals move no money."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.money import Money
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.world import World
from isoswitch.switch.settings import SwitchSettings


def with_issuers_of_2003(settings: SwitchSettings) -> SwitchSettings:
    endpoints = {
        name: replace(endpoint, dialect="iso2003", reconciles=False)
        for name, endpoint in settings.endpoints.items()
    }
    return replace(settings, endpoints=endpoints)


@pytest.mark.parametrize(
    ("currency", "code"),
    [
        ("952", ResponseCode.APPROVED),
        ("434", ResponseCode.APPROVED),
        ("999", ResponseCode.SYSTEM_MALFUNCTION),
    ],
)
async def test_an_issuer_that_must_be_told_decimals_is_asked_if_they_are_known(
    nursery: trio.Nursery, currency: str, code: ResponseCode
) -> None:
    world = World(change=with_issuers_of_2003)
    await nursery.start(world.run)
    await trio.sleep(2)
    terminal, card = world.terminals["TERM0001"], get_card("visa-ok")
    amount = Money(5000, currency)
    asked = terminal.build(Kind.PURCHASE, card, amount.minor, pin=card.pin)
    belief = await terminal.pay(
        terminal.build_from(replace(asked.transaction, amount=amount))
    )
    assert belief.outcome is not None
    assert belief.outcome.code is code
    booked = [
        (each.amount_minor, each.currency)
        for each in world.issuers["north"].bookings.entries
    ]
    expected = [(amount.minor, currency)] if belief.outcome.is_approved else []
    assert booked == expected
