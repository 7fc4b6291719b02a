"""Which flow decides which kind of transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from isoswitch.codecs.canonical.codes import Function, Kind
from isoswitch.codecs.canonical.transaction import Outcome, Transaction
from isoswitch.switch.flows.advice import take_advice
from isoswitch.switch.flows.authorisation import authorise
from isoswitch.switch.flows.completion import complete, increase
from isoswitch.switch.flows.file_update import update_file
from isoswitch.switch.flows.payment_code import give_code, tell_code
from isoswitch.switch.flows.refund import refund
from isoswitch.switch.flows.reversal import reverse
from isoswitch.switch.flows.settlement import settle_batch, take_upload
from isoswitch.switch.flows.void import void
from isoswitch.switch.job import Job
from isoswitch.switch.services import Services

Flow = Callable[[Services, Job], Awaitable[Outcome]]

FLOWS: Mapping[Kind, Flow] = {
    Kind.PURCHASE: authorise,
    Kind.CASH_WITHDRAWAL: authorise,
    Kind.PREAUTHORISATION: authorise,
    Kind.INCREMENTAL: increase,
    Kind.COMPLETION: complete,
    Kind.VOID: void,
    Kind.REFUND: refund,
    Kind.PURCHASE_WITH_CASHBACK: authorise,
    Kind.BALANCE_INQUIRY: authorise,
    Kind.MINI_STATEMENT: authorise,
    Kind.ACCOUNT_VERIFICATION: authorise,
    Kind.PAYMENT_CODE: give_code,
    Kind.CODE_STATUS: tell_code,
    Kind.REVERSAL: reverse,
    Kind.FILE_UPDATE: update_file,
    Kind.RECONCILIATION: settle_batch,
    Kind.BATCH_UPLOAD: take_upload,
}
# What an advice tells of, where a request asks: its own flow.
TOLD: Mapping[Kind, Flow] = dict.fromkeys(
    (
        Kind.PURCHASE,
        Kind.PURCHASE_WITH_CASHBACK,
        Kind.CASH_WITHDRAWAL,
        Kind.PREAUTHORISATION,
    ),
    take_advice,
)
NETWORK_KINDS = frozenset({Kind.SIGN_ON, Kind.SIGN_OFF, Kind.ECHO})


def find_flow(txn: Transaction) -> Flow | None:
    """Find the flow of a transaction; None for what this switch does not offer."""
    if txn.function is Function.ADVICE and txn.kind in TOLD:
        return TOLD[txn.kind]
    return FLOWS.get(txn.kind)
