"""Canonical transactions and outcomes to and from ISO 8583 messages.

    request message  -> to_transaction -> Transaction
    Outcome          -> to_response    -> answer to that message
    Transaction      -> to_request     -> message to an endpoint
    answer message   -> to_outcome     -> Outcome

One class does this for every dialect, driven by the tables of its ``Edition`` and by
the field table of its codec. Above it nobody knows a field number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from isoswitch.codecs.canonical.codes import (
    EntryMode,
    Function,
    Kind,
    ResponseCode,
    ReversalReason,
)
from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import PinBlock
from isoswitch.codecs.canonical.transaction import (
    OriginalData,
    Outcome,
    Transaction,
)
from isoswitch.codecs.canonical.values import quick
from isoswitch.codecs.dialects.amounts import (
    CASH,
    balance_fields,
    read_balance,
    read_partial,
)
from isoswitch.codecs.dialects.card import (
    chip_form,
    fit_name,
    read_card,
    read_chip,
    write_chip,
)
from isoswitch.codecs.dialects.dates import format_transmission
from isoswitch.codecs.dialects.edition import (
    Edition,
    Fields,
    FieldValue,
    RequestRow,
    Values,
)
from isoswitch.codecs.dialects.entry_mode import UNKNOWN
from isoswitch.codecs.dialects.mti import ANSWERS, FUNCTION_DIGITS, REQUESTS
from isoswitch.codecs.dialects.numbers import (
    missing,
    read_rrn,
    read_stan,
    read_transmission,
)
from isoswitch.codecs.dialects.reasons import (
    PARTIAL,
    read_reason,
    tells_decline,
    write_reason,
)
from isoswitch.codecs.dialects.scanned import (
    CODE_FIELDS,
    put_code,
    put_text,
    read_code,
    read_text,
)
from isoswitch.codecs.dialects.statement import read_statement, write_statement
from isoswitch.codecs.iso8583.codec import Codec
from isoswitch.codecs.iso8583.message import Message

MAC_BYTES: Final = 8

# Kinds that move or reserve money: senseless without an amount and a card.
_MONEY_KINDS = frozenset(
    {
        Kind.PURCHASE,
        Kind.CASH_WITHDRAWAL,
        Kind.PURCHASE_WITH_CASHBACK,
        Kind.PREAUTHORISATION,
        Kind.INCREMENTAL,
        Kind.COMPLETION,
        Kind.REFUND,
    }
)
_CARD_KINDS = _MONEY_KINDS | {
    Kind.BALANCE_INQUIRY,
    Kind.MINI_STATEMENT,
    Kind.ACCOUNT_VERIFICATION,
}

# MTI classes in which DE 3 tells what is done: authorisation and financial.
_MONEY_CLASSES = frozenset("12")

_NOTHING: Mapping[int, FieldValue] = {}


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class LegNumbers:
    """What is new on each leg: the numbers this host gives its own message.

    ``transmitted_at`` is aware; ``repeat`` marks the same message sent again.
    """

    stan: str
    rrn: str
    transmitted_at: datetime
    acquirer_id: str
    repeat: bool = False


class Dialect:
    """How one kind of endpoint encodes and means its fields.

    Parameters
    ----------
    name
        The name under which the registry gives it.
    codec
        Bytes to and from messages of this layout.
    edition
        The meaning of its fields.
    """

    def __init__(self, name: str, codec: Codec, edition: Edition) -> None:
        self.name = name
        self.codec = codec
        self.edition = edition
        # What tells the sender of bytes that they are no message, where there is any.
        self.rejection: Callable[..., bytes] | None = None
        # Whether the numbered fields of a message tell all that a transaction does.
        self.tells_by_number = True
        # Fixed text fields are filled with blanks; variable ones have width 0.
        self._widths = {
            de: 0 if spec.length else spec.max
            for de, spec in codec.spec.fields.items()
            if de in {37, 38, 41, 42}
        }
        self._track_is_packed = codec.spec.fields[35].encoding == "bcd"
        self._chip_form = chip_form(
            codec.spec.fields[55], in_dataset=edition.chip_in_dataset
        )
        self._code_field = CODE_FIELDS.get(name)
        self._name = codec.spec.fields[43] if edition.has_merchant_name else None

    def __repr__(self) -> str:
        return f"Dialect({self.name})"

    def to_transaction(
        self, msg: Message, *, reference: datetime, currency: str
    ) -> Transaction:
        """Read a request, advice or notification.

        Parameters
        ----------
        reference
            The aware instant of receipt, which completes dates without years.
        currency
            The ISO 4217 numeric code of amounts that name none.

        Raises
        ------
        DecodeError
            A field that this kind of transaction needs is missing or senseless.
        """
        edition = self.edition
        request = REQUESTS.get(msg.mti)
        if request is None or request.version != edition.version:
            raise DecodeError("not a request of this edition", field="mti")
        values: Values = msg.values()
        get = values.get
        kind, network_code = self.kind_of(values, msg.mti)
        pan, track2, expiry = read_card(msg, values)
        entry_code = get(22)
        entry = edition.read_entry(entry_code) if entry_code else UNKNOWN
        amount = edition.read_amount(values, currency)
        if amount is None and kind in _MONEY_KINDS:
            raise missing(4)
        is_scanned = pan is None and entry.mode is EntryMode.QR
        if pan is None and kind in _CARD_KINDS and not is_scanned:
            raise missing(2)
        code, valid_s = read_code(values, self._code_field, kind, is_scanned=is_scanned)
        told, remaining = read_reason(edition, values), None
        undoes = kind is Kind.REVERSAL
        if undoes:
            amount, remaining = edition.read_remaining(values, amount)
        return Transaction(
            kind=kind,
            function=request.function,
            is_repeat=request.is_repeat,
            stan=read_stan(values),
            rrn=read_rrn(values),
            pan=pan,
            track2=track2,
            code=code,
            expiry=expiry,
            card_sequence=get(23) or "",
            amount=amount,
            cashback=self._read_cashback(values),
            transmitted_at=read_transmission(msg, values, reference),
            local_at=self._read_local(msg, values, reference),
            entry_mode=entry.mode,
            pin_entry=entry.pin_entry,
            mcc=next((values[de] for de in edition.mcc_fields if de in values), ""),
            acquirer_id=get(32) or "",
            terminal_id=(get(41) or "").rstrip(),
            merchant_id=(get(42) or "").rstrip(),
            merchant_name=self._merchant_name(values),
            pin_block=PinBlock(block) if (block := get(52)) else None,
            emv=read_chip(get(55), self._chip_form),
            approval_code=(get(38) or "").rstrip(),
            original=self._read_original(values, msg.mti, kind, reference),
            reversal_reason=told if undoes else ReversalReason.UNSPECIFIED,
            remaining=remaining,
            is_final=kind is not Kind.COMPLETION or told is not PARTIAL,
            is_declined=tells_decline(edition, values, msg.mti),
            takes_part=edition.takes_part(values),
            file_name=(get(101) or "").rstrip(),
            valid_s=valid_s,
            network_code=network_code,
            accounts=(get(3) or "")[2:] or "0000",
        )

    def to_response(
        self,
        request: Message,
        outcome: Outcome,
        *,
        extra: Mapping[int, FieldValue] = _NOTHING,
        mac: bool = False,
    ) -> Message:
        """Build the answer to a request that came in this dialect.

        Parameters
        ----------
        extra
            Fields of this host's own, such as the RRN it gave (DE 37).
        mac
            Leave room for a MAC: eight zero bytes in the last field.

        Raises
        ------
        EncodeError
            The request is a notification or an answer, which gets none.
        """
        edition = self.edition
        mti = ANSWERS.get(request.mti)
        if mti is None:
            raise EncodeError("a message that gets no answer", field="mti")
        echoed = edition.echo_fields
        fields: Fields = {
            de: value
            for de in request.fields
            if de in echoed and (value := request[de])
        }
        if outcome.approval_code:
            fields[38] = outcome.approval_code.ljust(self._widths[38])
        fields[39] = edition.answer_codes[mti[1]][outcome.code]
        if outcome.amount is not None:
            edition.write_original_amount(fields, request.values())
            edition.write_amount(fields, outcome.amount)
        if outcome.balance is not None:
            account = str(request.get(3, "0000"))[2:4]
            fields.update(balance_fields(edition, account, outcome.balance))
        if outcome.statement:
            fields[edition.statement_field] = write_statement(outcome.statement)
        if outcome.emv is not None:
            fields[55] = write_chip(outcome.emv, self._chip_form)
        if outcome.code_text:
            specs = self.codec.spec.fields
            put_text(fields, outcome.code_text, self._code_field, specs)
        fields.update(extra)
        return self._build(mti, fields, mac=mac)

    def to_request(
        self,
        txn: Transaction,
        leg: LegNumbers,
        *,
        mac: bool,
        extra: Mapping[int, FieldValue] = _NOTHING,
    ) -> Message:
        """Build the request or advice that takes a transaction to an endpoint.

        Track and PIN data of a reversal stay behind: it undoes, and proves nothing.

        Parameters
        ----------
        leg
            The numbers of this leg; ``repeat`` gives xx01 and xx21.
        mac
            Leave room for a MAC: eight zero bytes in the last field.
        extra
            Fields that this endpoint wants besides; they win over ours.

        Raises
        ------
        EncodeError
            This dialect has no such kind, or a field cannot carry its value.
        """
        edition = self.edition
        row = self._row(txn)
        undoes = txn.kind is Kind.REVERSAL
        acted = self._acted_row(txn) if undoes else row
        fields: Fields = {
            7: format_transmission(leg.transmitted_at),
            11: leg.stan.zfill(edition.stan_digits),
            **acted.constants,
            **row.constants,
        }
        if acted.transaction_type:
            fields[3] = acted.transaction_type + txn.accounts
            has_pin = txn.pin_block is not None and not undoes
            fields[22] = edition.entry_codes[txn.entry_mode, txn.pin_entry, has_pin]
        self._put_card(fields, txn, undoes=undoes)
        self._put_place(fields, txn)
        if txn.amount is not None:
            edition.write_amount(fields, txn.amount)
        if txn.cashback is not None:
            cash = Money(-txn.cashback.minor, txn.cashback.currency)
            fields[54] = edition.write_additional(txn.accounts[:2], CASH, cash)
        if txn.local_at is not None:
            edition.write_local(fields, txn.local_at)
        if leg.acquirer_id:
            fields[32] = leg.acquirer_id
        if leg.rrn:
            fields[37] = leg.rrn.ljust(self._widths[37])
        if txn.approval_code:
            fields[38] = txn.approval_code.ljust(self._widths[38])
        if txn.original is not None:
            fields[edition.original_field] = edition.write_original(
                txn.original, txn.local_at
            )
        write_reason(edition, fields, txn)
        if txn.remaining is not None:
            edition.write_remaining(fields, txn.remaining)
        edition.finish_request(fields)
        fields.update(extra)
        return self._build(
            self._request_mti(row, txn.function, repeat=leg.repeat), fields, mac=mac
        )

    def to_outcome(self, response: Message, txn: Transaction) -> Outcome:
        """Read the answer of an endpoint.

        A response code that no list knows declines: only known approvals move money.

        Raises
        ------
        DecodeError
            No answer to this kind of transaction, no response code, or a partial
            approval without an amount of its own.
        """
        edition = self.edition
        mti = response.mti
        meanings = edition.meanings.get(mti[1:3])
        if meanings is None or mti[0] != edition.version:
            raise DecodeError("not an answer of this edition", field="mti")
        if mti[1] != self._row(txn).message_class:
            raise DecodeError("answers another class of message", field="mti")
        get: Any = response.get  # text as str, binary as bytes
        wire = get(39)
        if not wire:
            raise missing(39)
        meaning = meanings.get(wire)
        if meaning is None:
            return Outcome.declined(
                ResponseCode.DO_NOT_HONOUR, "unlisted response code"
            )
        code, words = meaning
        amount = None
        if code is ResponseCode.PARTIALLY_APPROVED:
            amount = read_partial(edition, response, txn)
        additional = get(54)
        return Outcome(
            code=code,
            approval_code=(get(38) or "").rstrip(),
            reason="" if code.is_approval else words,
            amount=amount,
            balance=read_balance(edition, additional) if additional else None,
            statement=read_statement(str(get(edition.statement_field) or ""))
            if txn.kind is Kind.MINI_STATEMENT
            else (),
            code_text=read_text(get(self._code_field), txn.kind, code),
            emv=read_chip(get(55), self._chip_form),
        )

    def to_code(self, response: Message) -> ResponseCode:
        """Read only the response code of an answer, whatever it answers.

        One that is absent or that no list knows declines.
        """
        meanings = self.edition.meanings.get(response.mti[1:3], {})
        meaning = meanings.get(str(response.get(39)))
        return meaning[0] if meaning else ResponseCode.DO_NOT_HONOUR

    def network_request(
        self,
        kind: Kind,
        *,
        stan: str,
        transmitted_at: datetime,
        mac: bool = False,
        extra: Mapping[int, FieldValue] = _NOTHING,
    ) -> Message:
        """Build a sign-on, sign-off, echo, key change or cutover request."""
        edition = self.edition
        row = self._row_of(kind)
        fields: Fields = {
            7: format_transmission(transmitted_at),
            11: stan.zfill(edition.stan_digits),
            **row.constants,
        }
        # A host has no place: its local time is UTC.
        edition.write_local(fields, transmitted_at.astimezone(UTC))
        edition.finish_request(fields)
        fields.update(extra)
        mti = self._request_mti(row, Function.REQUEST, repeat=False)
        return self._build(mti, fields, mac=mac)

    def network_kind(self, msg: Message) -> Kind | None:
        """Give what a network management request wants; None for an unknown code."""
        edition = self.edition
        return edition.network_kinds.get(edition.read_network_code(msg.values()))

    def mac_field(self, msg: Message) -> int | None:
        """Give the field that holds the MAC of this message, None where it has none."""
        return 128 if 128 in msg else 64 if 64 in msg else None

    def _build(self, mti: str, fields: Fields, *, mac: bool) -> Message:
        if mac:
            fields[128 if max(fields) > 64 else 64] = bytes(MAC_BYTES)
        return self.codec.build(mti, fields)

    def kind_of(self, values: Values, mti: str) -> tuple[Kind, str]:
        """Give the kind of a request, and its network management code if it has one."""
        edition = self.edition
        message_class = mti[1]
        if message_class == "8":
            code = edition.read_network_code(values)
            network_kind = edition.network_kinds.get(code)
            if network_kind is None:
                reason = "unknown network management code"
                raise DecodeError(reason, field=str(edition.network_field))
            return network_kind, code
        key = message_class + values.get(3, "")[:2]
        kind = (
            edition.kinds.get(key + edition.read_condition(values, mti))
            or edition.kinds.get(key)
            or edition.kinds.get(mti[1:3])
        )
        if kind is not None:
            return kind, ""
        if message_class not in _MONEY_CLASSES:
            raise DecodeError("a class of message that is not served", field="mti")
        raise DecodeError("missing or unknown transaction type", field="3")

    def _row(self, txn: Transaction) -> RequestRow:
        """Give the row of this kind; a void follows what it undoes."""
        if txn.kind is Kind.VOID and txn.original is not None:
            row = self.edition.voids.get(txn.original.kind)
            if row is not None:
                return row
        return self._row_of(txn.kind)

    def _acted_row(self, txn: Transaction) -> RequestRow:
        """Give the row of what a reversal undoes."""
        return self._row_of(
            Kind.PURCHASE if txn.original is None else txn.original.kind
        )

    def _row_of(self, kind: Kind) -> RequestRow:
        row = self.edition.requests.get(kind)
        if row is None:
            raise EncodeError(f"{self.name} has no {kind}", field="mti")
        return row

    def _request_mti(self, row: RequestRow, function: Function, *, repeat: bool) -> str:
        origin = str(int(row.origin) + 1) if repeat else row.origin
        digit = FUNCTION_DIGITS[row.function or function]
        return self.edition.version + row.message_class + digit + origin

    def _read_cashback(self, values: Values) -> Money | None:
        additional = values.get(54)
        cash = additional and self.edition.find_additional(additional, CASH)
        return Money(abs(cash.minor), cash.currency) if cash else None

    def _read_local(
        self, msg: Message, values: Values, reference: datetime
    ) -> datetime | None:
        try:
            return self.edition.read_local(values, reference)
        except ValueError:
            raise DecodeError(
                "not a date and time", field="12", offset=msg.offset(12)
            ) from None

    def _read_original(
        self, values: Values, mti: str, kind: Kind, reference: datetime
    ) -> OriginalData | None:
        """Read the original of a message that names one.

        A reversal without original data elements means the transaction whose trace
        number and RRN it repeats.
        """
        edition = self.edition
        elements = values.get(edition.original_field)
        if not elements and kind is not Kind.REVERSAL:
            return None
        acted = self._acted_kind(values, mti, kind)
        rrn = read_rrn(values)
        if elements:
            return edition.read_original(
                elements, kind=acted, rrn=rrn, reference=reference
            )
        return OriginalData(
            mti=self._request_mti(
                edition.requests[acted], Function.REQUEST, repeat=False
            ),
            stan=read_stan(values),
            rrn=rrn,
            kind=acted,
        )

    def _acted_kind(self, values: Values, mti: str, kind: Kind) -> Kind:
        """Give what the original did.

        A reversal repeats the transaction type of its original; of other originals
        the class tells whether they reserved or moved money.
        """
        edition = self.edition
        kinds = edition.kinds
        elements = values.get(edition.original_field, "")
        named = REQUESTS.get(elements[:4]) if edition.original_has_mti else None
        transaction_type = values.get(3, "")[:2]
        key = transaction_type + edition.read_condition(values, mti).rstrip("+")
        explicit = edition.acted_kinds.get(mti[1] + key)
        if explicit is not None:
            return explicit
        if kind is not Kind.REVERSAL:
            reserved = named is not None and named.message_class == "1"
            return Kind.PREAUTHORISATION if reserved else Kind.PURCHASE
        message_class = named.message_class if named else "2"
        return (
            kinds.get(message_class + key)
            or kinds.get("1" + key)
            or kinds.get(message_class + transaction_type)
            or kinds.get("1" + transaction_type)
            or Kind.PURCHASE
        )

    def _merchant_name(self, values: Values) -> str:
        return "" if self._name is None else values.get(43, "").rstrip()

    def _put_card(self, fields: Fields, txn: Transaction, *, undoes: bool) -> None:
        if txn.pan is not None:
            fields[2] = txn.pan.reveal()
        if txn.expiry:
            fields[14] = txn.expiry
        if txn.card_sequence:
            fields[23] = txn.card_sequence
        if txn.emv is not None:
            fields[55] = write_chip(txn.emv, self._chip_form)
        if undoes:
            return
        if txn.pan is None:
            put_code(fields, txn, self._code_field, self.codec.spec.fields)
        if txn.track2 is not None:
            track = txn.track2.reveal()
            fields[35] = track.replace("=", "D") if self._track_is_packed else track
        if txn.pin_block is not None:
            fields[52] = txn.pin_block.reveal()

    def _put_place(self, fields: Fields, txn: Transaction) -> None:
        if txn.mcc:
            fields[self.edition.mcc_fields[0]] = txn.mcc
        if txn.terminal_id:
            fields[41] = txn.terminal_id.ljust(self._widths[41])
        if txn.merchant_id:
            fields[42] = txn.merchant_id.ljust(self._widths[42])
        if txn.file_name:
            fields[101] = txn.file_name
        if txn.merchant_name and self._name is not None:
            fields[43] = fit_name(txn.merchant_name, self._name)
