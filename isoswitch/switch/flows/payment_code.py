"""A terminal asks for a code to show, and later whether it has been paid.

The code is one of the merchant's, as the API makes them: a wallet pays it by instant
transfer, whole, once and in time. A question about one that nobody has paid yet waits
a while, so that the terminal hears of the money in the moment in which it moves.
"""

from __future__ import annotations

import trio

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.dialects.scanned import CODE_FIELDS
from isoswitch.journal.records import RecordKind
from isoswitch.store.rows import CodeState, PaymentCode, RowMove
from isoswitch.switch.codes import CodeWish, code_body, make_code
from isoswitch.switch.job import Job
from isoswitch.switch.numbers import find_transaction_id
from isoswitch.switch.refusals import Refused
from isoswitch.switch.services import Services

VALID_S, VALID_S_MAX = 300, 24 * 3600
LOOK_AGAIN_S = 0.5

NO_AMOUNT = Outcome.declined(ResponseCode.INVALID_AMOUNT, "a code is for an amount")
TOO_LONG = Outcome.declined(
    ResponseCode.INVALID_TRANSACTION, "a code is paid within a day, or not at all"
)
NOT_CARRIED = Outcome.declined(
    ResponseCode.INVALID_TRANSACTION, "the terminal's dialect carries no codes"
)
UNKNOWN = Outcome.declined(
    ResponseCode.ORIGINAL_NOT_FOUND, "this merchant has no such code"
)
NOT_PAID = Outcome.declined(ResponseCode.REQUEST_IN_PROGRESS, "nobody has paid it yet")
EXPIRED = Outcome.declined(
    ResponseCode.ANSWER_TOO_LATE, "nobody has paid it while that was possible"
)
CAME_BACK = Outcome.declined(
    ResponseCode.DO_NOT_HONOUR, "it was paid, and the money went back"
)
PAID = Outcome(code=ResponseCode.APPROVED, reason="paid")


async def give_code(services: Services, job: Job) -> Outcome:
    """Make a code for a terminal; a repeat gets the same one."""
    txn, recorder = job.txn, services.recorder
    if txn.amount is None or txn.amount.minor <= 0:
        return await recorder.refuse(job, NO_AMOUNT)
    if txn.valid_s > VALID_S_MAX:
        return await recorder.refuse(job, TOO_LONG)
    if job.dialect.name not in CODE_FIELDS:
        return await recorder.refuse(job, NOT_CARRIED)
    wish = CodeWish(
        merchant_id=job.merchant_id,
        amount_minor=txn.amount.minor,
        currency=txn.amount.currency,
        valid_s=txn.valid_s or VALID_S,
        terminal_id=txn.terminal_id,
    )
    code = make_code(services, wish, code_id=job.id)
    if isinstance(code, Refused):
        declined = Outcome.declined(ResponseCode.INVALID_MERCHANT, code.words)
        return await recorder.refuse(job, declined)
    made = Outcome(code=ResponseCode.APPROVED, code_text=code.text)
    return await recorder.conclude(
        job,
        made,
        notes={RecordKind.CODE: [code_body(code)]},
        rows=(RowMove(expect=None, row=code),),
    )


async def tell_code(services: Services, job: Job) -> Outcome:
    """Tell a terminal of the merchant whether a code has been paid."""
    until = trio.current_time() + services.settings.transaction_timeout_s / 2
    outcome = await _status(services, job)
    while outcome is NOT_PAID and trio.current_time() + LOOK_AGAIN_S < until:
        await trio.sleep(LOOK_AGAIN_S)
        outcome = await _status(services, job)
    return await services.recorder.conclude(job, outcome, notes={})


async def _status(services: Services, job: Job) -> Outcome:
    store = services.store
    code_id = find_transaction_id(job.txn.rrn) or ""
    code = await store.find_row(PaymentCode, code_id)
    if code is None or code.merchant_id != job.merchant_id:
        return UNKNOWN
    if code.state is CodeState.PAID:
        payment = await store.find_transaction(code.payment_id)
        return CAME_BACK if payment is None or payment.reversed else PAID
    now = services.clock.now().timestamp()
    if code.state is CodeState.OPEN and now >= code.expires_at:
        return EXPIRED
    return NOT_PAID
