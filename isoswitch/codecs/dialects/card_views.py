"""What of card messages ISO 8583 has a number for: a view of each family.

A view is read from the leaves of a message. What links look at can also be changed
through it: texts, the amount, the PIN block and the MAC. A MAC covers the bytes from
the first one to that before its own digits, so nothing may follow it but the ends of
elements.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from typing import Final

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.errors import DecodeError, DocumentError
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.dialects.amounts import balance_fields
from isoswitch.codecs.dialects.codes import CODES_1987
from isoswitch.codecs.dialects.edition import Fields
from isoswitch.codecs.dialects.edition1987 import EDITION_1987
from isoswitch.codecs.iso8583.specs import get_spec
from isoswitch.codecs.iso20022 import caaa_tables, cain_tables
from isoswitch.codecs.iso20022.caaa import body_of, read_balance, read_code
from isoswitch.codecs.iso20022.caaa_original import read_kind
from isoswitch.codecs.iso20022.cain import NO_CURRENCY
from isoswitch.codecs.iso20022.cards import expiry_of
from isoswitch.codecs.iso20022.leaves import CardMessage, Leaves
from isoswitch.codecs.iso20022.values import format_amount, parse_amount, parse_instant

LAYOUT: Final = "iso87-ascii"
AMOUNT, STAN, CURRENCY, PIN_BLOCK, MAC = 4, 11, 49, 52, 64
_RRN: Final = 37
_SPECS: Final = get_spec(LAYOUT).fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Octets:
    """A binary field: its leaf, its text on the wire, how that is written and read.

    ``wire`` has one group, the text.
    """

    path: str
    wire: re.Pattern[bytes]
    write: Callable[[bytes], str]
    read: Callable[[str], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardView:
    """How one family of card messages is seen through numbers.

    ``texts`` are the leaves of text fields and how long they are there (0: as they
    are); like ``octets`` and ``money``, amount and currency, they stand below what
    ``at`` gives of an identifier, all but the MAC. ``order_of`` gives every path.
    """

    texts: Mapping[int, tuple[str, int]]
    money: tuple[str, str]
    octets: Mapping[int, Octets]
    at: Callable[[str], str]
    order_of: Callable[[str], tuple[str, ...]]
    mti_of: Callable[[CardMessage], str]
    fields_of: Callable[[CardMessage], Fields]

    def change(self, card: CardMessage, de: int, value: str) -> dict[str, str]:
        """Give the leaves with another text, or without it where that is empty."""
        leaves, at = dict(card.leaves), self.at(card.message_id)
        path = at + (self.money[0] if de == AMOUNT else self.texts[de][0])
        if de == AMOUNT:
            currency = leaves[at + self.money[1]]
            if currency == NO_CURRENCY:
                return leaves
            if value:
                numeric = parse_amount("0", currency).currency
                value = format_amount(Money(int(value), numeric))
        leaves[path] = value
        if de == STAN:
            leaves["Hdr/XchgId"] = str(int(value))
        if not value:
            del leaves[path]
        return leaves

    def change_octets(
        self, card: CardMessage, de: int, octets: bytes
    ) -> tuple[str, dict[str, str]]:
        """Give the text of other bytes, and the leaves with it."""
        each = self.octets[de]
        at = "" if de == MAC else self.at(card.message_id)
        text = each.write(octets)
        return text, {**card.leaves, at + each.path: text}

    def span(self, raw: bytes, de: int) -> tuple[int, int]:
        """Give where the text of a binary field starts and ends.

        Raises
        ------
        DecodeError
            It is not there, or not of eight bytes, or not where it must be.
        """
        found = self.octets[de].wire.search(raw) if de in self.octets else None
        if found is None:
            raise DecodeError("missing, misplaced or not of 8 bytes", field=str(de))
        return found.span(1)


def _last(text: bytes) -> re.Pattern[bytes]:
    """Find a MAC that nothing follows but the ends of elements."""
    return re.compile(
        rb"<(?:[\w.-]+:)?MAC>\s*(%b)\s*</(?:[\w.-]+:)?MAC>(?:\s*</[\w.:-]+\s*>)*\s*\Z"
        % text
    )


def _read_money(fields: Fields, amount: str, currency: str) -> None:
    money = parse_amount(amount.strip(), currency)
    fields[AMOUNT] = f"{money.minor:012d}"
    fields[CURRENCY] = money.currency


def _read_octets(fields: Fields, octets: Mapping[int, Octets], leaves: Leaves) -> None:
    for number, each in octets.items():
        if text := leaves.get(each.path):
            fields[number] = each.read(text)


# cain: the fields of ISO 8583 under other names.

_CAIN_TEXTS: Final[Mapping[int, tuple[str, int]]] = {
    2: ("Card/PAN", 0),
    STAN: ("TxId/SysTracAudtNb", 0),
    18: ("Cntxt/MrchntCtgyCd", 0),
    32: ("Acqrr/Id", 0),
    _RRN: ("TxId/RtrvlRefNb", 12),
    38: ("PrcgRslt/ApprvlCd", 6),
    39: ("PrcgRslt/RspnCd", 0),
    41: ("Termnl/Id", 8),
    42: ("Accptr/Id", 15),
    CURRENCY: ("TxAmts/Ccy", 0),
}
_CAIN_OCTETS: Final[Mapping[int, Octets]] = {
    number: Octets(
        path=path,
        wire=wire,
        write=lambda octets: octets.hex().upper(),
        read=bytes.fromhex,
    )
    for number, path, wire in (
        (
            PIN_BLOCK,
            "Vrfctn/PINData/NcrptdPINBlck",
            re.compile(rb"<(?:[\w.-]+:)?NcrptdPINBlck>\s*([0-9A-Fa-f]{16})\s*</"),
        ),
        (MAC, "SctyTrlr/MAC", _last(rb"[0-9A-Fa-f]{16}")),
    )
}
_CAIN_CLASSES: Final[Mapping[str, str]] = {
    cain_tables.AUTHORISATION: "1",
    cain_tables.FINANCIAL: "2",
    cain_tables.REVERSAL: "4",
}
# By message: class of its type, and what an answer adds to its function.
_CAIN_TYPES: Final[Mapping[str, tuple[str, int]]] = {
    message_id: (_CAIN_CLASSES[name], is_answer)
    for name, (request, _, answer, _) in cain_tables.MESSAGES.items()
    for message_id, is_answer in ((request, 0), (answer, 1))
}
_CAIN_FUNCTIONS: Final[Mapping[str, int]] = {
    "REQU": 0,
    "ADVC": 2,
    "CAAD": 2,
    "NOTI": 4,
    "CANO": 4,
}


def _cain_mti(card: CardMessage) -> str:
    known = _CAIN_TYPES.get(card.message_id)
    function = _CAIN_FUNCTIONS.get(card.leaves.get("Hdr/MsgFctn", ""))
    if known is None or function is None:
        raise DocumentError("no card payment", path=card.message_id)
    message_class, is_answer = known
    origin = int(_repeats(card.leaves) and not is_answer)
    return f"0{message_class}{function + is_answer}{origin}"


def _cain_fields(card: CardMessage) -> Fields:
    leaves = card.leaves
    fields: Fields = {
        number: leaves[path].ljust(width)
        for number, (path, width) in _CAIN_TEXTS.items()
        if leaves.get(path)
    }
    accounts = leaves.get("AcctFr/Tp", "00") + leaves.get("AcctTo/Tp", "00")
    fields[3] = leaves.get("TxChrtcs/TxTp", "00") + accounts
    fields[STAN] = str(fields.get(STAN, "")).zfill(6)
    if fields.get(CURRENCY) == NO_CURRENCY:
        del fields[CURRENCY]
    elif "TxAmts/Amt" in leaves:
        _read_money(fields, leaves["TxAmts/Amt"], leaves["TxAmts/Ccy"])
    _read_sent(fields, leaves.get("TxId/TrnsmssnDtTm", ""))
    if leaves.get("Card/XpryDt"):
        fields[14] = expiry_of(leaves["Card/XpryDt"])
    _read_octets(fields, _CAIN_OCTETS, leaves)
    return fields


CAIN_VIEW: Final = CardView(
    texts=_CAIN_TEXTS,
    money=("TxAmts/Amt", "TxAmts/Ccy"),
    octets=_CAIN_OCTETS,
    at=lambda _: "",
    order_of=lambda _: cain_tables.ORDER,
    mti_of=_cain_mti,
    fields_of=_cain_fields,
)


# caaa: longer names and numbers, of which only what fits is seen.

_CAAA_TEXTS: Final[Mapping[int, tuple[str, int]]] = {
    2: ("Envt/Card/PlainCardData/PAN", 0),
    STAN: ("Tx/TxId/TxRef", 0),
    18: ("Tx/MrchntCtgyCd", 0),
    32: ("Envt/Acqrr/Id/Id", 0),
    _RRN: ("Tx/RcptTxId", 12),
    38: ("TxRspn/AuthstnRslt/AuthstnCd", 6),
    41: ("Envt/POI/Id/Id", 8),
    42: ("Envt/Mrchnt/Id/Id", 15),
}
_CAAA_OCTETS: Final[Mapping[int, Octets]] = {
    number: Octets(
        path=path,
        wire=wire,
        write=lambda octets: base64.b64encode(octets).decode(),
        read=base64.b64decode,
    )
    for number, path, wire in (
        (
            PIN_BLOCK,
            f"{caaa_tables.PIN_PATH}NcrptdPINBlck/EnvlpdData/NcrptdCntt/NcrptdData",
            re.compile(
                rb"<(?:[\w.-]+:)?CrdhldrOnLinePIN>.*?"
                rb"<(?:[\w.-]+:)?NcrptdData>\s*([A-Za-z0-9+/]{11}=)\s*</",
                re.DOTALL,
            ),
        ),
        (MAC, caaa_tables.MAC_PATH, _last(rb"[A-Za-z0-9+/]{11}=")),
    )
}
_CAAA_TYPES: Final[Mapping[str, str]] = {
    "AUTQ": "0100",
    "AUTP": "0110",
    "FAUQ": "0200",
    "FAUP": "0210",
    "CMPV": "0120",
    "CMPK": "0130",
    "FCMV": "0220",
    "FCMK": "0230",
    "RVRA": "0420",
    "RVRR": "0430",
    "FRVA": "0420",
    "FRVR": "0430",
    "CCAQ": "0200",
    "CCAP": "0210",
}


def _caaa_mti(card: CardMessage) -> str:
    """Give the type: its class tells what is done, as reversals will name it."""
    mti = _CAAA_TYPES.get(card.leaves.get("Hdr/MsgFctn", ""))
    if mti is None or card.message_id not in caaa_tables.BODIES:
        raise DocumentError("no card payment", path=card.message_id)
    if card.message_id not in caaa_tables.BY_REQUEST:
        return mti
    kind = _caaa_kind(card)
    if kind is Kind.REVERSAL:
        message_class = "4"
    elif kind is not None and kind in caaa_tables.ROWS:
        message_class = "2" if caaa_tables.ROWS[kind].captures else "1"
    else:
        message_class = mti[1]
    return f"0{message_class}{mti[2]}{int(_repeats(card.leaves))}"


def _caaa_kind(card: CardMessage) -> Kind | None:
    exchange = caaa_tables.BY_REQUEST[card.message_id]
    try:
        return read_kind(exchange, card.leaves["Hdr/MsgFctn"], body_of(card))
    except DocumentError:
        # Said when it is read as a transaction, and answered.
        return None


def _caaa_fields(card: CardMessage) -> Fields:
    body, is_request = body_of(card), card.message_id in caaa_tables.BY_REQUEST
    fields: Fields = {
        number: body[path].ljust(width)
        for number, (path, width) in _CAAA_TEXTS.items()
        # In a request it is that of another transaction.
        if body.get(path) and not (is_request and number == _RRN)
    }
    kind = _caaa_kind(card) if is_request else None
    row = EDITION_1987.requests.get(kind) if kind else None
    if row is not None and row.transaction_type:
        fields[3] = row.transaction_type + "0000"
    fields[STAN] = card.leaves.get("Hdr/XchgId", "").strip()[-6:].zfill(6)
    _read_sent(fields, card.leaves.get("Hdr/CreDtTm", ""))
    if body.get("Envt/Card/PlainCardData/XpryDt"):
        fields[14] = expiry_of(body["Envt/Card/PlainCardData/XpryDt"])
    if fields.get(18) == "0000":
        del fields[18]
    if not is_request:
        fields[39] = CODES_1987[read_code(card)]
    if balance := read_balance(body):
        fields.update(balance_fields(EDITION_1987, "00", balance))
    _read_octets(fields, _CAAA_OCTETS, {**card.leaves, **body})
    fields = {number: value for number, value in fields.items() if _fits(number, value)}
    if {"Tx/TxDtls/TtlAmt", "Tx/TxDtls/Ccy"} <= body.keys():
        # No amount of that currency: said as for an unknown kind.
        with suppress(ValueError):
            _read_money(fields, body["Tx/TxDtls/TtlAmt"], body["Tx/TxDtls/Ccy"])
    return fields


def _fits(number: int, value: str | bytes) -> bool:
    spec = _SPECS[number]
    if isinstance(value, bytes):
        return len(value) == spec.max
    is_plain = value.isascii() and value.isprintable()
    return (
        len(value) <= spec.max and (value.isdecimal() or spec.cls != "n") and is_plain
    )


CAAA_VIEW: Final = CardView(
    texts=_CAAA_TEXTS,
    money=("Tx/TxDtls/TtlAmt", "Tx/TxDtls/Ccy"),
    octets=_CAAA_OCTETS,
    at=lambda message_id: caaa_tables.BODIES[message_id] + "/",
    order_of=lambda message_id: caaa_tables.order_of(caaa_tables.BODIES[message_id]),
    mti_of=_caaa_mti,
    fields_of=_caaa_fields,
)


def _repeats(leaves: Leaves) -> bool:
    return leaves.get("Hdr/ReTrnsmssnCntr", "0").strip("0") != ""


def _read_sent(fields: Fields, text: str) -> None:
    if text:
        sent_at = parse_instant(text.strip())
        fields[7] = f"{sent_at.astimezone(UTC):%m%d%H%M%S}"
