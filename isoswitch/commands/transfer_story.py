"""Transfers told in sentences: what a clearing house was sent, and what it said.

The records of a transfer name its ``uetr`` and the ``event`` that moved it; those of
our own questions and returns have no event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isoswitch.clearing.receipt import ReceiptEvent, ReceiptState
from isoswitch.clearing.transfer import Event, TransferState
from isoswitch.journal.records import RecordKind

Body = Mapping[str, Any]

EVENTS: Mapping[str, str] = {
    Event.PROGRESS: "{endpoint} has it and says no more yet",
    Event.HELD: "{endpoint} accepts it; its receiver posts it later",
    Event.SETTLED: "{endpoint} has settled it",
    Event.REJECTED: "{endpoint} rejects it{because}",
    Event.BLOCKED: "{endpoint} has settled it, but its receiver blocks it{because}",
    Event.NEVER_RECEIVED: "{endpoint} has never received it",
    Event.NOT_WRITTEN: "{endpoint} has seen nothing of it{because}",
    Event.EXPIRED: "{endpoint} is silent until the deadline: it counts as not paid",
    Event.RECALL_AGREED: "{endpoint} agrees to give it back",
    Event.RECALL_REFUSED: "{endpoint} refuses to give it back{because}",
    Event.RETURNED: "{endpoint} has given back {returned} in all",
    ReceiptEvent.NOT_SETTLED: "{endpoint} takes it back, unsettled{because}",
    ReceiptEvent.GIVE_BACK: "its customer loses it, and it is to be returned{because}",
    ReceiptEvent.RETURN_TAKEN: "{endpoint} has taken the return",
    ReceiptEvent.RETURN_REFUSED: "{endpoint} refuses the return",
}
"""What moved a transfer; ``because`` names a reason where one is known."""

STATES: Mapping[tuple[RecordKind, str], str] = {
    (
        RecordKind.SENDING,
        TransferState.SENT,
    ): "the switch transfers {amount} by {endpoint}",
    (RecordKind.FORWARDED, TransferState.RECALLING): (
        "the switch asks for the money back, question {asked}"
    ),
    (RecordKind.RECEIVED, ReceiptState.CREDITED): (
        "{endpoint} brings {amount}: credited to its customer"
    ),
    (RecordKind.RECEIVED, ReceiptState.REFUSED): (
        "{endpoint} brings {amount}: refused{because}"
    ),
    (RecordKind.FORWARDED, ReceiptState.RETURNING): "the switch tells of the return",
}
"""What the switch did itself, by where the transfer stands then."""

ASKED = "the switch asks {endpoint} what became of it, question {asked}"

TRANSFER_ENDINGS: Mapping[TransferState, str] = {
    TransferState.CREATED: "The transfer has not left yet.",
    TransferState.SENT: "The transfer is under way: its clearing house decides.",
    TransferState.HELD: "The transfer is accepted; its receiver has not posted it yet.",
    TransferState.IN_DOUBT: "Nobody knows yet if it was settled; its house is asked.",
    TransferState.RETURN_DUE: "The transfer was not posted: the money is to come back.",
    TransferState.RECALLING: "It does not count as paid: what is out is asked back.",
    TransferState.RECALL_REFUSED: "It does not count as paid; its receiver keeps it.",
}
"""Where the money of a transfer of ours stands that its transaction tells less of."""

RECEIPT_ENDINGS: Mapping[ReceiptState, str] = {
    ReceiptState.CREDITED: "The customer has it.",
    ReceiptState.REFUSED: "It was refused: no money has moved.",
    ReceiptState.RETURNING: "It was taken from its customer, and is on its way back.",
    ReceiptState.RETURNED: "It was given back.",
    ReceiptState.RETURN_REFUSED: "Its customer has lost it, and nobody takes it back.",
    ReceiptState.CANCELLED: "It was not settled: no money has moved.",
}
"""Where the money of a received transfer stands."""


def transfer_sentence(kind: RecordKind, body: Body) -> str | None:
    """Say what a record says of a transfer; None if it is not about one."""
    if "uetr" not in body or "state" not in body:
        return None
    form = EVENTS.get(body.get("event", ""))
    if form is None:
        form = STATES.get((kind, body["state"]), ASKED)
    reason = body.get("reason")
    return form.format_map(
        {"asked": 1, **body, "because": f": {reason}" * bool(reason)}
    )
