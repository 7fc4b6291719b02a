"""The closed sets of the canonical model; each dialect maps them in one table."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What a transaction does, independent of its wire format."""

    PURCHASE = "purchase"
    CASH_WITHDRAWAL = "cash_withdrawal"
    PURCHASE_WITH_CASHBACK = "purchase_with_cashback"
    PREAUTHORISATION = "preauthorisation"
    INCREMENTAL = "incremental"
    COMPLETION = "completion"
    VOID = "void"
    REFUND = "refund"
    BALANCE_INQUIRY = "balance_inquiry"
    MINI_STATEMENT = "mini_statement"
    ACCOUNT_VERIFICATION = "account_verification"
    PAYMENT_CODE = "payment_code"
    CODE_STATUS = "code_status"
    REVERSAL = "reversal"
    FILE_UPDATE = "file_update"
    BATCH_UPLOAD = "batch_upload"
    RECONCILIATION = "reconciliation"
    SIGN_ON = "sign_on"
    SIGN_OFF = "sign_off"
    ECHO = "echo"
    KEY_CHANGE = "key_change"
    CUTOVER = "cutover"


class Function(StrEnum):
    """How a message speaks: asks, tells, or answers (MTI third digit)."""

    REQUEST = "request"
    RESPONSE = "response"
    ADVICE = "advice"
    ADVICE_RESPONSE = "advice_response"
    NOTIFICATION = "notification"


class EntryMode(StrEnum):
    """How the card was read (DE 22)."""

    UNKNOWN = "unknown"
    MANUAL = "manual"
    STRIPE = "stripe"
    CHIP = "chip"
    CONTACTLESS_CHIP = "contactless_chip"
    CONTACTLESS_STRIPE = "contactless_stripe"
    QR = "qr"
    ECOMMERCE = "ecommerce"
    ON_FILE = "on_file"
    FALLBACK_STRIPE = "fallback_stripe"


class PinEntry(StrEnum):
    """Whether the terminal can take a PIN (DE 22, last digit in 1987)."""

    UNKNOWN = "unknown"
    CAPABLE = "capable"
    INCAPABLE = "incapable"


class ReversalReason(StrEnum):
    """Why a transaction is undone, as far as its sender tells."""

    UNSPECIFIED = "unspecified"
    TIMEOUT = "timeout"
    CUSTOMER_CANCELLATION = "customer_cancellation"
    MALFUNCTION = "malfunction"
    PARTIAL_COMPLETION = "partial_completion"


class ResponseCode(StrEnum):
    """The canonical reason of an outcome; wire codes are the dialect's."""

    APPROVED = "approved"
    PARTIALLY_APPROVED = "partially_approved"
    REFER_TO_ISSUER = "refer_to_issuer"
    INVALID_MERCHANT = "invalid_merchant"
    PICK_UP_CARD = "pick_up_card"
    DO_NOT_HONOUR = "do_not_honour"
    INVALID_TRANSACTION = "invalid_transaction"
    INVALID_AMOUNT = "invalid_amount"
    INVALID_CARD_NUMBER = "invalid_card_number"
    NO_SUCH_ISSUER = "no_such_issuer"
    ORIGINAL_NOT_FOUND = "original_not_found"
    FORMAT_ERROR = "format_error"
    LOST_CARD = "lost_card"
    STOLEN_CARD = "stolen_card"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    EXPIRED_CARD = "expired_card"
    WRONG_PIN = "wrong_pin"
    CARD_NOT_PERMITTED = "card_not_permitted"
    TERMINAL_NOT_PERMITTED = "terminal_not_permitted"
    SUSPECTED_FRAUD = "suspected_fraud"
    EXCEEDS_AMOUNT_LIMIT = "exceeds_amount_limit"
    RESTRICTED_CARD = "restricted_card"
    SECURITY_VIOLATION = "security_violation"
    EXCEEDS_COUNT_LIMIT = "exceeds_count_limit"
    ANSWER_TOO_LATE = "answer_too_late"
    PIN_TRIES_EXCEEDED = "pin_tries_exceeded"
    CRYPTOGRAPHIC_ERROR = "cryptographic_error"
    CUTOVER_IN_PROGRESS = "cutover_in_progress"
    ISSUER_UNAVAILABLE = "issuer_unavailable"
    DUPLICATE_TRANSACTION = "duplicate_transaction"
    REQUEST_IN_PROGRESS = "request_in_progress"
    RECONCILIATION_ERROR = "reconciliation_error"
    SYSTEM_MALFUNCTION = "system_malfunction"

    @property
    def is_approval(self) -> bool:
        """Whether money may move on this code.

        Examples
        --------
        >>> ResponseCode.APPROVED.is_approval, ResponseCode.WRONG_PIN.is_approval
        (True, False)
        """
        return self in _APPROVALS


_APPROVALS = frozenset({ResponseCode.APPROVED, ResponseCode.PARTIALLY_APPROVED})
