"""From a decoded message to an answer: who sent it, is it a repeat, which flow decides.

The order is what makes it safe. A message is authenticated before it may take a key; a
key has one owner; and an answer leaves only when the record behind it is durable. When
that is not possible there is no answer, and the terminal repeats or reverses.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import structlog
import trio

from isoswitch.codecs.canonical.codes import Function, Kind, ResponseCode
from isoswitch.codecs.canonical.errors import (
    DecodeError,
    EncodeError,
    HsmError,
    LinkDown,
    MacMismatch,
    StoreUnavailable,
)
from isoswitch.codecs.canonical.sealing import load_outcome
from isoswitch.codecs.canonical.secrets import Pan
from isoswitch.codecs.canonical.transaction import Outcome, Transaction
from isoswitch.codecs.canonical.values import quick
from isoswitch.codecs.dialects.dialect import Dialect
from isoswitch.codecs.iso8583.message import Message
from isoswitch.hsm.port import AnyCommand, HashData
from isoswitch.journal.records import RecordKind
from isoswitch.store.port import (
    DuplicateTransaction,
    OwnershipLost,
    StoredTransaction,
    TransactionState,
)
from isoswitch.switch.accounts import MOVES_MONEY, STAYS_HELD
from isoswitch.switch.admission import (
    REASONS,
    Load,
    begins_anew,
    find_limit,
    has_happened,
)
from isoswitch.switch.checks import check_terminal
from isoswitch.switch.contactless import read_device
from isoswitch.switch.flows.network import answer_network
from isoswitch.switch.flows.reversal import ReversalUndecided
from isoswitch.switch.flows.sign_in import confirm_keys, sign_in
from isoswitch.switch.flows.table import NETWORK_KINDS, find_flow
from isoswitch.switch.job import Job
from isoswitch.switch.keys import dedup_key
from isoswitch.switch.legs import authenticate, verify_command
from isoswitch.switch.logs import LegLine, legs
from isoswitch.switch.numbers import Numbering
from isoswitch.switch.ports import iso_time
from isoswitch.switch.scanned import hash_command, read_scanned
from isoswitch.switch.services import Services
from isoswitch.switch.settings import TerminalSettings, is_server
from isoswitch.switch.units import REVERSED_MEANWHILE

WRONG_MAC = Outcome.declined(ResponseCode.SECURITY_VIOLATION, "the MAC does not verify")
NO_CRYPTO = Outcome.declined(
    ResponseCode.SYSTEM_MALFUNCTION, "the crypto service cannot serve this request"
)
UNSUPPORTED = Outcome.declined(
    ResponseCode.INVALID_TRANSACTION, "this switch does not offer this transaction"
)
OTHER_CONTENT = Outcome.declined(
    ResponseCode.DUPLICATE_TRANSACTION, "the same key came with other content"
)
NOT_TAKEN = "an advice came under the key of what was declined"
TAKEN_BACK = "an advice came under the key of what its terminal has reversed"
# Of these nobody knows whether they are copies of what was decided before.
UNTRUSTED = frozenset({"failed", "unverified"})

NO_NOTIFICATIONS = DecodeError("notifications are not served", field="mti")

log = structlog.get_logger()


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A message from a terminal, and the way back to it.

    ``done`` is called once when the message needs no more attention. ``numbers`` are
    those of its transaction, where they were drawn already.
    """

    message: Message
    dialect: Dialect
    listener: str
    certificate_pin: str
    send: Callable[[Message], None]
    done: Callable[[], None]
    numbers: Numbering | None = None


Wait = Callable[[], Awaitable[None]]
"""What whoever hands over messages waits for before it hands over more."""

Accept = Callable[[Arrival], Wait | None]
"""Takes a message to be decided; gives a wait when too much is in hand."""


async def dispatch(services: Services, arrival: Arrival, *, in_hand: int = 1) -> None:
    """Decide a message and answer it; the edge where faults end and are logged.

    ``in_hand`` is how many messages were being decided when it came, itself included.
    """
    try:
        await _dispatch(services, arrival, in_hand)
    except LinkDown as error:
        # The decision stands. The terminal will repeat, and gets the stored answer.
        log.warning("answer_undeliverable", reason=str(error))
    except (OwnershipLost, ReversalUndecided) as error:
        # Another decides, or has decided meanwhile: a repeat will get its answer.
        log.warning("not_answered", reason=str(error), listener=arrival.listener)
    except (StoreUnavailable, HsmError) as error:
        services.counts.unanswered += 1
        services.health.notice("not_answered", error, listener=arrival.listener)
    except Exception:
        log.exception("dispatch_failed", listener=arrival.listener)
    finally:
        arrival.done()


async def _dispatch(services: Services, arrival: Arrival, in_hand: int) -> None:
    try:
        txn = arrival.dialect.to_transaction(
            arrival.message,
            reference=services.clock.now(),
            currency=services.settings.default_currency,
        )
        txn = read_scanned(txn)
    except DecodeError as error:
        await _refuse_malformed(services, arrival, error)
        return
    if txn.function is Function.NOTIFICATION:
        await _refuse_malformed(services, arrival, NO_NOTIFICATIONS)
        return
    terminal = find_terminal(services, txn.terminal_id, arrival.certificate_pin)
    if txn.kind in NETWORK_KINDS:
        await _answer_network(services, arrival, txn, terminal)
        return
    job = open_job(services, arrival, txn, terminal)
    job.in_hand = in_hand
    log_leg(job, arrival.message, direction="in")
    decided = await decide(services, job)
    if decided is None:
        log.warning("not_answered", transaction=job.id, reason="no outcome to repeat")
        return
    services.counts.transactions[txn.kind, decided.code] += 1
    response = await answer(services, arrival, job, decided)
    log_leg(job, response, direction="out")


async def _answer_network(
    services: Services,
    arrival: Arrival,
    txn: Transaction,
    terminal: TerminalSettings | None,
) -> None:
    """Answer a message that moves no money; a sign-in may bring working keys."""
    if txn.kind is Kind.SIGN_ON and terminal is not None:
        signed_in = await sign_in(services, terminal, arrival.dialect, txn.network_code)
        outcome, fields = signed_in.outcome, signed_in.fields
    else:
        outcome = answer_network(
            is_registered=terminal is not None, names_terminal=bool(txn.terminal_id)
        )
        fields = {}
    arrival.send(arrival.dialect.to_response(arrival.message, outcome, extra=fields))


def find_terminal(
    services: Services, terminal_id: str, certificate_pin: str
) -> TerminalSettings | None:
    """Find a registered terminal; over TLS its certificate must be its own."""
    terminal = services.settings.terminals.get(terminal_id)
    if terminal is None or terminal.certificate_pin != certificate_pin:
        return None
    return terminal


def open_job(
    services: Services,
    arrival: Arrival,
    txn: Transaction,
    terminal: TerminalSettings | None,
) -> Job:
    """Give a transaction its numbers, its deadline and its business date."""
    numbers = arrival.numbers or services.numbers.draw()
    settings = services.settings
    merchant = settings.merchants.get(terminal.merchant_id) if terminal else None
    if merchant is not None and not txn.merchant_name:
        txn = replace(txn, merchant_name=merchant.name)
    return Job(
        numbers=numbers,
        txn=txn,
        rrn=numbers.rrn,
        request=arrival.message,
        dialect=arrival.dialect,
        send=arrival.send,
        listener=arrival.listener,
        terminal=terminal,
        merchant=merchant,
        deadline=trio.current_time() + settings.transaction_timeout_s,
        business_date=services.days.date,
        opened_at=iso_time(services.clock.now()),
        dedup_key=dedup_key(arrival.message.mti, txn),
        held_s=settings.kinds.held_s,
    )


async def decide(services: Services, job: Job) -> Outcome | None:
    """Give the outcome of a request: new, repeated or refused; None means silence."""
    decline = check_terminal(job)
    if decline is None:
        decline = await _authenticate_request(services, job)
    if decline is not None and has_happened(job.txn):
        # What was refused although it has happened must not stand in the way of its
        # repeat.
        job.dedup_key += f"|{job.id}"
    running = services.jobs.find(job.dedup_key)
    if running is not None:
        return await _join(services, job, running)
    services.jobs.add(job)
    outcome = None
    try:
        outcome = await _own(services, job, decline)
    except DuplicateTransaction as duplicate:
        outcome = await _repeat(services, job, duplicate.existing)
    finally:
        services.jobs.remove(job)
        job.end(outcome)
    return outcome


async def answer(
    services: Services, arrival: Arrival, job: Job, outcome: Outcome
) -> Message:
    """Send the answer, authenticated where the terminal expects it, and give it."""
    response = job.find_signed(outcome) or job.response(outcome)
    if job.tak and job.find_signed(outcome) is None:
        response = await authenticate(services.hsm, job.dialect, response, job.tak)
    arrival.send(response)
    return response


async def _authenticate_request(services: Services, job: Job) -> Outcome | None:
    """Verify the request's MAC and take the card's look-up hash, in one round trip."""
    assert job.terminal is not None, "checked before"
    commands: list[AnyCommand] = []
    malformed = None
    try:
        if job.terminal.tak:
            commands.append(verify_command(job.dialect, job.request, job.terminal.tak))
        try:
            look_ups = look_up_commands(services, job)
        except DecodeError as error:
            # Said only when it is known who speaks.
            look_ups = []
            malformed = Outcome.declined(ResponseCode.FORMAT_ERROR, str(error))
        asked = (*commands, *look_ups)
        results = await services.hsm.run(*asked) if asked else []
        if job.terminal.tak and results[0]:
            await confirm_keys(services, job.terminal)
    except MacMismatch:
        job.mac_verdict = "failed"
        log.warning("wrong_mac", terminal=job.terminal.id, transaction=job.id)
        return WRONG_MAC
    except HsmError as error:
        job.mac_verdict = "unverified"
        services.health.notice("crypto_failed", error, transaction=job.id)
        return NO_CRYPTO
    job.mac_verdict = "verified" if job.terminal.tak else "none"
    services.code_watch.hear(job)
    hashes = [each.hex() for each in results[len(commands) :]]
    if hashes and job.txn.code is not None:
        job.code_hash = hashes[-1]
    if hashes:
        job.pan_hash = hashes[0]
    return malformed


def look_up_commands(services: Services, job: Job) -> list[AnyCommand]:
    """Give the hashes by which a job's account, and then its code, are looked up.

    Raises
    ------
    DecodeError
        The chip data that name the account make no sense.
    """
    commands: list[AnyCommand] = []
    key, txn = services.settings.pan_hash_key, job.txn
    if txn.pan is not None:
        device = read_device(txn, services.settings.contactless.devices)
        job.verification, job.tap_limits = device.verification, device.limits
        account = device.account
        text = account.reveal() if isinstance(account, Pan) else account
        commands.append(HashData(key=key, data=text.encode()))
    hashing = hash_command(txn, key=key)
    return commands if hashing is None else [*commands, hashing]


async def _own(services: Services, job: Job, decline: Outcome | None) -> Outcome:
    if decline is not None:
        return await services.recorder.refuse(job, decline)
    refusal = check_admission(services, job)
    if refusal is not None:
        return await services.recorder.refuse(job, refusal)
    flow = find_flow(job.txn)
    if flow is None:
        return await services.recorder.refuse(job, UNSUPPORTED)
    return await flow(services, job)


def check_admission(services: Services, job: Job) -> Outcome | None:
    """Decline what exceeds a limit; a repeat of it gets the same answer."""
    if not begins_anew(job.txn):
        return None
    jobs, settings = services.jobs, services.settings
    limit = find_limit(
        settings.admission,
        Load(total=job.in_hand, merchant=jobs.count_of(job.merchant_id)),
        services.buckets,
        is_clock_trusted=services.health.trusts_clock(),
        # How often a merchant's server may ask is decided at the door of the API.
        terminal_id="" if is_server(job.terminal) else job.txn.terminal_id,
        now=trio.current_time(),
    )
    if limit is None:
        return None
    services.counts.refusals[limit] += 1
    return Outcome.declined(settings.overload_code(job.listener), REASONS[limit])


async def _join(services: Services, job: Job, running: Job) -> Outcome | None:
    """Wait with the owner of the same request."""
    if job.mac_verdict in UNTRUSTED:
        # It would contradict the answer that the genuine copy gets.
        return None
    if job.asked.function is not running.asked.function:
        # An advice under the key of its request: it comes again.
        return None
    if running.fingerprint not in ("", job.fingerprint):
        return await _other_content(services, job, running.id)
    outcome = await running.wait_outcome()
    # A repeat itself learns the number of what it repeats only with the outcome.
    job.rrn = running.rrn
    return outcome


async def _repeat(
    services: Services, job: Job, existing: StoredTransaction
) -> Outcome | None:
    """Answer a request that was decided before, as it was decided."""
    if job.mac_verdict in UNTRUSTED or existing.state is not TransactionState.CLOSED:
        # Perhaps a genuine copy, of which nothing can be said: it comes again.
        return None
    if existing.fingerprint not in ("", job.fingerprint):
        return await _other_content(services, job, existing.id)
    job.rrn = existing.rrn
    await services.recorder.note(
        RecordKind.REPEATED, existing.id, {"message": job.request.masked()}
    )
    outcome = load_outcome(existing.outcome)
    if _tells_of_approval(job.txn) and not outcome.is_approved:
        is_taken_back = outcome.reason == REVERSED_MEANWHILE.reason
        reason = TAKEN_BACK if is_taken_back else NOT_TAKEN
        await _leave_untaken(services, job, existing, reason)
    if existing.reversed and outcome.is_approved:
        return REVERSED_MEANWHILE
    return outcome


def _tells_of_approval(txn: Transaction) -> bool:
    is_told = txn.function is Function.ADVICE and not txn.is_declined
    return is_told and txn.kind in MOVES_MONEY | STAYS_HELD


async def _leave_untaken(
    services: Services, job: Job, existing: StoredTransaction, reason: str
) -> None:
    """Leave an advice to the operator that its key keeps from being taken; once."""
    noted = await services.store.records(existing.id)
    if any(each.record.body.get("reason") == reason for each in noted):
        return
    body = {"reason": reason, "message": job.request.masked()}
    await services.recorder.note(RecordKind.EXCEPTION, existing.id, body)
    log.error("advice_not_taken", transaction=existing.id)


async def _other_content(services: Services, job: Job, holder: str) -> Outcome:
    body = {"reason": OTHER_CONTENT.reason, "message": job.request.masked()}
    await services.recorder.note(RecordKind.EXCEPTION, holder, body)
    log.error("duplicate_with_other_content", transaction=holder)
    return OTHER_CONTENT


async def _refuse_malformed(
    services: Services, arrival: Arrival, error: DecodeError
) -> None:
    """Answer a message that decodes but makes no sense, once that is written down."""
    message = arrival.message
    terminal_id = str(message.get(41, "")).strip()
    terminal = find_terminal(services, terminal_id, arrival.certificate_pin)
    outcome = Outcome.declined(ResponseCode.FORMAT_ERROR, str(error))
    body = {
        "listener": arrival.listener,
        "code": outcome.code,
        "reason": outcome.reason,
        "message": message.masked(),
    }
    numbers = services.numbers.draw()
    await services.recorder.note(RecordKind.EXCEPTION, numbers.transaction_id, body)
    log.warning("malformed_request", listener=arrival.listener, reason=str(error))
    has_key = terminal is not None and bool(terminal.tak)
    try:
        response = arrival.dialect.to_response(message, outcome, mac=has_key)
    except EncodeError:
        # An answer, a notification, or of another edition: nobody waits for one.
        return
    if terminal is not None and has_key:
        response = await authenticate(
            services.hsm, arrival.dialect, response, terminal.tak
        )
    arrival.send(response)


def log_leg(job: Job, message: Message, *, direction: str) -> None:
    """Log one message of a transaction with its terminal."""
    line = LegLine(
        transaction=job.id,
        direction=direction,
        endpoint=job.listener,
        mti=message.mti,
        stan=job.txn.stan,
        terminal=job.txn.terminal_id,
        code=str(message.get(39, "")),
    )
    legs.put(line)
