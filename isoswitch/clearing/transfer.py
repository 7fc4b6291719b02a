"""An instant credit transfer as its sender sees it: a state machine without a clock.

    CREATED ──▶ SENT ──settled──────────────────────────▶ SETTLED ──return──▶ RETURNED
                 │ ├─rejected─▶ REJECTED                    ▲
                 │ ╰─held (ACWP)─▶ HELD ──credited──────────╯
                 │                   ╰──not credited──▶ RETURN_DUE ──return──▶ RETURNED
                 ╰─expired─▶ IN_DOUBT ──rejected, never received──▶ REJECTED
                              │  ▲╰──asked again (status request)
                              ╰settled, held─▶ RECALLING ──return──▶ RETURNED
                                                   ╰─refused─▶ RECALL_REFUSED

At the deadline the payer is told that the payment did not happen. What is settled later
all the same is recalled, never used; and nothing is sent a second time before its fate
is known. Of what is held, or due to come back, the house tells the end by itself; it is
asked now and then all the same. Money is set aside when a transfer is created, captured
when it is settled, given free when it is rejected, given back when it is returned: each
once. A return that comes before the word that it was settled ends it if it is over the
whole; of a part, the rest is recalled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from isoswitch.codecs.canonical.errors import IsoswitchError
from isoswitch.codecs.canonical.money import Money


class TransferState(StrEnum):
    """Where a transfer stands."""

    CREATED = "created"
    SENT = "sent"
    HELD = "held"
    IN_DOUBT = "in_doubt"
    SETTLED = "settled"
    REJECTED = "rejected"
    RETURN_DUE = "return_due"
    RECALLING = "recalling"
    RECALL_REFUSED = "recall_refused"
    RETURNED = "returned"


class Event(StrEnum):
    """What happens to a transfer."""

    SENDING = "sending"
    NOT_WRITTEN = "not_written"
    PROGRESS = "progress"
    HELD = "held"
    SETTLED = "settled"
    REJECTED = "rejected"
    BLOCKED = "blocked"
    NEVER_RECEIVED = "never_received"
    EXPIRED = "expired"
    ASKED = "asked"
    RECALL_AGREED = "recall_agreed"
    RECALL_REFUSED = "recall_refused"
    RETURNED = "returned"


class Effect(StrEnum):
    """What a change of state does besides."""

    CAPTURE = "capture"
    CAPTURE_FOR_RECALL = "capture_for_recall"
    RELEASE = "release"
    GIVE_BACK = "give_back"
    ASK_STATUS = "ask_status"
    RECALL = "recall"
    TELL_PAID = "tell_paid"
    TELL_FAILED = "tell_failed"
    ALARM = "alarm"


class EventRefused(IsoswitchError):
    """The event does not belong to the state: a contradiction for the operator."""


# External status codes of pacs.002 (TxSts) and what each one means to the sender.
STATUS_EVENTS: Mapping[str, Event] = {
    "RCVD": Event.PROGRESS,
    "ACTC": Event.PROGRESS,
    "ACCP": Event.PROGRESS,
    "ACFC": Event.PROGRESS,
    "ACSP": Event.PROGRESS,
    "ACWC": Event.PROGRESS,
    "PDNG": Event.PROGRESS,
    "ACWP": Event.HELD,
    "ACSC": Event.SETTLED,
    "ACCC": Event.SETTLED,
    "RJCT": Event.REJECTED,
    # Only of what was accepted without posting: the money has moved, and comes back.
    "BLCK": Event.BLOCKED,
    "CANC": Event.REJECTED,
}
# A rejection that answers a status request with this reason says: not known here.
NEVER_RECEIVED_REASONS = frozenset({"AG09", "NOOR"})
# camt.029 (Conf): what the other side says of a recall.
RECALL_EVENTS: Mapping[str, Event] = {
    "IPAY": Event.RECALL_AGREED,
    "CNCL": Event.RECALL_AGREED,
    "PDCR": Event.RECALL_AGREED,
    "PECR": Event.RECALL_AGREED,
    "RJCR": Event.RECALL_REFUSED,
}

Change = tuple[TransferState, tuple[Effect, ...]]
_S, _E, _F = TransferState, Event, Effect

_PAID = (_S.SETTLED, (_F.CAPTURE, _F.TELL_PAID))
_FAILED = (_S.REJECTED, (_F.RELEASE, _F.TELL_FAILED))
# The payer was told already that nothing was paid.
_REJECTED_LATE = (_S.REJECTED, (_F.RELEASE,))
_UNWANTED = (_S.RECALLING, (_F.CAPTURE_FOR_RECALL, _F.RECALL))
_GIVEN_BACK = (_S.RETURNED, (_F.GIVE_BACK,))
_CONTRADICTION: tuple[Effect, ...] = (_F.ALARM,)

CHANGES: Mapping[tuple[TransferState, Event], Change] = {
    (_S.CREATED, _E.SENDING): (_S.SENT, ()),
    (_S.CREATED, _E.EXPIRED): _FAILED,
    (_S.SENT, _E.NOT_WRITTEN): _FAILED,
    (_S.SENT, _E.PROGRESS): (_S.SENT, ()),
    (_S.SENT, _E.HELD): (_S.HELD, (_F.TELL_PAID, _F.ASK_STATUS)),
    (_S.SENT, _E.SETTLED): _PAID,
    (_S.SENT, _E.REJECTED): _FAILED,
    (_S.SENT, _E.BLOCKED): (
        _S.RETURN_DUE,
        (_F.CAPTURE_FOR_RECALL, _F.TELL_FAILED, _F.ASK_STATUS),
    ),
    # It overtook the word that it was settled, which may be lost.
    (_S.SENT, _E.RETURNED): (
        _S.RETURNED,
        (_F.CAPTURE_FOR_RECALL, _F.GIVE_BACK, _F.TELL_FAILED),
    ),
    (_S.SENT, _E.EXPIRED): (_S.IN_DOUBT, (_F.TELL_FAILED, _F.ASK_STATUS)),
    (_S.HELD, _E.PROGRESS): (_S.HELD, ()),
    (_S.HELD, _E.HELD): (_S.HELD, ()),
    (_S.HELD, _E.EXPIRED): (_S.HELD, ()),
    (_S.HELD, _E.SETTLED): (_S.SETTLED, (_F.CAPTURE,)),
    (_S.HELD, _E.REJECTED): (_S.RETURN_DUE, (_F.CAPTURE, _F.ASK_STATUS)),
    (_S.HELD, _E.BLOCKED): (_S.RETURN_DUE, (_F.CAPTURE, _F.ASK_STATUS)),
    (_S.HELD, _E.RETURNED): (_S.RETURNED, (_F.CAPTURE, _F.GIVE_BACK)),
    (_S.IN_DOUBT, _E.PROGRESS): (_S.IN_DOUBT, ()),
    (_S.IN_DOUBT, _E.ASKED): (_S.IN_DOUBT, ()),
    (_S.IN_DOUBT, _E.EXPIRED): (_S.IN_DOUBT, (_F.ASK_STATUS,)),
    (_S.IN_DOUBT, _E.HELD): _UNWANTED,
    (_S.IN_DOUBT, _E.SETTLED): _UNWANTED,
    (_S.IN_DOUBT, _E.REJECTED): _REJECTED_LATE,
    (_S.IN_DOUBT, _E.BLOCKED): (
        _S.RETURN_DUE,
        (_F.CAPTURE_FOR_RECALL, _F.ASK_STATUS),
    ),
    (_S.IN_DOUBT, _E.NEVER_RECEIVED): _REJECTED_LATE,
    (_S.IN_DOUBT, _E.RETURNED): (
        _S.RETURNED,
        (_F.CAPTURE_FOR_RECALL, _F.GIVE_BACK),
    ),
    (_S.SETTLED, _E.PROGRESS): (_S.SETTLED, ()),
    (_S.SETTLED, _E.HELD): (_S.SETTLED, ()),
    (_S.SETTLED, _E.SETTLED): (_S.SETTLED, ()),
    (_S.SETTLED, _E.EXPIRED): (_S.SETTLED, ()),
    (_S.SETTLED, _E.REJECTED): (_S.SETTLED, _CONTRADICTION),
    (_S.SETTLED, _E.RETURNED): _GIVEN_BACK,
    (_S.REJECTED, _E.PROGRESS): (_S.REJECTED, ()),
    (_S.REJECTED, _E.REJECTED): (_S.REJECTED, ()),
    (_S.REJECTED, _E.NEVER_RECEIVED): (_S.REJECTED, ()),
    (_S.REJECTED, _E.EXPIRED): (_S.REJECTED, ()),
    (_S.REJECTED, _E.SETTLED): (_S.REJECTED, _CONTRADICTION),
    (_S.REJECTED, _E.HELD): (_S.REJECTED, _CONTRADICTION),
    (_S.RETURN_DUE, _E.REJECTED): (_S.RETURN_DUE, ()),
    (_S.RETURN_DUE, _E.BLOCKED): (_S.RETURN_DUE, ()),
    (_S.RETURN_DUE, _E.HELD): (_S.RETURN_DUE, ()),
    (_S.RETURN_DUE, _E.EXPIRED): (_S.RETURN_DUE, ()),
    (_S.RETURN_DUE, _E.PROGRESS): (_S.RETURN_DUE, ()),
    (_S.RETURN_DUE, _E.RETURNED): _GIVEN_BACK,
    (_S.RECALLING, _E.PROGRESS): (_S.RECALLING, ()),
    (_S.RECALLING, _E.HELD): (_S.RECALLING, ()),
    (_S.RECALLING, _E.SETTLED): (_S.RECALLING, ()),
    (_S.RECALLING, _E.EXPIRED): (_S.RECALLING, ()),
    (_S.RECALLING, _E.BLOCKED): (_S.RECALLING, ()),
    (_S.RECALLING, _E.RECALL_AGREED): (_S.RECALLING, ()),
    (_S.RECALLING, _E.RECALL_REFUSED): (_S.RECALL_REFUSED, (_F.ALARM,)),
    (_S.RECALLING, _E.RETURNED): _GIVEN_BACK,
    (_S.RECALL_REFUSED, _E.RETURNED): _GIVEN_BACK,
    (_S.RECALL_REFUSED, _E.RECALL_REFUSED): (_S.RECALL_REFUSED, ()),
    (_S.RECALL_REFUSED, _E.SETTLED): (_S.RECALL_REFUSED, ()),
    (_S.RECALL_REFUSED, _E.BLOCKED): (_S.RECALL_REFUSED, ()),
    (_S.RECALL_REFUSED, _E.EXPIRED): (_S.RECALL_REFUSED, ()),
    (_S.RETURNED, _E.RETURNED): _GIVEN_BACK,
    (_S.RETURNED, _E.SETTLED): (_S.RETURNED, ()),
    (_S.RETURNED, _E.BLOCKED): (_S.RETURNED, ()),
    (_S.RETURNED, _E.EXPIRED): (_S.RETURNED, ()),
    (_S.RETURNED, _E.RECALL_AGREED): (_S.RETURNED, ()),
    (_S.RETURNED, _E.HELD): (_S.RETURNED, ()),
    (_S.RETURNED, _E.PROGRESS): (_S.RETURNED, ()),
}

# What a return of only a part changes where nobody has said yet that it was settled.
PARTS_THAT_OVERTAKE: Mapping[TransferState, Change] = {
    _S.SENT: (
        _S.RECALLING,
        (
            _F.CAPTURE_FOR_RECALL,
            _F.GIVE_BACK,
            _F.RECALL,
            _F.TELL_FAILED,
            _F.ALARM,
        ),
    ),
    _S.IN_DOUBT: (
        _S.RECALLING,
        (_F.CAPTURE_FOR_RECALL, _F.GIVE_BACK, _F.RECALL, _F.ALARM),
    ),
}

UNDECIDED = frozenset({_S.CREATED, _S.SENT})
# Whom it is for has, or will have, the money.
PAID_STATES = frozenset({_S.SETTLED, _S.HELD})
FINAL_STATES = frozenset({_S.SETTLED, _S.REJECTED, _S.RETURNED, _S.RECALL_REFUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One transfer of ours.

    ``id`` is the transaction that caused it; ``uetr`` names it everywhere.
    ``expires_at`` and ``next_at`` (the next question) are UTC epoch seconds. ``asked``
    counts the status requests; ``return_ids`` names the returns that were taken. Agents
    are BICs or member ids.
    """

    id: str
    uetr: str
    message_id: str
    end_to_end_id: str
    endpoint: str
    amount: Money
    debtor_agent: str
    creditor_agent: str
    merchant_id: str
    created_at: str
    expires_at: float
    state: TransferState = TransferState.CREATED
    asked: int = 0
    next_at: float = 0.0
    returned_minor: int = 0
    return_ids: str = ""
    reason: str = ""

    @property
    def is_final(self) -> bool:
        """Whether nothing is expected any more, though a return may still come."""
        return self.state in FINAL_STATES


def status_event(status: str, reason: str = "") -> Event:
    """Give what a status of pacs.002 means; an unknown one is no decision.

    Examples
    --------
    >>> status_event("ACSC"), status_event("RJCT", "AG09"), status_event("XXXX")
    (<Event.SETTLED: 'settled'>, <Event.NEVER_RECEIVED: 'never_received'>, \
<Event.PROGRESS: 'progress'>)
    """
    event = STATUS_EVENTS.get(status, Event.PROGRESS)
    if event is Event.REJECTED and reason in NEVER_RECEIVED_REASONS:
        return Event.NEVER_RECEIVED
    return event


def advance(
    transfer: Transfer, event: Event, *, reason: str = ""
) -> tuple[Transfer, tuple[Effect, ...]]:
    """Give a transfer after an event, and what follows from it.

    Raises
    ------
    EventRefused
        The event cannot happen in this state.
    """
    # Who was never asked for a status has received nothing it could reject as unknown.
    if event is Event.NEVER_RECEIVED and transfer.state is TransferState.SENT:
        event = Event.REJECTED
    change = CHANGES.get((transfer.state, event))
    if change is None:
        msg = f"transfer {transfer.id} is {transfer.state} and cannot be {event}"
        raise EventRefused(msg)
    state, effects = change
    return replace(transfer, state=state, reason=reason or transfer.reason), effects


def take_return(
    transfer: Transfer, amount: Money, *, return_id: str, reason: str = ""
) -> tuple[Transfer, tuple[Effect, ...]]:
    """Give a transfer after money came back, whole or in part (pacs.004).

    The same return again changes nothing.

    Raises
    ------
    EventRefused
        Another currency, or more than is still out.
    """
    taken = transfer.return_ids.split()
    if return_id in taken:
        return transfer, ()
    out = transfer.amount.minor - transfer.returned_minor
    if amount.currency != transfer.amount.currency or not 0 < amount.minor <= out:
        msg = f"transfer {transfer.id} has less out than what comes back"
        raise EventRefused(msg)
    after, effects = advance(transfer, Event.RETURNED, reason=reason)
    state = after.state
    if amount.minor < out and transfer.state in PARTS_THAT_OVERTAKE:
        state, effects = PARTS_THAT_OVERTAKE[transfer.state]
    returned = replace(
        after,
        state=state,
        returned_minor=transfer.returned_minor + amount.minor,
        return_ids=" ".join([*taken, return_id]),
    )
    return returned, effects
