"""Card messages of ISO 20022 on a link: seen from above, a dialect like the others.

    above     Transaction, Outcome          numbered fields: match, echo, MAC, PIN block
    here      cain, by its own tables  ───  a view: what of it ISO 8583 has a number for
    wire      <Document> ... <MAC>..</MAC>

The view holds what links look at and what is shown; transactions and outcomes are read
from the message itself. Its MAC covers the bytes from the first one to that before its
own digits: all that the message says, as its trailer stands last. There are no messages
to sign on or to ask whether somebody is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import DecodeError, DocumentError, EncodeError
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.transaction import Outcome, Transaction
from isoswitch.codecs.dialects.dialect import Dialect, LegNumbers
from isoswitch.codecs.dialects.edition import FieldValue
from isoswitch.codecs.dialects.edition1987 import EDITION_1987
from isoswitch.codecs.iso8583.codec import Codec
from isoswitch.codecs.iso8583.compiled import CompiledSpec
from isoswitch.codecs.iso8583.fields import Value
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.iso8583.specs import get_codec
from isoswitch.codecs.iso20022.cain import NO_CURRENCY, CainDialect
from isoswitch.codecs.iso20022.cain_tables import (
    AUTHORISATION,
    FINANCIAL,
    MESSAGES,
    ORDER,
    REVERSAL,
)
from isoswitch.codecs.iso20022.cards import expiry_of
from isoswitch.codecs.iso20022.leaves import CardMessage, Leaves, build_card_message
from isoswitch.codecs.iso20022.schemas import Schemas
from isoswitch.codecs.iso20022.values import (
    format_amount,
    parse_amount,
    parse_instant,
)

NAME: Final = "cain"
VIEW: Final = "iso87-ascii"
AMOUNT, CURRENCY, PIN_BLOCK, MAC = 4, 49, 52, 64
_AMOUNT_PATH: Final = "TxAmts/Amt"

# Texts that ISO 8583 has a number for, and how long they are there (0: as they are).
_TEXTS: Final[Mapping[int, tuple[str, int]]] = {
    2: ("Card/PAN", 0),
    11: ("TxId/SysTracAudtNb", 0),
    18: ("Cntxt/MrchntCtgyCd", 0),
    32: ("Acqrr/Id", 0),
    37: ("TxId/RtrvlRefNb", 12),
    38: ("PrcgRslt/ApprvlCd", 6),
    39: ("PrcgRslt/RspnCd", 0),
    41: ("Termnl/Id", 8),
    42: ("Accptr/Id", 15),
    CURRENCY: ("TxAmts/Ccy", 0),
}
# Hexadecimal texts that are binary there, and their elements on the wire.
_OCTETS: Final[Mapping[int, tuple[str, re.Pattern[bytes]]]] = {
    number: (path, re.compile(rb"<(?:[\w.-]+:)?%b>\s*([0-9A-Fa-f]{16})\s*</" % name))
    for number, path, name in (
        (PIN_BLOCK, "Vrfctn/PINData/NcrptdPINBlck", b"NcrptdPINBlck"),
        (MAC, "SctyTrlr/MAC", b"MAC"),
    )
}
_CLASSES: Final[Mapping[str, str]] = {AUTHORISATION: "1", FINANCIAL: "2", REVERSAL: "4"}
# By message: class of its type, and what an answer adds to its function.
_TYPES: Final[Mapping[str, tuple[str, int]]] = {
    message_id: (_CLASSES[name], is_answer)
    for name, (request, _, answer, _) in MESSAGES.items()
    for message_id, is_answer in ((request, 0), (answer, 1))
}
_FUNCTIONS: Final[Mapping[str, int]] = {
    "REQU": 0,
    "ADVC": 2,
    "CAAD": 2,
    "NOTI": 4,
    "CANO": 4,
}
_NOTHING: Mapping[int, FieldValue] = {}


class CardLinkMessage(Message):
    """A card message with the view that links have of it."""

    __slots__ = ("card", "view")

    def __init__(self, card: CardMessage, view: Message) -> None:
        self.card = card
        self.view = view
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
        return _span(self.raw, de)[0]

    def end(self, de: int) -> int:
        """Where the digits of a PIN block or MAC end in ``raw``."""
        return _span(self.raw, de)[1]

    def replace(
        self, changes: Mapping[int, Value | None], *, mti: str | None = None
    ) -> Message:
        """Give a message with other values of fields that it has.

        Raises
        ------
        EncodeError
            Not a field that can be changed here.
        """
        unknown = changes.keys() - _TEXTS.keys() - _OCTETS.keys() - {AMOUNT}
        if mti is not None or unknown:
            field = ", ".join(map(str, sorted(unknown))) or "mti"
            raise EncodeError("cannot be changed in a card message", field=field)
        card = self.card
        if changes.keys() - _OCTETS.keys():
            leaves = dict(card.leaves)
            for de in changes.keys() - _OCTETS.keys():
                _change(leaves, de, str(changes[de] or ""))
            card = build_card_message(card.message_id, card.root, leaves, ORDER)
        raw, leaves = card.raw, dict(card.leaves)
        for de in _OCTETS.keys() & changes.keys():
            octets = changes[de]
            assert isinstance(octets, bytes), "a binary field"
            digits = octets.hex().upper()
            start, end = _span(raw, de)
            raw = raw[:start] + digits.encode() + raw[end:]
            leaves[_OCTETS[de][0]] = digits
        changed = CardMessage(
            message_id=card.message_id, root=card.root, raw=raw, leaves=leaves
        )
        return CardLinkMessage(changed, _view(changed))


class _CardCodec(Codec):
    """Reads card messages; builds only views."""

    def __init__(self, cards: CainDialect) -> None:
        super().__init__(get_codec(VIEW).spec)
        self._cards = cards

    def decode(self, raw: bytes) -> Message:
        """Read a message and hold it to its schema.

        Raises
        ------
        DecodeError
            It does not follow, or has a value that ISO 8583 has no room for, or a MAC
            that stands elsewhere.
        """
        card = self._cards.decode(raw)
        try:
            message = self.join(card)
        except EncodeError as fault:
            raise DecodeError("more than a link can carry", field=fault.field) from None
        for de in _OCTETS.keys() & set(message.fields):
            start, end = _span(raw, de)
            # What is authenticated ends where the parser found the MAC, nowhere else.
            if bytes.fromhex(raw[start:end].decode()) != message[de]:
                raise DecodeError("found in two places", field=_OCTETS[de][0])
        return message

    def join(self, card: CardMessage) -> CardLinkMessage:
        """Give a message its view.

        Raises
        ------
        EncodeError
            A value that ISO 8583 has no room for.
        """
        try:
            return CardLinkMessage(card, _view(card))
        except ValueError as fault:
            raise EncodeError(str(fault), field=card.message_id) from None


class CardLink(Dialect):
    """cain as a dialect of links; transactions and outcomes go by its own tables."""

    def __init__(self, schemas: Schemas | None = None) -> None:
        self._cards = CainDialect(schemas or Schemas())
        codec = _CardCodec(self._cards)
        super().__init__(NAME, codec, EDITION_1987)
        self._join = codec.join

    def to_transaction(
        self, msg: Message, *, reference: datetime, currency: str
    ) -> Transaction:
        """Read a request, advice or notification; it names its own dates and money."""
        del reference, currency
        return self._cards.to_transaction(_card(msg))

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
        """Build the answer to a request, at the time that the request tells."""
        del extra
        card = _card(request)
        created_at = parse_instant(card.leaves["Hdr/CreDtTm"].strip())
        answer = self._cards.to_response(card, outcome, created_at=created_at, mac=mac)
        return self._join(answer)

    def to_outcome(self, response: Message, txn: Transaction) -> Outcome:
        """Read the answer of an endpoint."""
        return self._cards.to_outcome(_card(response), txn)

    def to_code(self, response: Message) -> ResponseCode:
        """Read only the response code of an answer, whatever it answers."""
        return self._cards.to_code(_card(response))

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


def _card(message: Message) -> CardMessage:
    assert isinstance(message, CardLinkMessage), "messages of a link are all of a kind"
    return message.card


def _view(card: CardMessage) -> Message:
    return get_codec(VIEW).build(_mti(card), _fields(card.leaves))


def _mti(card: CardMessage) -> str:
    known = _TYPES.get(card.message_id)
    function = _FUNCTIONS.get(card.leaves.get("Hdr/MsgFctn", ""))
    if known is None or function is None:
        raise DocumentError("no card payment", path=card.message_id)
    message_class, is_answer = known
    repeats = card.leaves.get("Hdr/ReTrnsmssnCntr", "0").strip("0") != ""
    origin = int(repeats and not is_answer)
    return f"0{message_class}{function + is_answer}{origin}"


def _fields(leaves: Leaves) -> dict[int, FieldValue]:
    """Give what of a message ISO 8583 has a number for."""
    fields: dict[int, FieldValue] = {
        number: leaves[path].ljust(width)
        for number, (path, width) in _TEXTS.items()
        if leaves.get(path)
    }
    accounts = leaves.get("AcctFr/Tp", "00") + leaves.get("AcctTo/Tp", "00")
    fields[3] = leaves.get("TxChrtcs/TxTp", "00") + accounts
    fields[11] = str(fields.get(11, "")).zfill(6)
    if fields.get(CURRENCY) == NO_CURRENCY:
        del fields[CURRENCY]
    elif _AMOUNT_PATH in leaves:
        amount = parse_amount(leaves[_AMOUNT_PATH].strip(), leaves["TxAmts/Ccy"])
        fields[AMOUNT] = f"{amount.minor:012d}"
    if "TxId/TrnsmssnDtTm" in leaves:
        sent_at = parse_instant(leaves["TxId/TrnsmssnDtTm"].strip())
        fields[7] = f"{sent_at.astimezone(UTC):%m%d%H%M%S}"
    if leaves.get("Card/XpryDt"):
        fields[14] = expiry_of(leaves["Card/XpryDt"])
    for number, (path, _) in _OCTETS.items():
        if leaves.get(path):
            fields[number] = bytes.fromhex(leaves[path])
    return fields


def _change(leaves: dict[str, str], de: int, value: str) -> None:
    """Change a text, or take it out where it is empty."""
    path = _AMOUNT_PATH if de == AMOUNT else _TEXTS[de][0]
    if de == AMOUNT and leaves["TxAmts/Ccy"] == NO_CURRENCY:
        return
    if de == AMOUNT and value:
        value = format_amount(Money(int(value), leaves["TxAmts/Ccy"]))
    leaves[path] = value
    if not value:
        del leaves[path]


def _span(raw: bytes, de: int) -> tuple[int, int]:
    found = _OCTETS[de][1].search(raw) if de in _OCTETS else None
    if found is None:
        raise DecodeError("missing, or not of 8 bytes", field=str(de))
    return found.span(1)
