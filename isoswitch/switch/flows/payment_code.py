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
from isoswitch.store.rows import PaymentCode, RowMove
from isoswitch.switch.codes import CodeWish, code_body, make_code
from isoswitch.switch.codewatch import NOT_PAID, status_of
from isoswitch.switch.job import Job
from isoswitch.switch.numbers import find_transaction_id
from isoswitch.switch.refusals import Refused
from isoswitch.switch.services import Services

VALID_S, VALID_S_MAX = 300, 24 * 3600
# When others may have seen it paid; what is paid here is heard at once.
LOOK_AGAIN_S = 2.0

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
    outcome = await recorder.conclude(
        job,
        made,
        notes={RecordKind.CODE: [code_body(code)]},
        rows=(RowMove(expect=None, row=code),),
    )
    services.code_watch.show(job, code)
    return outcome


async def tell_code(services: Services, job: Job) -> Outcome:
    """Tell a terminal of the merchant whether a code has been paid."""
    until = trio.current_time() + services.settings.transaction_timeout_s / 2
    code_id = find_transaction_id(job.txn.rrn) or ""
    watch = services.code_watch
    with watch.asking(code_id, job.txn.terminal_id) as question:
        while True:
            changed = question.renew()
            outcome = await _status(services, job, code_id)
            left_s = until - trio.current_time()
            if outcome is not NOT_PAID or left_s <= 0:
                break
            with trio.move_on_after(min(LOOK_AGAIN_S, left_s)):
                await changed.wait()
        concluded = await services.recorder.conclude(job, outcome, notes={})
    shown = watch.shown.get(code_id)
    if shown and shown.terminal.id == job.txn.terminal_id and outcome is not NOT_PAID:
        watch.forget(code_id)
    return concluded


async def _status(services: Services, job: Job, code_id: str) -> Outcome:
    code = await services.store.find_row(PaymentCode, code_id)
    if code is None or code.merchant_id != job.merchant_id:
        return UNKNOWN
    return await status_of(services.store, code, now=services.clock.now().timestamp())
