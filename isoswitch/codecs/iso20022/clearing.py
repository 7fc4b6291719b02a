"""Card payments as legs of a clearing: who pays whom, in pacs.009.

A card payment asks; afterwards its money moves between the institutions. The issuer
pays the acquirer for what a cardholder bought, the acquirer pays for what was given
back, and what was undone or only set aside moves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Final

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.transaction import Outcome, Transaction
from isoswitch.codecs.iso20022.transfers import BankTransfer
from isoswitch.codecs.iso20022.values import Agent

# Whether the issuer pays; kinds that are not here move no money of their own.
ISSUER_PAYS: Final[Mapping[Kind, bool]] = {
    Kind.PURCHASE: True,
    Kind.CASH_WITHDRAWAL: True,
    Kind.PURCHASE_WITH_CASHBACK: True,
    Kind.COMPLETION: True,
    Kind.REFUND: False,
}
# What of a transaction the leg says too; all else stays behind.
CARRIED: Final = frozenset(
    {"kind", "function", "is_repeat", "is_final", "stan", "rrn", "amount"}
    | {"terminal_id", "merchant_id", "approval_code", "transmitted_at"}
)
_REMITTANCE = re.compile(
    r"CARD (\w+) STAN (\d{1,12}) APPROVAL (.{0,6}?) "
    r"TERMINAL (.{0,16}?) MERCHANT (.{0,15})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingLeg:
    """What one card payment moves between institutions, and what is not said of it."""

    transfer: BankTransfer
    lost: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardReference:
    """What a leg says of the card payment behind it."""

    kind: Kind
    stan: str
    rrn: str
    approval_code: str
    terminal_id: str
    merchant_id: str
    amount: Money


def to_clearing_leg(
    txn: Transaction,
    outcome: Outcome,
    *,
    issuer: Agent,
    acquirer: Agent,
    settlement_date: date,
    uetr: str,
) -> ClearingLeg | None:
    """Give the leg of an approved card payment; None where no money moves.

    A partial approval moves the approved amount.
    """
    issuer_pays = ISSUER_PAYS.get(txn.kind)
    amount = outcome.amount or txn.amount
    if issuer_pays is None or amount is None or not outcome.is_approved:
        return None
    approval = outcome.approval_code or txn.approval_code
    words = (
        f"CARD {txn.kind} STAN {txn.stan} APPROVAL {approval} "
        f"TERMINAL {txn.terminal_id} MERCHANT {txn.merchant_id}"
    )
    transfer = BankTransfer(
        end_to_end_id=txn.rrn or txn.stan,
        transaction_id=txn.rrn,
        uetr=uetr,
        amount=amount,
        settlement_date=settlement_date,
        debtor=issuer if issuer_pays else acquirer,
        creditor=acquirer if issuer_pays else issuer,
        remittance=(words,),
    )
    return ClearingLeg(transfer=transfer, lost=_lost(txn))


def read_clearing_leg(transfer: BankTransfer) -> CardReference | None:
    """Give what a leg says of its card payment; None for any other transfer."""
    found = _REMITTANCE.fullmatch(transfer.remittance[0] if transfer.remittance else "")
    if found is None or found[1] not in ISSUER_PAYS:
        return None
    return CardReference(
        kind=Kind(found[1]),
        stan=found[2],
        rrn=transfer.transaction_id,
        approval_code=found[3],
        terminal_id=found[4],
        merchant_id=found[5],
        amount=transfer.amount,
    )


def _lost(txn: Transaction) -> tuple[str, ...]:
    """Name what a transaction has that its leg does not say."""
    return tuple(
        field.name
        for field in fields(txn)
        if field.name not in CARRIED and getattr(txn, field.name) != field.default
    )
