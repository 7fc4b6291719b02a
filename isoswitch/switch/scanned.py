"""A payer's code that a merchant scanned: what it is, and the question to its issuer.

An EMVCo code holds a device number and chip data: it becomes a payment by card. A
wallet's payment code is opaque digits: its prefix names the wallet, and only the wallet
knows whose it is. Either pays once.

A wallet whose payer has still to confirm answers that the request is in progress. It
is asked again by a repeat of the same message until it has decided. When the time is
over the payment is reversed, so that a confirmation that comes later moves nothing.
"""

from __future__ import annotations

from dataclasses import replace

import trio

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.errors import (
    DecodeError,
    IsoswitchError,
    LinkDown,
    NoAnswer,
)
from isoswitch.codecs.canonical.secrets import Secret
from isoswitch.codecs.canonical.transaction import Outcome, Transaction
from isoswitch.codecs.emv.tlv import TlvList, primitive
from isoswitch.codecs.emv.tracks import decode_track2_binary
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.qr.cpm import CpmCode
from isoswitch.codecs.qr.describe import decode_code
from isoswitch.codecs.qr.payment_codes import PaymentCode
from isoswitch.hsm.port import HashData
from isoswitch.store.rows import SpentCode
from isoswitch.switch.job import Job
from isoswitch.switch.legs import authenticate, read_answer
from isoswitch.switch.links import Link
from isoswitch.switch.services import Services
from isoswitch.switch.units import Leg

SPENT = Outcome.declined(
    ResponseCode.DUPLICATE_TRANSACTION, "this code has been used; it pays once"
)
NOT_CONFIRMED = Outcome.declined(
    ResponseCode.ANSWER_TOO_LATE, "the payer did not confirm in time"
)
_NAME, _NUMBER, _TRACK, _DEDICATED_FILE = "4F", "5A", "57", "84"


class NotConfirmed(IsoswitchError):
    """The payer has not confirmed, and the time for it is over."""


def read_scanned(txn: Transaction) -> Transaction:
    """Give a transaction with the card of the code that was scanned, if it has one.

    Raises
    ------
    DecodeError
        No code of a payer, or not a valid one.
    """
    if txn.code is None:
        return txn
    found = decode_code(txn.code.reveal())
    if isinstance(found, PaymentCode):
        return txn
    if not isinstance(found, CpmCode):
        raise DecodeError("not a code that a payer shows")
    pan, track = found.pan, found.tlv.find(_TRACK)
    if pan is None:
        raise DecodeError("a code without a card number")
    expiry = decode_track2_binary(track, path=_TRACK).expiry if track else ""
    return replace(txn, pan=pan, expiry=txn.expiry or expiry, emv=_chip_data(found))


def hash_command(txn: Transaction, *, key: str) -> HashData | None:
    """Make the command that gives the look-up hash of a code; None without one."""
    if txn.code is None:
        return None
    return HashData(key=key, data=b"code " + txn.code.reveal().encode())


async def is_spent(services: Services, job: Job) -> bool:
    """Whether the code of a job has been sent to its issuer before."""
    if not job.code_hash:
        return False
    return await services.store.find_row(SpentCode, job.code_hash) is not None


async def ask(
    services: Services, job: Job, leg: Leg, link: Link
) -> tuple[Message, Outcome]:
    """Send the request of a leg, and again as long as it is in progress.

    Raises
    ------
    LinkDown
        Nothing was written.
    NotConfirmed
        It was in progress to the end.
    NoAnswer, MacMismatch, DecodeError, EncodeError, HsmError
        Whatever came cannot be trusted, or told: the endpoint may have approved.
    """
    settings, began_at = link.settings, trio.current_time()
    answer = await link.request(
        leg.message,
        deadline=min(job.deadline, began_at + settings.request_timeout_s),
        transaction_id=job.id,
    )
    outcome = await read_answer(services, job, link, answer)
    until = began_at + settings.confirm_s
    if outcome.code is ResponseCode.REQUEST_IN_PROGRESS:
        await services.recorder.not_processed(job, leg, answer, now=trio.current_time())
    while outcome.code is ResponseCode.REQUEST_IN_PROGRESS:
        if job.reversal_wanted or trio.current_time() + settings.poll_s >= until:
            raise NotConfirmed(NOT_CONFIRMED.reason)
        await trio.sleep(settings.poll_s)
        try:
            answer, outcome = await _ask_again(services, job, leg, link, until)
        except (LinkDown, NoAnswer):
            # The first request was written and its payer may confirm: only the
            # deadline ends this.
            continue
    return answer, outcome


async def _ask_again(
    services: Services, job: Job, leg: Leg, link: Link, until: float
) -> tuple[Message, Outcome]:
    mti = leg.message.mti[:3] + "1"
    repeat = await authenticate(
        services.hsm,
        link.dialect,
        leg.message.replace({}, mti=mti),
        link.settings.zak,
    )
    answer = await link.request(
        repeat,
        deadline=min(until, trio.current_time() + link.settings.request_timeout_s),
        transaction_id=job.id,
    )
    return answer, await read_answer(services, job, link, answer)


def _chip_data(code: CpmCode) -> Secret[bytes]:
    """Give the data of the code's first application as a chip tells it, without card.

    What the common template says holds where the application says nothing.
    """
    values: dict[str, bytes] = {}
    for _, each in code.tlv.walk():
        if not each.is_template:
            values.setdefault(each.tag, each.value)
    for tag in (_NUMBER, _TRACK, "85"):
        values.pop(tag, None)
    if _NAME in values:
        values[_DEDICATED_FILE] = values.pop(_NAME)
    objects = (primitive(tag, value) for tag, value in values.items())
    return Secret(TlvList(tuple(objects)).encode())
