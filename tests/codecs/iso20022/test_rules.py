"""Rules that no schema says are held by name."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.iso20022.document import read_document
from isoswitch.codecs.iso20022.initiation import Initiation, Order, OrderGroup
from isoswitch.codecs.iso20022.messages import BY_FAMILY, header_for, read_message
from isoswitch.codecs.iso20022.rules import (
    find_breaches,
    find_header_breaches,
    is_uetr,
)
from isoswitch.codecs.iso20022.transfers import (
    BankTransfer,
    InstitutionTransfer,
    Movement,
    PaymentReturn,
    PaymentReversal,
    ReturnedTransfer,
    ReversedTransfer,
    Settlement,
    SettlementRequest,
)
from isoswitch.codecs.iso20022.values import Account, Agent, Party
from tests.codecs.iso20022.test_messages import NOW, REPORT, TRANSFER
from tests.iso20022 import FOLDER, samples

TODAY = NOW.date()
EUR = Money(1250, "978")
RETURN = PaymentReturn(
    message_id="R1",
    created_at=NOW,
    count=1,
    settlement_date=TODAY,
    returns=(ReturnedTransfer(returned_amount=EUR, original_amount=EUR),),
)
REVERSAL = PaymentReversal(
    message_id="V1",
    created_at=NOW,
    count=1,
    settlement_date=TODAY,
    reversals=(ReversedTransfer(reversed_amount=EUR),),
)
BANKS = InstitutionTransfer(
    message_id="B1",
    created_at=NOW,
    count=1,
    total=EUR,
    control_sum=Decimal("12.5"),
    transfers=(
        BankTransfer(
            end_to_end_id="E",
            amount=EUR,
            settlement_date=TODAY,
            debtor=Agent(bic="BANKDEFFXXX"),
            creditor=Agent(lei="529900T8BM49AURSDO55"),
        ),
    ),
)
SETTLEMENT = SettlementRequest(
    message_id="N1",
    created_at=NOW,
    count=1,
    settlements=(
        Settlement(
            instruction_id="I",
            count=2,
            movements=(
                Movement(movement_id="1", amount=EUR, is_credit=True, bic="A"),
                Movement(movement_id="2", amount=EUR, is_credit=False, bic="B"),
            ),
        ),
    ),
)
INITIATION = Initiation(
    message_id="I1",
    created_at=NOW,
    count=1,
    control_sum=Decimal("12.50"),
    initiator=Party(name="X"),
    groups=(
        OrderGroup(
            group_id="G",
            count=1,
            debtor=Party(name="X"),
            debtor_account=Account(number="1"),
            debtor_agent=Agent(bic="BANKDEFFXXX"),
            orders=(Order(end_to_end_id="E", amount=EUR),),
        ),
    ),
)
GOOD = (TRANSFER, REPORT, RETURN, REVERSAL, BANKS, SETTLEMENT, INITIATION)


def first(message: Any, items: str, **changes: Any) -> Any:
    """Change the first of the items of a message."""
    one, *others = getattr(message, items)
    return replace(message, **{items: (replace(one, **changes), *others)})


BROKEN = {
    "count": replace(TRANSFER, count=2),
    "control-sum": replace(BANKS, control_sum=Decimal("12.51")),
    "total": replace(BANKS, total=Money(1250, "840")),
    "positive": first(TRANSFER, "transfers", amount=Money(0, "978")),
    "settlement-date": replace(TRANSFER, settlement_date=None),
    "iban": first(
        TRANSFER, "transfers", creditor_account=Account(iban="DE88370400440532013000")
    ),
    "lei": first(TRANSFER, "transfers", debtor=Party(lei="529900T8BM49AURSDO56")),
    "uetr": first(TRANSFER, "transfers", uetr="7b0c1d2e-3f40-1a5b-8c6d-7e8f90a1b2c3"),
    "uetr-once": replace(REPORT, statuses=REPORT.statuses * 2),
    "currency": first(REVERSAL, "reversals", reversed_amount=Money(-1, "978")),
    "reason": first(REPORT, "statuses", reasons=()),
    "part": first(RETURN, "returns", returned_amount=Money(1251, "978")),
    "zero-sum": replace(
        SETTLEMENT,
        settlements=(
            replace(
                SETTLEMENT.settlements[0],
                movements=(SETTLEMENT.settlements[0].movements[0],) * 2,
            ),
        ),
    ),
}


@pytest.mark.parametrize("message", GOOD, ids=lambda each: type(each).__name__)
def test_a_good_message_breaks_no_rule(message: Any) -> None:
    assert find_breaches(message) == ()


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_named(rule: str) -> None:
    breaches = find_breaches(BROKEN[rule])
    assert rule in [each.rule for each in breaches]
    assert all(len(each.code) == 4 and each.words for each in breaches)


@pytest.mark.parametrize(
    "message",
    [
        replace(SETTLEMENT, count=2),
        replace(INITIATION, count=2),
        first(INITIATION, "groups", count=3),
        first(SETTLEMENT, "settlements", count=3),
        replace(RETURN, count=0),
    ],
)
def test_counts_are_counted_everywhere(message: Any) -> None:
    assert [each.rule for each in find_breaches(message)] == ["count"]


def test_sums_of_orders_are_summed() -> None:
    for message in (
        replace(INITIATION, control_sum=Decimal(1)),
        first(INITIATION, "groups", control_sum=Decimal(1)),
    ):
        assert [each.rule for each in find_breaches(message)] == ["control-sum"]


def test_a_settlement_date_stands_once() -> None:
    twice = first(TRANSFER, "transfers", settlement_date=TODAY)
    assert [each.rule for each in find_breaches(twice)] == ["settlement-date"]


def test_a_header_agrees_with_its_message() -> None:
    header = header_for(TRANSFER, message_id="M1", created_at=NOW)
    good = {"message_id": "M1", "message_name": "pacs.008.001.08"}
    assert find_header_breaches(header, **good) == ()
    for name in good:
        [breach] = find_header_breaches(header, **good | {name: "other"})
        assert breach.rule == "header-" + name.replace("_", "-")


def test_a_uetr_is_a_random_uuid_in_small_letters() -> None:
    assert is_uetr("7b0c1d2e-3f40-4a5b-8c6d-7e8f90a1b2c3")
    assert not is_uetr("7B0C1D2E-3F40-4A5B-8C6D-7E8F90A1B2C3")


@pytest.mark.skipif(not samples(), reason="no iso20022/samples beside the repository")
def test_real_transfers_break_few_rules() -> None:
    broken: list[str] = []
    judged = 0
    for path, verdict in samples().items():
        body = read_document((FOLDER / path).read_bytes()).body
        is_good = "invalid" not in verdict + path
        if is_good and body is not None and body.family in BY_FAMILY:
            judged += 1
            broken += {each.rule for each in find_breaches(read_message(body))}
    assert judged > 90
    # Sample writers make up identifiers; counts and sums they get right.
    assert set(broken) <= {
        "iban",
        "lei",
        "uetr",
        "uetr-once",
        "settlement-date",
        "reason",
    }
