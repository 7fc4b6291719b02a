"""The messages of a simulated terminal: requests, reversals, repeats, with its MAC.

A terminal names what it acts on by all that it knows: the reference and approval code
of the answer, and its own trace number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from random import Random

from isoswitch.codecs.canonical.codes import (
    EntryMode,
    Function,
    Kind,
    PinEntry,
    ReversalReason,
)
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import Pan, Pin, ScannedCode
from isoswitch.codecs.canonical.transaction import OriginalData, Transaction
from isoswitch.codecs.dialects.dialect import LegNumbers
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.iso8583.message import Message
from isoswitch.simulators.beliefs import Belief
from isoswitch.simulators.cards import TestCard
from isoswitch.simulators.devices import Device
from isoswitch.simulators.keyring import Keyring
from isoswitch.simulators.terminal_crypto import encrypt_pin, generate_mac
from isoswitch.simulators.working_keys import WorkingKeys
from isoswitch.switch.numbers import STAN_MAX
from isoswitch.switch.ports import Clock

# Stands where a request is made that tells of no card.
_NO_CARD = TestCard(
    name="", pan=Pan("0" * 16), pin=Pin("0000"), issuer="", outcome="", expiry=""
)
# What asks about no amount, and what moves none.
WITHOUT_AMOUNT = frozenset({Kind.BALANCE_INQUIRY, Kind.MINI_STATEMENT})
INQUIRIES = WITHOUT_AMOUNT | {
    Kind.ACCOUNT_VERIFICATION,
    Kind.PAYMENT_CODE,
    Kind.CODE_STATUS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalProfile:
    """How a simulated terminal speaks, and the names of the keys it shares.

    ``tak`` empty means no MACs; under ``tmk`` a sign-in brings new keys. It asks
    ``repeats_max`` times again after ``timeout_s`` of silence each, then reverses every
    ``reversal_retry_s``. ``reversal_function`` is ADVICE (0420) or REQUEST (0400).
    ``rrn_prefix``, six characters, is for terminals that give their own retrieval
    reference numbers.
    ``verifies_answers`` False leaves the cost of checking MACs out of a load test.
    """

    terminal_id: str
    merchant_id: str
    dialect: str
    framing: str
    tpk: str
    tak: str = ""
    tmk: str = ""
    header: str = ""
    merchant_name: str = "ISOSWITCH TEST"
    mcc: str = "5999"
    acquirer_id: str = ""
    rrn_prefix: str = ""
    currency: str = "978"
    timeout_s: float = 20.0
    repeats_max: int = 1
    reversal_retry_s: float = 10.0
    reversal_function: Function = Function.ADVICE
    reconnect_s: float = 1.0
    verifies_answers: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A transaction and the message that asks for it, ready to be sent."""

    transaction: Transaction
    message: Message


class RequestBuilder:
    """Builds what one terminal sends, under its trace numbers and keys.

    ``requests`` are those it believes to have sent, by trace number.
    """

    def __init__(
        self,
        profile: TerminalProfile,
        *,
        keyring: Keyring,
        clock: Clock,
        first_stan: int,
    ) -> None:
        self.profile = profile
        self.dialect = get_dialect(profile.dialect)
        self.requests: dict[str, Request] = {}
        self._tpk = WorkingKeys(keyring.get_key(profile.tpk))
        self._tak = WorkingKeys(keyring.get_key(profile.tak)) if profile.tak else None
        self._clock = clock
        self._next_stan = first_stan

    def build(
        self,
        kind: Kind,
        card: TestCard,
        amount_minor: int,
        *,
        pin: Pin | None = None,
        original: Belief | None = None,
        function: Function = Function.REQUEST,
        is_final: bool = True,
        cashback_minor: int = 0,
    ) -> Request:
        """Build a request of this terminal under its next trace number.

        What acts on an ``original`` names it: by our host's reference and approval
        code, and by its trace number if it is one of this terminal's.
        """
        now = self.now().replace(microsecond=0)
        profile = self.profile
        stan = self.draw_stan()
        transaction = Transaction(
            kind=kind,
            function=function,
            stan=stan,
            rrn=profile.rrn_prefix + stan if profile.rrn_prefix else "",
            pan=card.pan,
            expiry=card.expiry,
            amount=None
            if kind in WITHOUT_AMOUNT
            else Money(amount_minor, profile.currency),
            transmitted_at=now,
            local_at=now.replace(tzinfo=None),
            entry_mode=EntryMode.CHIP,
            pin_entry=PinEntry.CAPABLE,
            mcc=profile.mcc,
            acquirer_id=profile.acquirer_id,
            terminal_id=profile.terminal_id,
            merchant_id=profile.merchant_id,
            merchant_name=profile.merchant_name,
            pin_block=encrypt_pin(self._tpk.active, pin, card.pan) if pin else None,
            is_final=is_final,
            cashback=Money(cashback_minor, profile.currency)
            if cashback_minor
            else None,
        )
        if original is not None:
            transaction = self._naming(transaction, original)
        return self.build_from(transaction)

    def build_tap(
        self,
        device: Device,
        amount_minor: int,
        *,
        random: Random,
        kind: Kind = Kind.PURCHASE,
        holder_verified: bool = False,
        pin: Pin | None = None,
        original: Belief | None = None,
    ) -> Request:
        """Build the request of a tap with a card or a device."""
        card = TestCard(name="", pan=device.pan, pin=Pin("0000"), issuer="", outcome="")
        request = self.build(kind, card, amount_minor, pin=pin, original=original)
        transaction = request.transaction
        amount = Money(amount_minor, self.profile.currency)
        chip = device.tap(amount, holder_verified=holder_verified, random=random)
        return self.build_from(
            replace(transaction, entry_mode=EntryMode.CONTACTLESS_CHIP, emv=chip)
        )

    def build_scan(
        self, code: ScannedCode, amount_minor: int, *, kind: Kind = Kind.PURCHASE
    ) -> Request:
        """Build the request of a payer's code that was scanned."""
        transaction = self.build(kind, _NO_CARD, amount_minor).transaction
        return self.build_from(
            replace(
                transaction, pan=None, expiry="", code=code, entry_mode=EntryMode.QR
            )
        )

    def build_scan_refund(self, original: Belief, amount_minor: int) -> Request:
        """Build the refund of a payment by code, which names no card."""
        request = self.build(Kind.REFUND, _NO_CARD, amount_minor, original=original)
        return self.build_from(
            replace(request.transaction, pan=None, expiry="", entry_mode=EntryMode.QR)
        )

    def build_code_request(self, amount_minor: int, *, valid_s: int = 0) -> Request:
        """Build the request for a code that this terminal wants to show."""
        transaction = self.build(Kind.PAYMENT_CODE, _NO_CARD, amount_minor).transaction
        return self.build_from(
            replace(
                transaction,
                pan=None,
                expiry="",
                entry_mode=EntryMode.QR,
                valid_s=valid_s,
            )
        )

    def build_code_query(self, rrn: str) -> Request:
        """Build the question whether a code has been paid, by the RRN it came with."""
        transaction = self.build(Kind.CODE_STATUS, _NO_CARD, 0).transaction
        return self.build_from(
            replace(
                transaction,
                pan=None,
                expiry="",
                amount=None,
                rrn=rrn,
                entry_mode=EntryMode.QR,
            )
        )

    def build_from(self, transaction: Transaction) -> Request:
        """Build the message of a transaction, with this terminal's MAC."""
        assert transaction.transmitted_at is not None, "terminals stamp their messages"
        leg = LegNumbers(
            stan=transaction.stan,
            rrn=transaction.rrn,
            transmitted_at=transaction.transmitted_at,
            acquirer_id=transaction.acquirer_id,
            repeat=transaction.is_repeat,
        )
        message = self.dialect.to_request(transaction, leg, mac=self._tak is not None)
        return Request(transaction=transaction, message=self.with_mac(message))

    def build_reversal(
        self,
        request: Request,
        *,
        reason: ReversalReason = ReversalReason.TIMEOUT,
        remaining_minor: int = 0,
    ) -> Request:
        """Build the reversal of a request; it keeps the time of its original."""
        undone = request.transaction
        remaining = Money(remaining_minor, self.profile.currency)
        return self.build_from(
            replace(
                undone,
                kind=Kind.REVERSAL,
                function=self.profile.reversal_function,
                is_repeat=False,
                stan=self.draw_stan(),
                transmitted_at=self.now().replace(microsecond=0),
                pin_block=None,
                track2=None,
                emv=None,
                cashback=None,
                is_final=True,
                reversal_reason=reason,
                remaining=remaining if remaining_minor else None,
                original=_original_data(request),
            )
        )

    def build_network(self, kind: Kind) -> Request:
        """Build a sign-on, sign-off or echo of this terminal."""
        now = self.now().replace(microsecond=0)
        stan = self.draw_stan()
        message = self.dialect.network_request(kind, stan=stan, transmitted_at=now)
        transaction = Transaction(
            kind=kind,
            function=Function.REQUEST,
            stan=stan,
            transmitted_at=now,
            terminal_id=self.profile.terminal_id,
        )
        named = message.replace({41: self.profile.terminal_id})
        return Request(transaction=transaction, message=named)

    def as_repeat(self, request: Request) -> Request:
        """Turn a request into its repeat: 0201, 0421, under a new MAC."""
        mti = request.message.mti[:3] + "1"
        return Request(
            transaction=replace(request.transaction, is_repeat=True),
            message=self.with_mac(request.message.replace({}, mti=mti)),
        )

    def with_mac(self, message: Message) -> Message:
        """Put this terminal's MAC in its place, if the message has one."""
        de = self.dialect.mac_field(message)
        if de is None or self._tak is None:
            return message
        mac = generate_mac(self._tak.active, message.raw[: message.offset(de)])
        return message.replace({de: mac})

    def with_wrong_mac(self, request: Request) -> Request:
        """Spoil the MAC of a request."""
        de = self.dialect.mac_field(request.message)
        assert de is not None, "only a message with a MAC can have a wrong one"
        mac = request.message[de]
        assert isinstance(mac, bytes), "a MAC is binary"
        wrong = bytes(octet ^ 0xFF for octet in mac)
        return replace(request, message=request.message.replace({de: wrong}))

    def _naming(self, transaction: Transaction, original: Belief) -> Transaction:
        """Name what a transaction acts on by all that this terminal knows of it."""
        request = None
        if original.terminal_id == self.profile.terminal_id:
            request = self.requests[original.stan]
        return replace(
            transaction,
            rrn=original.rrn,
            approval_code=original.outcome.approval_code if original.outcome else "",
            original=_original_data(request) if request else None,
        )

    def now(self) -> datetime:
        """Give the time of this terminal's clock, in UTC."""
        return self._clock.now()

    def draw_stan(self) -> str:
        """Give the next trace number."""
        stan = self._next_stan
        self._next_stan = stan % STAN_MAX + 1
        return f"{stan:06d}"


def _original_data(request: Request) -> OriginalData:
    """Name a request as the original of another message."""
    named = request.transaction
    return OriginalData(
        kind=named.kind,
        mti=request.message.mti[:3] + "0",
        stan=named.stan,
        transmitted_at=named.transmitted_at,
        local_at=named.local_at,
        acquirer_id=named.acquirer_id,
        rrn=named.rrn,
    )
