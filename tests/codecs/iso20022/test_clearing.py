"""Card payments become legs of a clearing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.iso20022.clearing import (
    ISSUER_PAYS,
    ClearingLeg,
    read_clearing_leg,
    to_clearing_leg,
)
from isoswitch.codecs.iso20022.document import Part, read_document
from isoswitch.codecs.iso20022.messages import build_message
from isoswitch.codecs.iso20022.rules import find_breaches
from isoswitch.codecs.iso20022.schemas import Mode, Schemas
from isoswitch.codecs.iso20022.transfers import InstitutionTransfer
from isoswitch.codecs.iso20022.values import Agent
from tests.codecs.dialects.test_dialect import NOW, PURCHASE

ISSUER, ACQUIRER = Agent(bic="BANKDEFFXXX"), Agent(bic="BANKFRPPXXX")
APPROVED = Outcome(code=ResponseCode.APPROVED, approval_code="A1B2C3")


def leg_of(kind: Kind, outcome: Outcome = APPROVED) -> ClearingLeg | None:
    return to_clearing_leg(
        replace(PURCHASE, kind=kind),
        outcome,
        issuer=ISSUER,
        acquirer=ACQUIRER,
        settlement_date=NOW.date(),
        uetr="7b0c1d2e-3f40-4a5b-8c6d-7e8f90a1b2c3",
    )


@pytest.mark.parametrize("kind", ISSUER_PAYS)
def test_a_leg_says_who_pays_whom_and_for_what(kind: Kind) -> None:
    leg = leg_of(kind)
    assert leg is not None
    payer = ACQUIRER if kind is Kind.REFUND else ISSUER
    assert leg.transfer.debtor == payer
    assert leg.transfer.creditor != payer
    reference = read_clearing_leg(leg.transfer)
    assert reference is not None
    assert reference.kind is kind
    assert (reference.stan, reference.rrn) == (PURCHASE.stan, PURCHASE.rrn)
    assert reference.approval_code == "A1B2C3"
    assert (reference.terminal_id, reference.merchant_id) == ("TERM0001", "MERCHANT1")
    assert reference.amount == PURCHASE.amount


def test_what_a_leg_does_not_say_is_told() -> None:
    leg = leg_of(Kind.PURCHASE)
    assert leg is not None
    assert leg.lost == (
        *("pan", "expiry", "local_at", "entry_mode", "pin_entry", "mcc"),
        *("acquirer_id", "merchant_name"),
    )
    assert "4761739001010010" not in repr(leg)


def test_a_leg_goes_out_in_a_message_that_holds() -> None:
    leg = leg_of(Kind.PURCHASE)
    assert leg is not None
    message = InstitutionTransfer(
        message_id="C1", created_at=NOW, count=1, transfers=(leg.transfer,)
    )
    assert find_breaches(message) == ()
    part = read_document(build_message(message, None)).body
    assert isinstance(part, Part)
    Schemas().verify(part, Mode.PROFILE)


def test_a_partial_approval_moves_its_part() -> None:
    part = Money(1000, "978")
    leg = leg_of(
        Kind.PURCHASE, Outcome(code=ResponseCode.PARTIALLY_APPROVED, amount=part)
    )
    assert leg is not None
    assert leg.transfer.amount == part


def test_what_moves_no_money_has_no_leg() -> None:
    declined = Outcome.declined(ResponseCode.INSUFFICIENT_FUNDS)
    assert leg_of(Kind.PURCHASE, declined) is None
    for kind in set(Kind) - ISSUER_PAYS.keys():
        assert leg_of(kind) is None


def test_other_transfers_are_no_card_payments() -> None:
    leg = leg_of(Kind.PURCHASE)
    assert leg is not None
    [words] = leg.transfer.remittance
    for remittance in ((), ("rent",), (words.replace("purchase", "echo"),)):
        assert read_clearing_leg(replace(leg.transfer, remittance=remittance)) is None
