"""Card messages of ISO 20022 as dialects like the others, of links and of terminals.

    above     Transaction, Outcome          numbered fields: match, echo, MAC, PIN block
    here      cain, caaa, by their own tables  ───  a view: what has a number
    wire      <Document> ... <MAC>..</MAC>

The view (``card_views``) holds what links look at and what is shown; transactions and
outcomes are read from the message itself. Its MAC covers the bytes from the first one
to that before its own digits: all that the message says, as its trailer stands last.
There are no messages to sign on or to ask whether somebody is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Protocol

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.canonical.transaction import Outcome, Transaction
from isoswitch.codecs.dialects.card_views import (
    AMOUNT,
    CAAA_VIEW,
    CAIN_VIEW,
    LAYOUT,
    MAC,
    CardView,
)
from isoswitch.codecs.dialects.dialect import Dialect, LegNumbers
from isoswitch.codecs.dialects.edition import FieldValue
from isoswitch.codecs.dialects.edition1987 import EDITION_1987
from isoswitch.codecs.iso8583.codec import Codec
from isoswitch.codecs.iso8583.compiled import CompiledSpec
from isoswitch.codecs.iso8583.fields import Value
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.iso8583.specs import get_codec
from isoswitch.codecs.iso20022.caaa import CaaaDialect
from isoswitch.codecs.iso20022.cain import CainDialect
from isoswitch.codecs.iso20022.leaves import CardMessage, build_card_message
from isoswitch.codecs.iso20022.schemas import Schemas
from isoswitch.codecs.iso20022.values import parse_instant

CAIN, CAAA = "cain", "caaa"
_RRN: Final = 37
_NOTHING: Mapping[int, FieldValue] = {}


class CardDialect(Protocol):
    """A family of card messages, by its own tables."""

    def decode(self, data: bytes) -> CardMessage:
        """Read a message and hold it to its schema."""

    def to_transaction(self, msg: CardMessage, *, currency: str) -> Transaction:
        """Read a request or advice."""

    def to_request(
        self, txn: Transaction, leg: LegNumbers, *, mac: bool
    ) -> CardMessage:
        """Build a request or advice."""

    def to_response(
        self,
        request: CardMessage,
        outcome: Outcome,
        *,
        created_at: datetime,
        rrn: str,
        mac: bool,
    ) -> CardMessage:
        """Build the answer to a request or advice."""

    def to_outcome(self, response: CardMessage, txn: Transaction) -> Outcome:
        """Read an answer."""

    def to_code(self, response: CardMessage) -> ResponseCode:
        """Read only what an answer says."""


class CardLinkMessage(Message):
    """A card message with the view that links have of it."""

    __slots__ = ("card", "created_at", "kind", "view")

    def __init__(self, card: CardMessage, kind: CardView) -> None:
        self.card = card
        self.kind = kind
        self.created_at = parse_instant(card.leaves["Hdr/CreDtTm"].strip())
        self.view = get_codec(LAYOUT).build(kind.mti_of(card), kind.fields_of(card))
        self.raw = card.raw

    @property
    def codec(self) -> CompiledSpec:
        """The codec of the view."""
        return self.view.codec

    @property
    def mti(self) -> str:
        """The message type that ISO 8583 has for it."""
        return self.view.mti

    @property
    def fields(self) -> tuple[int, ...]:
        """The numbers in the view, in ascending order."""
        return self.view.fields

    def __contains__(self, de: object) -> bool:
        return de in self.view

    def __iter__(self) -> Iterator[int]:
        return iter(self.view)

    def __len__(self) -> int:
        return len(self.view)

    def __getitem__(self, de: int) -> Value:
        return self.view[de]

    def get(self, de: int, default: Any = None) -> Any:
        """The value of a field, or the default where it is absent."""
        return self.view.get(de, default)

    def values(self) -> Mapping[int, Value]:
        """All fields of the view and their values."""
        return self.view.values()

    def masked(self) -> dict[str, str]:
        """The view as text that may be shown and stored."""
        return self.view.masked()

    def describe(self) -> str:
        """A table of the view for people, masked."""
        return self.view.describe()

    def offset(self, de: int) -> int:
        """Where the digits of a PIN block or MAC start in ``raw``."""
        return self.kind.span(self.raw, de)[0]

    def end(self, de: int) -> int:
        """Where the digits of a PIN block or MAC end in ``raw``."""
        return self.kind.span(self.raw, de)[1]

    def replace(
        self, changes: Mapping[int, Value | None], *, mti: str | None = None
    ) -> Message:
        """Give a message with other values of fields that it has.

        Raises
        ------
        EncodeError
            Not a field that can be changed here.
        """
        kind, card = self.kind, self.card
        texts = changes.keys() - kind.octets.keys()
        unknown = texts - kind.texts.keys() - {AMOUNT}
        is_repeat = mti in (None, self.mti[:3] + "1")
        if unknown or not is_repeat:
            field = ", ".join(map(str, sorted(unknown))) or "mti"
            raise EncodeError("cannot be changed in a card message", field=field)
        for de in texts:
            leaves = kind.change(card, de, str(changes[de] or ""))
            card = _rebuilt(card, kind, leaves)
        if mti is not None:
            card = _rebuilt(card, kind, {**card.leaves, "Hdr/ReTrnsmssnCntr": "1"})
        for de in changes.keys() & kind.octets.keys():
            octets = changes[de]
            assert isinstance(octets, bytes), "a binary field"
            text, leaves = kind.change_octets(card, de, octets)
            start, end = kind.span(card.raw, de)
            raw = card.raw[:start] + text.encode() + card.raw[end:]
            card = CardMessage(
                message_id=card.message_id, root=card.root, raw=raw, leaves=leaves
            )
        return CardLinkMessage(card, kind)


def _rebuilt(
    card: CardMessage, kind: CardView, leaves: Mapping[str, str]
) -> CardMessage:
    order = kind.order_of(card.message_id)
    return build_card_message(card.message_id, card.root, leaves, order)


class _CardCodec(Codec):
    """Reads card messages; builds only views."""

    def __init__(self, cards: CardDialect, kind: CardView) -> None:
        super().__init__(get_codec(LAYOUT).spec)
        self._cards = cards
        self._kind = kind

    def decode(self, raw: bytes) -> Message:
        """Read a message and hold it to its schema.

        Raises
        ------
        DecodeError
            It does not follow, or has a value that ISO 8583 has no room for, or a MAC
            that is not the last that it says.
        """
        card = self._cards.decode(raw)
        try:
            message = self.join(card)
        except EncodeError as fault:
            raise DecodeError("more than a link can carry", field=fault.field) from None
        if MAC in message:
            # What is authenticated ends where the parser found the MAC, nowhere else.
            start, end = self._kind.span(raw, MAC)
            if self._kind.octets[MAC].read(raw[start:end].decode()) != message[MAC]:
                raise DecodeError(
                    "found in two places", field=self._kind.octets[MAC].path
                )
        return message

    def join(self, card: CardMessage) -> CardLinkMessage:
        """Give a message its view.

        Raises
        ------
        EncodeError
            A value that ISO 8583 has no room for.
        """
        try:
            return CardLinkMessage(card, self._kind)
        except ValueError as fault:
            raise EncodeError(str(fault), field=card.message_id) from None


class CardLink(Dialect):
    """A family of card messages as a dialect; transactions go by its own tables."""

    def __init__(self, name: str, cards: CardDialect, kind: CardView) -> None:
        self._cards = cards
        codec = _CardCodec(self._cards, kind)
        super().__init__(name, codec, EDITION_1987)
        # The view does not tell under which key a request is known.
        self.tells_by_number = False
        self._join = codec.join

    def to_transaction(
        self, msg: Message, *, reference: datetime, currency: str
    ) -> Transaction:
        """Read a request, advice or notification; it names its own dates."""
        del reference
        return self._cards.to_transaction(_message(msg).card, currency=currency)

    def to_request(
        self,
        txn: Transaction,
        leg: LegNumbers,
        *,
        mac: bool,
        extra: Mapping[int, FieldValue] = _NOTHING,
    ) -> Message:
        """Build the request or advice that takes a transaction to an endpoint.

        What is ``extra`` has a number and no place in a card message.
        """
        del extra
        return self._join(self._cards.to_request(txn, leg, mac=mac))

    def to_response(
        self,
        request: Message,
        outcome: Outcome,
        *,
        extra: Mapping[int, FieldValue] = _NOTHING,
        mac: bool = False,
    ) -> Message:
        """Build the answer to a request, at the time that the request tells.

        Of what is ``extra`` only the RRN has a place.
        """
        message = _message(request)
        answer = self._cards.to_response(
            message.card,
            outcome,
            created_at=message.created_at,
            rrn=str(extra.get(_RRN, "")).strip(),
            mac=mac,
        )
        return self._join(answer)

    def to_outcome(self, response: Message, txn: Transaction) -> Outcome:
        """Read the answer of an endpoint."""
        return self._cards.to_outcome(_message(response).card, txn)

    def to_code(self, response: Message) -> ResponseCode:
        """Read only the response code of an answer, whatever it answers."""
        return self._cards.to_code(_message(response).card)

    def network_request(
        self,
        kind: Kind,
        *,
        stan: str,
        transmitted_at: datetime,
        mac: bool = False,
        extra: Mapping[int, FieldValue] = _NOTHING,
    ) -> Message:
        """Refuse: there are no such messages."""
        del stan, transmitted_at, mac, extra
        raise EncodeError(f"{self.name} has no {kind}", field="mti")


def issuer_link() -> CardLink:
    """Give cain as a dialect."""
    return CardLink(CAIN, CainDialect(Schemas()), CAIN_VIEW)


def terminal_link() -> CardLink:
    """Give caaa as a dialect; it says in its own words what could not be read."""
    cards = CaaaDialect(Schemas())
    dialect = CardLink(CAAA, cards, CAAA_VIEW)
    dialect.rejection = cards.rejection
    return dialect


def _message(message: Message) -> CardLinkMessage:
    assert isinstance(message, CardLinkMessage), "messages of a link are all of a kind"
    return message
