"""EMVCo merchant-presented QR codes: read, check, build.

A payload is a text of objects, each two digits of identifier, two digits of length
and so many *characters* of value (not bytes: a Chinese character counts one).

    00      payload format, first           58-61  country, name, city, postal code
    01      11 static, 12 dynamic           62     additional data, a template
    02-51   merchant accounts; 26-51 nest   63     CRC, last
    52-54   category, currency, amount      64     name and city in another language
    55-57   tip or fee                      80-99  templates of anybody's

The CRC is CRC-16/CCITT-FALSE over the UTF-8 bytes up to and including ``6304``.
The order of the others is free and kept, so encoding gives back what was read.
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError

CHARACTERS_MAX = 1024
OBJECTS_MAX = 128

STATIC = "11"
DYNAMIC = "12"
TIP_PROMPT = "01"
TIP_FIXED = "02"
TIP_PERCENT = "03"

ADDITIONAL_DATA = "62"
LANGUAGE = "64"
CRC = "63"

_AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{0,12})?")
_PERCENT = re.compile(r"[0-9]{1,2}(\.[0-9]{0,2})?")

# The form of the objects whose meaning is EMVCo's; the others may hold anything.
_FORMS: Mapping[str, tuple[re.Pattern[str], str]] = {
    "00": (re.compile(r"[0-9]{2}"), "not two digits"),
    "01": (re.compile(r"1[12]"), "neither static nor dynamic"),
    "52": (re.compile(r"[0-9]{4}"), "not a merchant category code"),
    "53": (re.compile(r"[0-9]{3}"), "not a numeric currency"),
    "54": (_AMOUNT, "not an amount"),
    "55": (re.compile(r"0[123]"), "not a tip indicator"),
    "56": (_AMOUNT, "not an amount"),
    "57": (_PERCENT, "not a percentage"),
    "58": (re.compile(r"[A-Za-z]{2}"), "not a country"),
    "63": (re.compile(r"[0-9A-Fa-f]{4}"), "not a CRC"),
}
_AMOUNT_CHARACTERS_MAX = 13

# Objects whose value is a list of objects, and those where it may be any text too:
# DuitNow, for one, puts a bare checksum into 82.
_TEMPLATES = frozenset(
    [*(f"{number:02}" for number in range(26, 52)), ADDITIONAL_DATA, LANGUAGE]
)
_FREE_TEMPLATES = frozenset(f"{number:02}" for number in range(80, 100))
_FREE_ADDITIONAL_TEMPLATES = frozenset(f"{number:02}" for number in range(50, 100))

# Two amounts in one code would be two truths.
_UNIQUE = frozenset(["00", "01", *(f"{number:02}" for number in range(52, 64))])

NAMES: Mapping[str, str] = {
    "00": "payload format",
    "01": "point of initiation",
    **dict.fromkeys(["02", "03"], "Visa account"),
    **dict.fromkeys(["04", "05"], "Mastercard account"),
    **dict.fromkeys(["06", "07", "08"], "account reserved by EMVCo"),
    **dict.fromkeys(["09", "10"], "Discover account"),
    **dict.fromkeys(["11", "12"], "American Express account"),
    **dict.fromkeys(["13", "14"], "JCB account"),
    **dict.fromkeys(["15", "16"], "UnionPay account"),
    **{f"{number:02}": "account reserved by EMVCo" for number in range(17, 26)},
    **{f"{number:02}": "merchant account" for number in range(26, 52)},
    "52": "merchant category code",
    "53": "currency",
    "54": "amount",
    "55": "tip or fee",
    "56": "fixed fee",
    "57": "percentage fee",
    "58": "country",
    "59": "merchant name",
    "60": "merchant city",
    "61": "postal code",
    "62": "additional data",
    "63": "CRC",
    "64": "language template",
    **{f"{number:02}": "reserved by EMVCo" for number in range(65, 80)},
    **{f"{number:02}": "unreserved template" for number in range(80, 100)},
    "62.01": "bill number",
    "62.02": "mobile number",
    "62.03": "store label",
    "62.04": "loyalty number",
    "62.05": "reference label",
    "62.06": "customer label",
    "62.07": "terminal label",
    "62.08": "purpose",
    "62.09": "consumer data request",
    "62.10": "merchant tax identifier",
    "62.11": "merchant channel",
    "64.00": "language",
    "64.01": "merchant name in that language",
    "64.02": "merchant city in that language",
}


@dataclass(frozen=True, slots=True)
class QrObject:
    """One object; ``children`` are those of a template, ``value`` their text."""

    id: str
    value: str
    children: tuple[QrObject, ...] = ()
    offset: int = field(default=0, compare=False)

    def encode(self) -> str:
        """Give the characters of this object."""
        return f"{self.id}{len(self.value):02}{self.value}"

    def child(self, identifier: str) -> str:
        """Give the value of a nested object, or an empty text."""
        return _value_of(self.children, identifier)


@dataclass(frozen=True, slots=True)
class MpmCode:
    """A merchant-presented code: its objects in the order in which they came.

    Examples
    --------
    >>> code = decode_mpm(
    ...     "00020101021229300012D156000000000510A93FO3230Q52044111530315654031005802CN"
    ...     "5914BEST TRANSPORT6007BEIJING63047F8D"
    ... )
    >>> code.is_dynamic, code.amount, code.currency, code.merchant_name
    (True, Decimal('100'), '156', 'BEST TRANSPORT')
    >>> code.accounts[0].child("05")
    'A93FO3230Q'
    """

    objects: tuple[QrObject, ...]

    def encode(self) -> str:
        """Give back the payload."""
        return "".join(each.encode() for each in self.objects)

    def value(self, path: str) -> str:
        """Give the value at a path such as ``"62.07"``, or an empty text."""
        outer, _, inner = path.partition(".")
        if not inner:
            return _value_of(self.objects, outer)
        return next((o.child(inner) for o in self.objects if o.id == outer), "")

    def walk(self) -> Iterator[tuple[str, QrObject]]:
        """Visit each object with its path, templates before what they hold."""
        pending = [(each.id, each) for each in reversed(self.objects)]
        while pending:
            path, each = pending.pop()
            yield path, each
            pending.extend(
                (f"{path}.{child.id}", child) for child in reversed(each.children)
            )

    @property
    def is_dynamic(self) -> bool | None:
        """Whether the code is made for one payment; None where it does not say."""
        return {STATIC: False, DYNAMIC: True}.get(self.value("01"))

    @property
    def amount(self) -> Decimal | None:
        """The amount in units of the currency; None where the payer enters it."""
        return _to_decimal(self.value("54"))

    @property
    def tip(self) -> str:
        """How a tip or fee is added: ``TIP_PROMPT``, ``TIP_FIXED``, ``TIP_PERCENT``."""
        return self.value("55")

    @property
    def tip_value(self) -> Decimal | None:
        """The fixed fee in units of the currency, or the percentage."""
        place = {TIP_FIXED: "56", TIP_PERCENT: "57"}.get(self.tip, "")
        return _to_decimal(self.value(place))

    @property
    def currency(self) -> str:
        """The numeric ISO 4217 code."""
        return self.value("53")

    @property
    def country(self) -> str:
        """The ISO 3166 code of two letters."""
        return self.value("58")

    @property
    def mcc(self) -> str:
        """The merchant category code."""
        return self.value("52")

    @property
    def merchant_name(self) -> str:
        """The merchant's name in the code's first language."""
        return self.value("59")

    @property
    def merchant_city(self) -> str:
        """The merchant's city in the code's first language."""
        return self.value("60")

    @property
    def accounts(self) -> tuple[QrObject, ...]:
        """The accounts that can be paid, one for each network."""
        return tuple(each for each in self.objects if "02" <= each.id <= "51")

    @property
    def languages(self) -> dict[str, tuple[str, str]]:
        """Name and city by further language."""
        return {
            each.child("00"): (each.child("01"), each.child("02"))
            for each in self.objects
            if each.id == LANGUAGE
        }

    def unknown_objects(self) -> list[tuple[str, int]]:
        """Give path and size of the objects that EMVCo has not given a meaning."""
        return [
            (each.id, len(each.value))
            for each in self.objects
            if "65" <= each.id <= "79" or "17" <= each.id <= "25"
        ]


def decode_mpm(payload: str) -> MpmCode:
    """Read and check a merchant-presented code.

    Raises
    ------
    DecodeError
        Not such a code, the CRC does not match, or a value has the wrong form. The
        offset counts characters.

    Examples
    --------
    >>> try:
    ...     decode_mpm("000201010211630400AA")
    ... except DecodeError as error:
    ...     print(error)
    field 63, offset 16: CRC does not match
    """
    if len(payload) > CHARACTERS_MAX:
        reason = f"longer than {CHARACTERS_MAX} characters"
        raise DecodeError(reason, offset=CHARACTERS_MAX)
    objects = tuple(_Reader().read_objects(payload, "", 0))
    if not objects or objects[0].id != "00":
        raise DecodeError("does not start with a payload format", field="00")
    _check_crc(payload, objects)
    seen: set[str] = set()
    for each in objects:
        _check_form(each)
        if each.id in _UNIQUE and each.id in seen:
            raise DecodeError("stands twice", field=each.id, offset=each.offset)
        seen.add(each.id)
    return MpmCode(objects)


def build_mpm(objects: Iterable[QrObject]) -> MpmCode:
    """Make a code from its objects and add the CRC.

    Parameters
    ----------
    objects
        All but 63, 00 first; made by :func:`item` and :func:`nest`.

    Raises
    ------
    EncodeError
        The objects do not make a code that :func:`decode_mpm` accepts.

    Examples
    --------
    >>> account = nest("29", {"00": "A000000677010111", "01": "0066801234567"})
    >>> parts = [item("00", "01"), item("01", "11"), account]
    >>> build_mpm([*parts, item("58", "TH"), item("53", "764")]).encode()
    '00020101021129370016A000000677010111011300668012345675802TH530376463046197'
    """
    text = "".join(each.encode() for each in objects) + f"{CRC}04"
    try:
        return decode_mpm(text + checksum(text))
    except DecodeError as error:
        raise EncodeError(error.reason, field=error.field) from None


def item(identifier: str, value: str) -> QrObject:
    """Make one object.

    Raises
    ------
    EncodeError
        The identifier is not two digits, or the value has not 1 to 99 characters.
    """
    if not _is_number(identifier, 2):
        raise EncodeError("an identifier is two digits", field=identifier)
    if not 1 <= len(value) <= 99:
        raise EncodeError("not 1 to 99 characters", field=identifier)
    return QrObject(identifier, value)


def nest(identifier: str, values: Mapping[str, str]) -> QrObject:
    """Make a template from its nested values, in their order.

    Raises
    ------
    EncodeError
        A value has not 1 to 99 characters, or all have more together.

    Examples
    --------
    >>> nest("62", {"05": "REF1", "07": "TILL-7"}).encode()
    '62180504REF10706TILL-7'
    """
    children = tuple(item(inner, value) for inner, value in values.items())
    text = "".join(each.encode() for each in children)
    return QrObject(identifier, item(identifier, text).value, children)


def checksum(text: str) -> str:
    """Compute the CRC of everything up to and including ``6304``.

    Examples
    --------
    >>> checksum("123456789")
    '29B1'
    """
    return f"{crc_hqx(text.encode(), 0xFFFF):04X}"


class _Reader:
    """Counts the objects of one payload over all its templates."""

    def __init__(self) -> None:
        self.count = 0

    def read_objects(self, text: str, path: str, base: int) -> Iterator[QrObject]:
        at = 0
        while at < len(text):
            identifier = text[at : at + 2]
            if not _is_number(identifier, 2):
                raise DecodeError("not an identifier", field=path, offset=base + at)
            here = f"{path}.{identifier}" if path else identifier
            length = text[at + 2 : at + 4]
            if not _is_number(length, 2):
                raise DecodeError("not a length", field=here, offset=base + at + 2)
            end = at + 4 + int(length)
            if end > len(text):
                reason = "value is shorter than its length"
                raise DecodeError(reason, field=here, offset=base + at + 2)
            self.count += 1
            if self.count > OBJECTS_MAX:
                reason = f"more than {OBJECTS_MAX} objects"
                raise DecodeError(reason, field=here, offset=base + at)
            value = text[at + 4 : end]
            children = self._children(value, here, base + at + 4)
            yield QrObject(identifier, value, children, base + at)
            at = end

    def _children(self, value: str, path: str, base: int) -> tuple[QrObject, ...]:
        if path in _TEMPLATES:
            return tuple(self.read_objects(value, path, base))
        outer, _, identifier = path.rpartition(".")
        free = {"": _FREE_TEMPLATES, ADDITIONAL_DATA: _FREE_ADDITIONAL_TEMPLATES}
        if identifier not in free.get(outer, ()):
            return ()
        try:
            return tuple(self.read_objects(value, path, base))
        except DecodeError:
            return ()


def _check_crc(payload: str, objects: tuple[QrObject, ...]) -> None:
    places = [place for place, each in enumerate(objects) if each.id == CRC]
    if not places:
        raise DecodeError("no CRC", field=CRC, offset=len(payload))
    last = objects[places[0]]
    if places[0] != len(objects) - 1:
        after = objects[places[0] + 1].offset
        raise DecodeError("data after the CRC", field=CRC, offset=after)
    _check_form(last)
    try:
        expected = checksum(payload[:-4])
    except UnicodeEncodeError as error:
        raise DecodeError("not a character", offset=error.start) from None
    if last.value.upper() != expected:
        raise DecodeError("CRC does not match", field=CRC, offset=last.offset + 4)


def _check_form(each: QrObject) -> None:
    form = _FORMS.get(each.id)
    if form is None:
        return
    pattern, reason = form
    is_long = each.id in ("54", "56") and len(each.value) > _AMOUNT_CHARACTERS_MAX
    if is_long or not pattern.fullmatch(each.value):
        raise DecodeError(reason, field=each.id, offset=each.offset + 4)


def _value_of(objects: tuple[QrObject, ...], identifier: str) -> str:
    return next((each.value for each in objects if each.id == identifier), "")


def _to_decimal(text: str) -> Decimal | None:
    return Decimal(text) if text else None


def _is_number(text: str, size: int) -> bool:
    return len(text) == size and text.isascii() and text.isdecimal()
