"""The merchants' and wallets' API: codes, payments and refunds under ``/v1``.

HTTP ends here: what is wanted becomes a wish of ``switch/codes.py``, or of
``switch/wishes.py`` where a payer shows the code. A POST needs an idempotency key; the
same key again gets the stored answer, whatever was restarted in between, and with
another request it is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import StringConstraints

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import ScannedCode
from isoswitch.portal import models
from isoswitch.portal.problems import ApiProblem
from isoswitch.portal.settings import ClientSettings
from isoswitch.store.port import OwnershipLost, StoredTransaction, UnitOfWork
from isoswitch.store.rows import (
    CodePayment,
    PaymentCode,
    RowMove,
    StoredAnswer,
    StoredWish,
)
from isoswitch.switch.codes import Codes, CodeWish, PayWish, RefundWish
from isoswitch.switch.refusals import UNKNOWN_PAYMENT, Refusal, Refused
from isoswitch.switch.results import (
    describe_code,
    describe_payment,
    describe_refund,
    describe_wish,
)
from isoswitch.switch.server import Switch
from isoswitch.switch.services import Services
from isoswitch.switch.wishes import ScanWish, Telling, Wishes

VALID_S = 300
STATUSES: Mapping[Refusal, HTTPStatus] = {
    Refusal.UNREADABLE_CODE: HTTPStatus.NOT_FOUND,
    Refusal.UNKNOWN_CODE: HTTPStatus.NOT_FOUND,
    Refusal.UNKNOWN_PAYMENT: HTTPStatus.NOT_FOUND,
    Refusal.NOT_OFFERED: HTTPStatus.FORBIDDEN,
    Refusal.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Refusal.NO_PAYERS_CODE: HTTPStatus.NOT_FOUND,
}
"""The status of a refusal; every other one is a conflict with what the store holds."""

IdempotencyKey = Annotated[
    str,
    Header(description="The same request again, under the same key, is done once."),
    StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$"),
]
Id = Annotated[models.TransactionId, Path(description="As it was given out.")]
Told = dict[str, Any]
Act = Callable[[StoredAnswer], Awaitable[Told | Refused]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A request that came through the door: its client and what it asks with."""

    client: ClientSettings
    services: Services
    codes: Codes
    wishes: Wishes


async def _find_asked(request: Request) -> _Asked:
    """Give what a request that came through the door asks with."""
    switch: Switch = request.app.state.switch
    services, codes, wishes = switch.services, switch.codes, switch.wishes
    if services is None or codes is None or wishes is None:
        raise _refusal(_STARTING)
    client: ClientSettings = request.state.client
    return _Asked(client=client, services=services, codes=codes, wishes=wishes)


From = Annotated[_Asked, Depends(_find_asked)]
router = APIRouter(prefix="/v1")


@router.post("/codes", status_code=HTTPStatus.CREATED, response_model=models.Code)
async def create_code(
    request: Request,
    asked: From,
    wanted: models.NewCode,
    idempotency_key: IdempotencyKey,
) -> Response:
    """Make a payment code for the merchant to show."""
    wish = CodeWish(
        merchant_id=_merchant(asked),
        amount_minor=wanted.amount_minor or 0,
        currency=wanted.currency,
        # One that is paid as often as wanted lasts, where nothing else is said.
        valid_s=wanted.valid_s or (VALID_S if wanted.amount_minor else 0),
        reference=wanted.reference or "",
        terminal_id=wanted.terminal_id or "",
    )

    async def act(claim: StoredAnswer) -> Told | Refused:
        made = await asked.codes.create(wish, claim=claim)
        return made if isinstance(made, Refused) else _code(asked, made)

    return await _once(asked, request, idempotency_key, act)


@router.get("/codes/{code_id}", response_model=models.Code)
async def read_code(asked: From, code_id: Id) -> Response:
    """Tell how a code stands; a terminal polls this, too."""
    code = await asked.services.store.find_row(PaymentCode, code_id)
    if code is None or code.merchant_id != _merchant(asked):
        raise _unknown("code")
    return JSONResponse(_code(asked, code))


@router.post("/payments", status_code=HTTPStatus.CREATED, response_model=models.Payment)
async def create_payment(
    request: Request,
    asked: From,
    wanted: models.NewScan,
    idempotency_key: IdempotencyKey,
) -> Response:
    """Take a payment by the code that a payer shows.

    The answer is pending while the payer confirms; the result comes as a callback, and
    can be asked for.
    """
    _merchant(asked)
    wish = ScanWish(
        client=asked.client.name,
        terminal_id=asked.client.terminal_id,
        code=ScannedCode(wanted.payer_code),
        amount=Money(wanted.amount_minor, wanted.currency),
        reference=wanted.reference or "",
    )

    async def act(claim: StoredAnswer) -> Told | Refused:
        return _told(await asked.wishes.pay(wish, claim=claim))

    return await _once(asked, request, idempotency_key, act)


@router.post(
    "/payments/{payment_id}/cancel",
    status_code=HTTPStatus.CREATED,
    response_model=models.Payment,
)
async def cancel_payment(
    request: Request, asked: From, payment_id: Id, idempotency_key: IdempotencyKey
) -> Response:
    """Undo a payment by a payer's code, whole, whether it is decided or not."""

    async def act(claim: StoredAnswer) -> Told | Refused:
        paid = await asked.wishes.find(payment_id, merchant_id=_merchant(asked))
        if paid is None or paid.wish.original_id:
            return UNKNOWN_PAYMENT
        return _told(await asked.wishes.cancel(paid.wish, claim=claim))

    return await _once(asked, request, idempotency_key, act)


@router.get("/payments/{payment_id}", response_model=models.Payment)
async def read_payment(asked: From, payment_id: Id) -> Response:
    """Tell how a payment stands, to its merchant or to its wallet."""
    return JSONResponse(await _payment(asked, payment_id))


@router.post("/refunds", status_code=HTTPStatus.CREATED, response_model=models.Refund)
async def create_refund(
    request: Request,
    asked: From,
    wanted: models.NewRefund,
    idempotency_key: IdempotencyKey,
) -> Response:
    """Give a payment back, whole or in part."""
    wish = RefundWish(
        merchant_id=_merchant(asked),
        payment_id=wanted.payment_id,
        amount_minor=wanted.amount_minor or 0,
    )

    async def act(claim: StoredAnswer) -> Told | Refused:
        paid = await asked.wishes.find(wish.payment_id, merchant_id=wish.merchant_id)
        if paid is not None and not paid.wish.original_id:
            return _told(
                await asked.wishes.refund(
                    paid.wish,
                    client=asked.client.name,
                    amount_minor=wish.amount_minor,
                    claim=claim,
                )
            )
        row = await asked.codes.refund(wish, claim=claim)
        return row if isinstance(row, Refused) else describe_refund(row)

    return await _once(asked, request, idempotency_key, act)


@router.get("/refunds/{refund_id}", response_model=models.Refund)
async def read_refund(asked: From, refund_id: Id) -> Response:
    """Tell how a refund stands."""
    return JSONResponse(await _refund(asked, refund_id))


@router.post(
    "/wallet/pay", status_code=HTTPStatus.CREATED, response_model=models.Payment
)
async def pay(
    request: Request,
    asked: From,
    wanted: models.NewPayment,
    idempotency_key: IdempotencyKey,
) -> Response:
    """Pay a code that a customer has scanned; for wallets only.

    The answer may say that the payment failed: then no money moved, and the code
    can be paid again.
    """
    if asked.client.merchant_id:
        raise _not_for("merchants")
    wish = PayWish(
        text=wanted.code,
        wallet=asked.client.name,
        debtor=wanted.payer.name,
        debtor_account=wanted.payer.account,
        debtor_agent=wanted.payer.bank,
        amount=_amount(asked, wanted),
    )

    async def act(claim: StoredAnswer) -> Told | Refused:
        row = await asked.codes.pay(wish, claim=claim)
        if isinstance(row, Refused):
            return row
        return await _payment(asked, row.id)

    return await _once(asked, request, idempotency_key, act)


async def _once(
    asked: _Asked,
    request: Request,
    key: str,
    act: Act,
) -> Response:
    """Do what a request wants once, and answer as it was answered then."""
    body: bytes = request.state.body
    what = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    claim = StoredAnswer(
        id=f"{asked.client.name}|{key}",
        digest=hashlib.sha256(what + body).hexdigest(),
        resource="",
        created_at=asked.services.clock.now().timestamp(),
    )
    store = asked.services.store
    async with asked.services.jobs.claims.hold(f"answer/{claim.id}"):
        found = await store.find_row(StoredAnswer, claim.id)
        if found is not None:
            return await _again(asked, claim, found)
        told = await act(claim)
        if isinstance(told, Refused):
            refusal = _refusal(told)
            if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
                raise refusal
            body_text = json.dumps({"name": refusal.name, "detail": refusal.detail})
            await _keep(_answered(claim, refusal.status, body_text), None, asked)
            raise refusal
        if told["state"] != "pending":
            claimed = await store.find_row(StoredAnswer, claim.id)
            kept = replace(claim, resource=told["id"])
            answer = _answered(kept, HTTPStatus.CREATED, json.dumps(told))
            await _keep(answer, claimed, asked)
        return JSONResponse(told, status_code=HTTPStatus.CREATED)


def _answered(claim: StoredAnswer, status: int, body: str) -> StoredAnswer:
    """Give a claim with its answer."""
    return replace(claim, status=int(status), body=body)


async def _keep(
    answer: StoredAnswer, expect: StoredAnswer | None, asked: _Asked
) -> None:
    move = RowMove(expect=expect, row=answer)
    try:
        await asked.services.store.commit(UnitOfWork(records=(), rows=(move,)))
    except OwnershipLost:
        # Another node has answered the same request meanwhile.
        raise ApiProblem(HTTPStatus.CONFLICT, "key_in_use", _KEY_IN_USE) from None


async def _again(asked: _Asked, claim: StoredAnswer, found: StoredAnswer) -> Response:
    """Answer a request that came before."""
    if found.digest != claim.digest:
        detail = "this Idempotency-Key came before with another request"
        raise ApiProblem(HTTPStatus.CONFLICT, "key_reused", detail)
    headers = {"Idempotency-Replayed": "true"}
    if found.status >= HTTPStatus.BAD_REQUEST:
        kept = json.loads(found.body)
        raise ApiProblem(
            HTTPStatus(found.status), kept["name"], kept["detail"], headers=headers
        )
    told = json.loads(found.body) if found.body else None
    if told is None:
        # The switch ended between the deed and its answer.
        told = await _resource(asked, found.resource)
    return JSONResponse(told, status_code=HTTPStatus.CREATED, headers=headers)


async def _resource(asked: _Asked, resource: str) -> Told:
    code = await asked.services.store.find_row(PaymentCode, resource)
    if code is not None:
        return _code(asked, code)
    wish = await asked.services.store.find_row(StoredWish, resource)
    is_payment = wish is not None and not wish.original_id
    payment = await asked.services.store.find_row(CodePayment, resource)
    if is_payment or payment is not None:
        return await _payment(asked, resource)
    return await _refund(asked, resource)


async def _wished(asked: _Asked, wish_id: str, *, is_refund: bool) -> Told | None:
    """Give what is told of a wish of this merchant's server."""
    client = asked.client
    found = await asked.wishes.find(wish_id, merchant_id=client.merchant_id)
    if found is None or bool(found.wish.original_id) is not is_refund:
        return None
    return _describe(found)


def _told(found: Telling | Refused) -> Told | Refused:
    return found if isinstance(found, Refused) else _describe(found)


def _describe(found: Telling) -> Told:
    return describe_wish(found.wish, found.row, returned_minor=found.returned_minor)


async def _payment(asked: _Asked, payment_id: str) -> Told:
    wished = await _wished(asked, payment_id, is_refund=False)
    if wished is not None:
        return wished
    store = asked.services.store
    payment = await store.find_row(CodePayment, payment_id)
    row = await store.find_transaction(payment_id)
    client = asked.client
    if payment is None or row is None:
        raise _unknown("payment")
    if client.merchant_id:
        is_theirs = client.merchant_id == payment.merchant_id
    else:
        is_theirs = client.name == payment.wallet
    if not is_theirs:
        raise _unknown("payment")
    hold = await store.find_hold(payment_id)
    return describe_payment(row, payment, hold=hold)


async def _refund(asked: _Asked, refund_id: str) -> Told:
    wished = await _wished(asked, refund_id, is_refund=True)
    if wished is not None:
        return wished
    row: StoredTransaction | None = await asked.services.store.find_transaction(
        refund_id
    )
    # A refund at a terminal is the terminal's.
    is_ours = row is not None and row.endpoint in asked.services.settings.houses
    if row is None or not is_ours or row.kind != Kind.REFUND:
        raise _unknown("refund")
    if row.merchant_id != _merchant(asked):
        raise _unknown("refund")
    return describe_refund(row)


def _amount(asked: _Asked, wanted: models.NewPayment) -> Money | None:
    if wanted.amount_minor is None:
        return None
    currency = wanted.currency or asked.services.settings.default_currency
    return Money(wanted.amount_minor, currency)


def _code(asked: _Asked, code: PaymentCode) -> Told:
    return describe_code(code, now=asked.services.clock.now().timestamp())


def _merchant(asked: _Asked) -> str:
    if not asked.client.merchant_id:
        raise _not_for("wallets")
    return asked.client.merchant_id


def _refusal(refused: Refused) -> ApiProblem:
    status = STATUSES.get(refused.reason, HTTPStatus.CONFLICT)
    return ApiProblem(status, refused.reason, refused.words)


def _unknown(what: str) -> ApiProblem:
    detail = f"there is no such {what}, or it is not yours"
    return ApiProblem(HTTPStatus.NOT_FOUND, f"unknown_{what}", detail)


def _not_for(whom: str) -> ApiProblem:
    return ApiProblem(HTTPStatus.FORBIDDEN, "forbidden", f"this is not for {whom}")


_KEY_IN_USE = "a request under this Idempotency-Key is being answered; ask again"
_STARTING = Refused(reason=Refusal.UNAVAILABLE, words="the switch is starting")
