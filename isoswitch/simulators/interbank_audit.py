"""Do clearing house, transfers, ledger and payers tell the same of every transfer?

1.  The house has booked nothing that was not written down first, and nothing twice.
2.  A transfer of ours ended as its payment did at the house; both are over one amount.
3.  What the ledger says that the house owes us is what stands in the house's books.
4.  The positions of every window sum to zero and are those of its payments.
5.  A code is paid once, free or paid when nobody pays it, and given back once.
6.  Payers and merchants were told what happened, and a callback tells it once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from isoswitch.clearing.transfer import Transfer, TransferState
from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.sealing import load_outcome
from isoswitch.ledger.entries import balances
from isoswitch.simulators.auditor import Finding
from isoswitch.simulators.beliefs import Receipt
from isoswitch.simulators.clearing_house import ClearingHouse
from isoswitch.simulators.house_books import Payment
from isoswitch.simulators.ledger_audit import standing_minor
from isoswitch.simulators.world import HOUSE, MERCHANT_BANK
from isoswitch.store.disk import MemoryDisk
from isoswitch.store.port import StoredTransaction
from isoswitch.store.rows import (
    Callback,
    CodeState,
    PaymentCode,
    R,
    StoredWish,
    WishState,
)

SETTLED_AT_THE_HOUSE = frozenset({"ACSC", "ACCC", "ACWP"})
_S = TransferState
# How a transfer of ours may have ended, by how its payment did at the house.
ENDS: Mapping[str, frozenset[TransferState]] = {
    "unknown": frozenset({_S.REJECTED}),
    "rejected": frozenset({_S.REJECTED}),
    "settled": frozenset({_S.SETTLED, _S.RECALL_REFUSED}),
    "returned": frozenset({_S.RETURNED}),
}


@dataclass(frozen=True, slots=True)
class Interbank:
    """The sides that are compared: a disk, the house, and what payers were told."""

    disk: MemoryDisk
    house: ClearingHouse
    receipts: Sequence[Receipt]

    @property
    def rows(self) -> list[StoredTransaction]:
        """The transactions whose money a house moves."""
        rows = self.disk.transactions.values()
        return [row for row in rows if row.endpoint == HOUSE]


def audit_interbank(sides: Interbank) -> Iterator[Finding]:
    """Give every difference; audit a network at rest."""
    yield from _check_transfers(sides)
    yield from _check_house(sides)
    yield from _check_ledger(sides)
    yield from _check_windows(sides.house)
    yield from _check_codes(sides)
    yield from _check_receipts(sides)
    yield from _check_callbacks(sides)


def pending_transfers(disk: MemoryDisk) -> Iterator[str]:
    """Give the transfers of which something is still expected."""
    for transfer in disk.transfers.values():
        if not transfer.is_final:
            yield f"{transfer.id}: the transfer is {transfer.state.value}"


def _end_at_house(payment: Payment | None) -> str:
    if payment is None:
        return "unknown"
    if payment.returned:
        return "returned"
    return "settled" if payment.status in SETTLED_AT_THE_HOUSE else "rejected"


def _check_transfers(sides: Interbank) -> Iterator[Finding]:
    """Compare each transfer with the house's payment and with its transaction."""
    for transfer in sides.disk.transfers.values():
        payment = sides.house.payments.get(transfer.uetr)
        end = _end_at_house(payment)
        told = f"house: {end}; switch: {transfer.state.value}"
        if transfer.state not in ENDS[end]:
            yield _finding(transfer, "house and switch differ on a transfer", told)
        if payment is not None and payment.transfer.amount != transfer.amount:
            yield _finding(transfer, "house and switch differ in the amount", told)
        row = sides.disk.transactions.get(transfer.id)
        stands = transfer.state is TransferState.SETTLED
        if row is None or bool(standing_minor(row)) != stands:
            yield _finding(transfer, "a transaction ended unlike its transfer", told)


def _check_house(sides: Interbank) -> Iterator[Finding]:
    """Look for what the house has booked twice, or for nobody."""
    ours = Counter(each.uetr for each in sides.disk.transfers.values())
    for uetr in sides.house.payments:
        if ours[uetr] != 1:
            what = f"the house booked what {ours[uetr]} transfers name"
            yield Finding(transaction=uetr, what=what)


def _check_ledger(sides: Interbank) -> Iterator[Finding]:
    """Compare what the house owes us by ledger and by its books."""
    theirs = 0
    for payment in sides.house.payments.values():
        if _end_at_house(payment) == "settled":
            is_refund = payment.transfer.debtor_agent.bic == MERCHANT_BANK
            theirs += payment.transfer.amount.minor * (-1 if is_refund else 1)
    sums = balances(sides.disk.ledger.values())
    ours = sum(
        minor for (account, _), minor in sums.items() if account == f"clearing/{HOUSE}"
    )
    if ours != theirs:
        told = f"ledger {ours}, house {theirs}"
        yield Finding(transaction=HOUSE, what="ledger and house differ", sides=told)


def _check_windows(house: ClearingHouse) -> Iterator[Finding]:
    """Recompute every position from the payments; nothing may be left over."""
    nets: Counter[str] = Counter()
    for positions in (*house.closed, house.window.positions()):
        if sum(each.amount.minor for each in positions):
            yield Finding(transaction=HOUSE, what="a window does not sum to zero")
        for each in positions:
            nets[each.participant] += each.amount.minor
    for payment in house.payments.values():
        if _end_at_house(payment) == "settled":
            transfer = payment.transfer
            nets[transfer.debtor_agent.bic] += transfer.amount.minor
            nets[transfer.creditor_agent.bic] -= transfer.amount.minor
    for participant, minor in nets.items():
        if minor:
            what = "the windows do not add up to the payments"
            yield Finding(transaction=participant, what=what, sides=str(minor))


def _check_codes(sides: Interbank) -> Iterator[Finding]:
    """Look for codes that were paid twice, or are held by nobody."""
    paid = Counter(
        row.original_id for row in sides.rows if _is_approved(row, Kind.PURCHASE)
    )
    for code in _rows(sides.disk, PaymentCode):
        is_paid = code.state is CodeState.PAID
        if code.amount_minor and paid[code.id] != is_paid:
            what = f"a code that is {code.state.value} was paid {paid[code.id]} times"
            yield Finding(transaction=code.id, what=what)
    given_back: Counter[str] = Counter()
    for row in sides.rows:
        if row.kind == Kind.REFUND:
            given_back[row.original_id] += standing_minor(row)
    for payment_id, minor in given_back.items():
        if minor > sides.disk.transactions[payment_id].amount_minor:
            yield Finding(transaction=payment_id, what="more was given back than paid")


def _check_receipts(sides: Interbank) -> Iterator[Finding]:
    """Compare what payers were told with what was stored."""
    for receipt in sides.receipts:
        if not receipt.transaction_id or receipt.is_paid is None:
            continue
        row = sides.disk.transactions.get(receipt.transaction_id)
        if row is None or _is_approved(row, receipt.kind) != receipt.is_paid:
            told = "paid" if receipt.is_paid else "not paid"
            what = f"its payer was told that it is {told}"
            yield Finding(transaction=receipt.transaction_id, what=what)


def _check_callbacks(sides: Interbank) -> Iterator[Finding]:
    """Every end is told to the merchant, and no other."""
    told = Counter(each.id for each in _rows(sides.disk, Callback))
    expected: Counter[str] = Counter()
    for row in sides.rows:
        state = "succeeded" if _is_approved(row, Kind(row.kind)) else "failed"
        expected[f"{row.id}.{state}"] += 1
        if row.reversed:
            expected[f"{row.id}.returned"] += 1
    for wish in _rows(sides.disk, StoredWish):
        expected[f"{wish.id}.{_wish_state(sides.disk, wish)}"] += 1
        # One that is cancelled may have been told before as what it was then.
        earlier = f"{wish.id}.succeeded"
        if wish.state is WishState.CANCELLED and told[earlier] == 1:
            expected[earlier] += 1
    for name in {*told, *expected}:
        if told[name] != expected[name]:
            what = f"told {told[name]} times, due {expected[name]} times"
            yield Finding(transaction=f"callback {name}", what=what)


def _wish_state(disk: MemoryDisk, wish: StoredWish) -> str:
    """Say as what a merchant must have heard of what its server wanted."""
    if wish.state is not WishState.ENDED:
        return wish.state.value
    row = disk.transactions.get(wish.id)
    is_paid = row is not None and _is_approved(row, Kind(wish.kind))
    return "succeeded" if is_paid else "failed"


def _is_approved(row: StoredTransaction, kind: Kind) -> bool:
    is_kind = row.kind == kind
    return is_kind and bool(row.outcome) and load_outcome(row.outcome).is_approved


def _rows(disk: MemoryDisk, kind: type[R]) -> list[R]:
    return [each for each in disk.rows.values() if isinstance(each, kind)]


def _finding(transfer: Transfer, what: str, sides: str) -> Finding:
    return Finding(transaction=transfer.id, what=what, sides=sides)
