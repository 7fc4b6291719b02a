"""The canonical transaction and its outcome, free of wire format."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from isoswitch.codecs.canonical.codes import (
    EntryMode,
    Function,
    Kind,
    PinEntry,
    ResponseCode,
    ReversalReason,
)
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import (
    Pan,
    PinBlock,
    ScannedCode,
    Secret,
    Track2,
)
from isoswitch.codecs.canonical.totals import Totals
from isoswitch.codecs.canonical.values import quick


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalData:
    """The fields that name the transaction being reversed (DE 90, DE 56).

    ``kind`` is what the original did, which its reversal repeats in DE 3;
    ``transmitted_at`` is UTC; ``acquirer_id`` is DE 32 of the original, without
    leading zeros.
    """

    kind: Kind = Kind.PURCHASE
    mti: str
    stan: str
    transmitted_at: datetime | None = None
    local_at: datetime | None = None
    acquirer_id: str = ""
    rrn: str = ""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One business request of a cardholder or merchant.

    ``transmitted_at`` (DE 7) is UTC and aware; ``local_at`` (DE 12 and 13) is the
    terminal's naive local time; ``expiry`` is ``YYMM``; ``accounts`` are the account
    types debited and credited, two digits each (DE 3, positions 3 to 6); the separator
    of ``track2`` is ``=``. ``code`` is what a payer showed in place of a card.
    ``remaining`` is what a partial reversal leaves standing of
    ``amount`` (DE 95). ``is_final`` False says that more completions of the same
    pre-authorisation follow, ``is_declined`` that an advice tells of a decline,
    ``takes_part`` that the terminal can go on with a part of the amount.
    ``file_name`` is what a file update is about (DE 101). ``valid_s`` is how long a
    payment code that is asked for may be paid, 0 where the terminal leaves that to the
    host. Texts are stripped of their padding. Fields that a message did not carry are
    None or empty.
    """

    kind: Kind
    function: Function
    is_repeat: bool = False
    stan: str
    rrn: str = ""
    pan: Pan | None = None
    track2: Track2 | None = None
    code: ScannedCode | None = None
    expiry: str = ""
    card_sequence: str = ""
    amount: Money | None = None
    cashback: Money | None = None
    transmitted_at: datetime | None = None
    local_at: datetime | None = None
    entry_mode: EntryMode = EntryMode.UNKNOWN
    pin_entry: PinEntry = PinEntry.UNKNOWN
    mcc: str = ""
    acquirer_id: str = ""
    terminal_id: str = ""
    merchant_id: str = ""
    merchant_name: str = ""
    pin_block: PinBlock | None = None
    emv: Secret[bytes] | None = None
    approval_code: str = ""
    original: OriginalData | None = None
    reversal_reason: ReversalReason = ReversalReason.UNSPECIFIED
    remaining: Money | None = None
    is_final: bool = True
    is_declined: bool = False
    takes_part: bool = False
    file_name: str = ""
    valid_s: int = 0
    network_code: str = ""
    accounts: str = "0000"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """One booking of a mini statement; an amount below zero was taken."""

    booked_on: date
    amount: Money


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a transaction ended.

    ``reason`` is one short clause for the operator, such as ``"no route for BIN"``;
    it never holds card data. ``amount`` is the approved amount where it differs from
    the requested one; ``balance`` and ``statement`` answer an inquiry. ``code_text`` is
    what the payment code says that was asked for.
    """

    code: ResponseCode
    approval_code: str = ""
    reason: str = ""
    amount: Money | None = None
    balance: Money | None = None
    totals: Totals | None = None
    statement: tuple[StatementLine, ...] = ()
    code_text: str = ""
    emv: Secret[bytes] | None = None

    @property
    def is_approved(self) -> bool:
        """Whether money may move."""
        return self.code.is_approval

    @staticmethod
    def declined(code: ResponseCode, reason: str = "") -> Outcome:
        """Make an outcome that is not an approval.

        Examples
        --------
        >>> Outcome.declined(ResponseCode.NO_SUCH_ISSUER, "no route").is_approved
        False
        """
        assert not code.is_approval, "a decline needs a declining code"
        return Outcome(code=code, reason=reason)
