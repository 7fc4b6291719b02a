"""Why something is undone, what an advice tells of, and whether more follows."""

from __future__ import annotations

from isoswitch.codecs.canonical.codes import Kind, ResponseCode, ReversalReason
from isoswitch.codecs.canonical.errors import EncodeError
from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.codecs.dialects.edition import Edition, Fields, Values

PARTIAL = ReversalReason.PARTIAL_COMPLETION
_MONEY_CLASSES = frozenset("12")


def read_reason(edition: Edition, values: Values) -> ReversalReason:
    """Give the reason that a message tells, in the words of a reversal."""
    wire = values.get(edition.reason_field, "")
    return edition.reasons.get(wire, ReversalReason.UNSPECIFIED)


def tells_decline(edition: Edition, values: Values, mti: str) -> bool:
    """Whether an advice tells of something that was declined."""
    wire: str = values.get(39, "")
    is_advice = mti[1] in _MONEY_CLASSES and mti[2] == "2"
    if not (is_advice and wire) or edition.reasons.get(wire) is PARTIAL:
        return False
    meaning = edition.meanings[mti[1] + "3"].get(wire)
    # A chip that declines offline says Z1, or Z3 when nobody could be asked.
    return wire.startswith("Z") or bool(meaning and not meaning[0].is_approval)


def write_reason(edition: Edition, fields: Fields, txn: Transaction) -> None:
    """Write why something is undone, that it was declined, or that more follows.

    Raises
    ------
    EncodeError
        The edition has no completion that is not the last.
    """
    undoes = txn.kind is Kind.REVERSAL
    if txn.is_declined:
        fields[39] = edition.answer_codes["2"][ResponseCode.DO_NOT_HONOUR]
    if txn.is_final and not undoes:
        return
    code = edition.reason_codes.get(txn.reversal_reason if undoes else PARTIAL)
    if code is not None:
        fields[edition.reason_field] = code
    elif not txn.is_final:
        raise EncodeError("no partial completion in this edition", field="mti")
