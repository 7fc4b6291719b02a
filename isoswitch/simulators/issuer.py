"""A simulated issuer host: it signs on, verifies, decides, books, answers and fails.

Serve it on any byte stream or on TCP. A request passes through here in four steps:
decode, look up the reaction in the rules, decide (``accounts.py``), answer with or
without the fault that the reaction asks for. Everything but the wire is synchronous:
no request waits for another, and late answers wait in their wire.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import NoReturn

import msgspec
import trio

from isoswitch.codecs import headers
from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import (
    DecodeError,
    MacMismatch,
    PinBlockInvalid,
)
from isoswitch.codecs.canonical.transaction import Outcome, Transaction
from isoswitch.codecs.dialects.cutover import DATE_FIELD
from isoswitch.codecs.dialects.key_change import KeyPurpose
from isoswitch.codecs.dialects.mti import ANSWERS
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.dialects.settlement import (
    read_day,
    read_settlement,
    totals_fields,
)
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso8583.message import Message
from isoswitch.simulators.accounts import Accounts
from isoswitch.simulators.bookings import Bookings
from isoswitch.simulators.cards import TestCard
from isoswitch.simulators.issuer_crypto import decrypt_pin, generate_mac, verify_mac
from isoswitch.simulators.issuer_keys import IssuerKeys
from isoswitch.simulators.keyring import Keyring, SharedKey
from isoswitch.simulators.rules import NORMAL, Fault, Reaction, Rule, RuleBook
from isoswitch.simulators.settlement import compare_totals, issuer_totals
from isoswitch.simulators.token_service import TokenRefused, TokenService
from isoswitch.simulators.wire import CARD_FRAME_BYTES_MAX, Wire
from isoswitch.simulators.working_keys import WorkingKeys
from isoswitch.switch.ports import Clock

NETWORK_KINDS = frozenset(
    {Kind.SIGN_ON, Kind.SIGN_OFF, Kind.ECHO, Kind.KEY_CHANGE, Kind.CUTOVER}
)
GARBAGE_BYTES = 40
FIRST_STAN = 800_001
CALL_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerProfile:
    """How a simulated issuer speaks, and the names of the keys it shares.

    With a ``kek`` it changes the others: in key blocks, or encrypted ``is_legacy``. One
    that ``needs_sign_on`` takes no money before it; ``signs_on`` does it itself.
    """

    name: str
    dialect: str
    framing: str
    zpk: str
    zak: str
    header: str = ""
    currency: str = "978"
    kek: str = ""
    is_legacy: bool = False
    needs_sign_on: bool = True
    signs_on: bool = False


@dataclass(slots=True, eq=False)
class Asked:
    """A network management request to the switch, and what the switch said."""

    code: ResponseCode | None = None
    answered: trio.Event = field(default_factory=trio.Event)


class Issuer:
    """One issuer with its accounts, books and rules; serves many connections.

    ``bookings`` is what an auditor reads; ``counts`` tells what came that was not a
    proper request, ``heard`` what network management did; ``on_new_key`` is told name
    and key when a new one comes into use.
    """

    def __init__(
        self,
        profile: IssuerProfile,
        *,
        keyring: Keyring,
        cards: Iterable[TestCard],
        clock: Clock,
        random: Random,
        rules: Iterable[Rule] = (),
        log_path: Path | None = None,
        on_new_key: Callable[[str, SharedKey], None] = lambda _name, _key: None,
    ) -> None:
        self.profile = profile
        self.bookings = Bookings(log_path)
        self.accounts = self.make_accounts(cards, random)
        self.counts: Counter[str] = Counter()
        self.heard: Counter[Kind] = Counter()
        self.cutover_dates: list[str] = []
        self.wires: list[Wire] = []
        self.on_reversal: Callable[[Transaction], None] = lambda _: None
        self.tokens: TokenService | None = None
        self._asked: dict[int, Asked] = {}
        self._next_stan = FIRST_STAN
        self._has_signed_off = False
        self._signed_on: set[Wire] = set()
        self._zpk, self._zak = (
            WorkingKeys(keyring.get_key(name), on_use=partial(on_new_key, name))
            for name in (profile.zpk, profile.zak)
        )
        self._keys = IssuerKeys(
            {KeyPurpose.PIN: self._zpk, KeyPurpose.MAC: self._zak},
            kek=keyring.get_key(profile.kek) if profile.kek else None,
            is_legacy=profile.is_legacy,
            random=random,
        )
        self._clock = clock
        self._random = random
        self._rules = RuleBook(rules, random=random)
        self._dialect = get_dialect(profile.dialect)
        self._framing = get_framing(profile.framing)
        self._away_until = -math.inf

    def make_accounts(self, cards: Iterable[TestCard], random: Random) -> Accounts:
        """Open the accounts behind the cards, as the books tell how they stand."""
        return Accounts(cards, self.bookings, random=random)

    def set_rules(self, rules: Iterable[Rule]) -> None:
        """Replace the rules, also in the middle of a run."""
        self._rules = RuleBook(rules, random=self._random)

    async def change_key(
        self, purpose: KeyPurpose, *, is_spoilt: bool = False, timeout_s: float = 10.0
    ) -> ResponseCode | None:
        """Send the switch a new key; gives its answer, None when none comes.

        ``is_spoilt`` sends it with a wrong check value.
        """
        offer = self._keys.offer(self._dialect, purpose, is_spoilt=is_spoilt)
        request = self._dialect.network_request(
            Kind.KEY_CHANGE,
            stan=offer.stan,
            transmitted_at=self._clock.now(),
            extra=offer.fields,
        )
        self.wires[-1].send_nowait(request.raw)
        with trio.move_on_after(timeout_s):
            await offer.answered.wait()
        return offer.code

    async def ask(
        self,
        kind: Kind,
        *,
        fields: Mapping[int, str | bytes] | None = None,
        timeout_s: float = 10.0,
    ) -> ResponseCode | None:
        """Send the switch a sign-on, sign-off, echo or cutover; give its answer.

        None when none comes. From its own sign-off on it takes no money.
        """
        asked = self._ask(self.wires[-1], kind, fields or {})
        with trio.move_on_after(timeout_s):
            await asked.answered.wait()
        return asked.code

    @property
    def is_away(self) -> bool:
        """Whether the issuer drops every connection now."""
        return trio.current_time() < self._away_until

    def go_away(self, away_s: float) -> None:
        """Drop all connections and refuse new ones for a time."""
        self._away_until = trio.current_time() + away_s
        for wire in self.wires:
            wire.close()

    async def run(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve on TCP until cancelled; started with the address it listens on."""
        listeners = await trio.open_tcp_listeners(port, host=host)
        address = listeners[0].socket.getsockname()
        task_status.started((address[0], address[1]))
        await trio.serve_listeners(self.serve_stream, listeners)

    async def call(self, host: str, port: int) -> NoReturn:
        """Connect to a switch that listens for us, and again whenever that ends."""
        while True:
            try:
                stream = await trio.open_tcp_stream(host, port)
            except OSError:
                pass
            else:
                await self.serve_stream(stream)
            await trio.sleep(CALL_PAUSE_S)

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection until either side closes it."""
        if self.is_away:
            await trio.aclose_forcefully(stream)
            return
        wire = Wire(stream, self._framing, frame_bytes_max=CARD_FRAME_BYTES_MAX)
        self.wires.append(wire)
        if self.profile.signs_on:
            self._ask(wire, Kind.SIGN_ON, {})
        try:
            await wire.run(lambda payload: self._receive(wire, payload))
        finally:
            self.wires.remove(wire)
            self._signed_on.discard(wire)

    def _ask(self, wire: Wire, kind: Kind, fields: Mapping[int, str | bytes]) -> Asked:
        stan = self._next_stan
        self._next_stan += 1
        asked = self._asked[stan] = Asked()
        request = self._dialect.network_request(
            kind, stan=f"{stan:06d}", transmitted_at=self._clock.now(), extra=fields
        )
        wire.send_nowait(request.raw)
        if kind is Kind.SIGN_ON:
            self._signed_on.add(wire)
            self._has_signed_off = False
        elif kind is Kind.SIGN_OFF:
            self._has_signed_off = True
        return asked

    def _receive(self, wire: Wire, payload: bytes) -> None:
        """Take one message from the wire and send what it comes to."""
        try:
            header, raw = headers.split(self.profile.header, payload)
            request = self._dialect.codec.decode(raw)
        except DecodeError:
            self.counts["undecodable"] += 1
            return
        if request.mti not in ANSWERS:
            is_ours = self._take_answer(request)
            if not is_ours and not self._keys.take_answer(self._dialect, request):
                self.counts["not a request"] += 1
            return
        reaction, outcome = self._process(wire, request)
        if reaction.books and reaction.fault is not Fault.SILENCE:
            answer = self._answer(request, outcome, reaction)
            self._send(
                wire, headers.swap(self.profile.header, header), answer, reaction
            )

    def _process(self, wire: Wire, request: Message) -> tuple[Reaction, Outcome]:
        """Look up the reaction to a request and decide it."""
        now = self._clock.now()
        try:
            txn = self._dialect.to_transaction(
                request, reference=now, currency=self.profile.currency
            )
        except DecodeError:
            self.counts["senseless"] += 1
            return NORMAL, Outcome.declined(ResponseCode.FORMAT_ERROR)
        reaction = self._rules.react(txn)
        if not reaction.books:
            return reaction, Outcome.declined(ResponseCode.ISSUER_UNAVAILABLE)
        if txn.kind is Kind.KEY_CHANGE:
            outcome, fields = self._keys.take(self._dialect, request)
            told = {**fields, **(reaction.fields or {})}
            return msgspec.structs.replace(reaction, fields=told), outcome
        if txn.kind in NETWORK_KINDS:
            return reaction, self._network_outcome(wire, request, txn)
        return reaction, self._money_outcome(request, txn, reaction)

    def _take_answer(self, answer: Message) -> bool:
        """Take the switch's answer to what we asked; False if we did not."""
        stan = str(answer.get(11, ""))
        asked = self._asked.pop(int(stan) if stan.isdecimal() else 0, None)
        if asked is None:
            return False
        asked.code = self._dialect.to_code(answer)
        asked.answered.set()
        return True

    def _network_outcome(
        self, wire: Wire, request: Message, txn: Transaction
    ) -> Outcome:
        self.heard[txn.kind] += 1
        if txn.kind is Kind.SIGN_ON:
            self._signed_on.add(wire)
            self._has_signed_off = False
        elif txn.kind is Kind.SIGN_OFF:
            self._signed_on.discard(wire)
        elif txn.kind is Kind.CUTOVER:
            self.cutover_dates.append(str(request.get(DATE_FIELD, "")))
        return Outcome(code=ResponseCode.APPROVED)

    def _money_outcome(
        self, request: Message, txn: Transaction, reaction: Reaction
    ) -> Outcome:
        """Verify, then decide; what does not verify is not booked."""
        if self.profile.needs_sign_on and not self._signed_on:
            self.counts["before sign-on"] += 1
            return Outcome.declined(ResponseCode.ISSUER_UNAVAILABLE)
        if self._has_signed_off:
            self.counts["after sign-off"] += 1
            return Outcome.declined(ResponseCode.ISSUER_UNAVAILABLE)
        try:
            self._verify_mac(request)
        except MacMismatch:
            self.counts["wrong mac"] += 1
            return Outcome.declined(ResponseCode.SECURITY_VIOLATION)
        now = self._clock.now()
        date = read_day(request, reference=now)
        if txn.kind is Kind.RECONCILIATION:
            settlement = read_settlement(self._dialect, request)
            books = self.bookings.entries
            currency = settlement.currency or self.profile.currency
            ours = issuer_totals(books, date, currency)
            return compare_totals(settlement, ours)
        if self.tokens is not None:
            try:
                txn = self.tokens.resolve(txn)
            except TokenRefused as refusal:
                return Outcome.declined(refusal.code)
        if txn.kind is Kind.REVERSAL:
            self.on_reversal(txn)
            return self.accounts.reverse(txn, now=now, business_date=date)
        try:
            pin_matches = self._pin_matches(txn)
        except PinBlockInvalid:
            self.counts["bad pin block"] += 1
            return Outcome.declined(ResponseCode.CRYPTOGRAPHIC_ERROR)
        return self.accounts.authorise(
            txn, reaction, pin_matches=pin_matches, now=now, business_date=date
        )

    def _verify_mac(self, request: Message) -> None:
        """Check the MAC of a request; one without a MAC does not verify."""
        de = self._dialect.mac_field(request)
        if de is None:
            msg = "no MAC"
            raise MacMismatch(msg)
        data, mac = request.raw[: request.offset(de)], _octets(request[de])
        self._zak.try_each(lambda key: verify_mac(key, data, mac))

    def _pin_matches(self, txn: Transaction) -> bool | None:
        """Compare the PIN with the card's; None without a PIN or an account."""
        account = self.accounts.find_account(txn)
        if txn.pin_block is None or txn.pan is None or account is None:
            return None
        block, pan = txn.pin_block, txn.pan
        pin = self._zpk.try_each(lambda key: decrypt_pin(key, block, pan))
        return pin == account.card.pin

    def _answer(
        self, request: Message, outcome: Outcome, reaction: Reaction
    ) -> Message:
        """Build the answer, spoilt as the reaction asks."""
        with_mac = (
            self._dialect.mac_field(request) is not None
            and reaction.fault is not Fault.NO_MAC
        )
        told = totals_fields(self._dialect, outcome.totals) if outcome.totals else {}
        answer = self._dialect.to_response(request, outcome, mac=with_mac, extra=told)
        if reaction.fault is Fault.WRONG_ECHO:
            answer = answer.replace({41: "ELSEWHER"})
        if reaction.fields:
            answer = answer.replace(reaction.fields)
        de = self._dialect.mac_field(answer)
        if de is None:
            return answer
        mac = generate_mac(self._zak.active, answer.raw[: answer.offset(de)])
        if reaction.fault is Fault.WRONG_MAC:
            mac = bytes(octet ^ 0xFF for octet in mac)
        return answer.replace({de: mac})

    def _send(
        self, wire: Wire, header: bytes, answer: Message, reaction: Reaction
    ) -> None:
        """Send an answer now or later, once, twice, or something else instead."""
        payload = headers.join(self.profile.header, header, answer.raw)
        if reaction.elsewhere:
            wire = next((each for each in self.wires if each is not wire), wire)
        fault = reaction.fault
        if fault is Fault.DISCONNECT:
            wire.close()
        elif fault is Fault.AWAY:
            self.go_away(reaction.away_s)
        elif fault is Fault.GARBAGE:
            wire.send_nowait(self._random.randbytes(GARBAGE_BYTES))
        else:
            delay_s = reaction.delay.sample_s(self._random) if reaction.delay else 0.0
            for _ in range(2 if fault is Fault.DUPLICATE else 1):
                if delay_s > 0:
                    at = trio.current_time() + delay_s
                    wire.send_later_nowait(payload, at=at)
                else:
                    wire.send_nowait(payload)


def _octets(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else bytes.fromhex(value)
