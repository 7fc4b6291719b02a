"""Why a transfer was rejected (pacs.002) as a response code (DE 39), and back.

No standard joins the two lists. Reasons are of the external list
``ExternalStatusReason1Code``, which grows: one that no table here has is read by its
first two letters, and one that they do not tell either is a decline without a word.
Whoever reads a reason keeps it beside the code, which says less.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from isoswitch.codecs.canonical.codes import ResponseCode

_R = ResponseCode

# "Not specified, said by an agent": what there is no word for, or may not be told.
UNTOLD: Final = "MS03"
_REASON_LENGTH: Final = 4

# What is said for a code. What a PIN did is the cardholder's affair (MS02).
REASONS: Final[Mapping[ResponseCode, str]] = {
    _R.REFER_TO_ISSUER: UNTOLD,
    _R.INVALID_MERCHANT: "BE06",
    _R.PICK_UP_CARD: "AC06",
    _R.DO_NOT_HONOUR: UNTOLD,
    _R.INVALID_TRANSACTION: "AG03",
    _R.INVALID_AMOUNT: "AM12",
    _R.INVALID_CARD_NUMBER: "AC01",
    _R.NO_SUCH_ISSUER: "RC04",
    _R.ORIGINAL_NOT_FOUND: "AG09",
    _R.FORMAT_ERROR: "FF01",
    _R.LOST_CARD: "AC06",
    _R.STOLEN_CARD: "AC06",
    _R.INSUFFICIENT_FUNDS: "AM04",
    _R.EXPIRED_CARD: "AG01",
    _R.WRONG_PIN: "MS02",
    _R.CARD_NOT_PERMITTED: "AG01",
    _R.TERMINAL_NOT_PERMITTED: "AG02",
    _R.SUSPECTED_FRAUD: "FR01",
    _R.EXCEEDS_AMOUNT_LIMIT: "AM14",
    _R.RESTRICTED_CARD: "AC06",
    _R.SECURITY_VIOLATION: UNTOLD,
    _R.EXCEEDS_COUNT_LIMIT: UNTOLD,
    _R.ANSWER_TOO_LATE: "AB05",
    _R.PIN_TRIES_EXCEEDED: "MS02",
    _R.CRYPTOGRAPHIC_ERROR: UNTOLD,
    _R.CUTOVER_IN_PROGRESS: "TM01",
    _R.ISSUER_UNAVAILABLE: "AB08",
    _R.DUPLICATE_TRANSACTION: "DU03",
    _R.REQUEST_IN_PROGRESS: "DU03",
    _R.RECONCILIATION_ERROR: UNTOLD,
    _R.SYSTEM_MALFUNCTION: "AB10",
}

# What a reason is read as.
CODES: Final[Mapping[str, ResponseCode]] = {
    "AB05": _R.ANSWER_TOO_LATE,
    "AB06": _R.ANSWER_TOO_LATE,
    "AB09": _R.SYSTEM_MALFUNCTION,
    "AB10": _R.SYSTEM_MALFUNCTION,
    "AC06": _R.RESTRICTED_CARD,
    "AG01": _R.CARD_NOT_PERMITTED,
    "AG02": _R.TERMINAL_NOT_PERMITTED,
    "AG03": _R.INVALID_TRANSACTION,
    "AG09": _R.ORIGINAL_NOT_FOUND,
    "AM01": _R.INVALID_AMOUNT,
    "AM03": _R.INVALID_AMOUNT,
    "AM04": _R.INSUFFICIENT_FUNDS,
    "AM05": _R.DUPLICATE_TRANSACTION,
    "AM12": _R.INVALID_AMOUNT,
    "BE06": _R.INVALID_MERCHANT,
    "CNOR": _R.NO_SUCH_ISSUER,
    "CUST": _R.DO_NOT_HONOUR,
    "DS02": _R.DO_NOT_HONOUR,
    "DT05": _R.CUTOVER_IN_PROGRESS,
    "DUPL": _R.DUPLICATE_TRANSACTION,
    "ED05": _R.SYSTEM_MALFUNCTION,
    "FF03": _R.INVALID_TRANSACTION,
    "FF05": _R.TERMINAL_NOT_PERMITTED,
    "FR01": _R.SUSPECTED_FRAUD,
    "FRAD": _R.SUSPECTED_FRAUD,
    "NARR": _R.SYSTEM_MALFUNCTION,
    "NOOR": _R.ORIGINAL_NOT_FOUND,
    "TM01": _R.CUTOVER_IN_PROGRESS,
}
FAMILIES: Final[Mapping[str, ResponseCode]] = {
    "AB": _R.ISSUER_UNAVAILABLE,
    "AC": _R.INVALID_CARD_NUMBER,
    "AM": _R.EXCEEDS_AMOUNT_LIMIT,
    "CH": _R.FORMAT_ERROR,
    "DS": _R.SECURITY_VIOLATION,
    "DU": _R.DUPLICATE_TRANSACTION,
    "FF": _R.FORMAT_ERROR,
    "RC": _R.NO_SUCH_ISSUER,
    "RR": _R.CARD_NOT_PERMITTED,
}


def to_reason(code: ResponseCode) -> str:
    """Give the reason of a rejection with this code; an approval has none.

    Examples
    --------
    >>> to_reason(ResponseCode.INSUFFICIENT_FUNDS), to_reason(ResponseCode.APPROVED)
    ('AM04', '')
    """
    return REASONS.get(code, "")


def to_code(reason: str) -> ResponseCode:
    """Read the reason of a rejection, which never is an approval.

    Examples
    --------
    >>> to_code("AM04"), to_code("AC99"), to_code("XX01")
    (<ResponseCode.INSUFFICIENT_FUNDS: 'insufficient_funds'>, \
<ResponseCode.INVALID_CARD_NUMBER: 'invalid_card_number'>, \
<ResponseCode.DO_NOT_HONOUR: 'do_not_honour'>)
    """
    # Words of our own stand in the same place: only codes have families.
    family = reason[:2] if len(reason) == _REASON_LENGTH else ""
    return CODES.get(reason) or FAMILIES.get(family, ResponseCode.DO_NOT_HONOUR)
