"""UPI payment links (``upi://pay?...``), as shown in QR codes in India.

Parameters keep their order and their spelling, so encoding gives back the link.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from urllib.parse import quote, unquote

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError

CHARACTERS_MAX = 2048
PARAMETERS_MAX = 64

SCHEME = "upi://"
_ACTIONS = frozenset({"pay", "mandate", "collect"})
_ADDRESS = re.compile(r"[A-Za-z0-9._-]{1,255}@[A-Za-z][A-Za-z0-9.-]{0,63}")
_AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,2})?")
_FORMS: Mapping[str, tuple[re.Pattern[str], str]] = MappingProxyType(
    {
        "pa": (_ADDRESS, "not a payee address"),
        "am": (_AMOUNT, "not an amount"),
        "cu": (re.compile("INR"), "not rupees"),
    }
)
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "pa": "payee address",
        "pn": "payee name",
        "mc": "merchant category code",
        "tid": "transaction identifier",
        "tr": "transaction reference",
        "tn": "note",
        "am": "amount",
        "mam": "lowest amount",
        "cu": "currency",
        "url": "link to details",
        "mode": "initiation mode",
        "orgid": "originating organisation",
        "sign": "signature",
    }
)


@dataclass(frozen=True, slots=True)
class UpiLink:
    """A UPI link: what to do, and its parameters, all as they stand in the link.

    Examples
    --------
    >>> link = decode_upi("upi://pay?pa=shop@bank&pn=Tea%20Shop&am=10.50&cu=INR")
    >>> link.value("pn"), link.amount
    ('Tea Shop', Decimal('10.50'))
    """

    action: str
    parameters: tuple[tuple[str, str], ...]
    scheme: str = SCHEME

    def encode(self) -> str:
        """Give back the link."""
        query = "&".join(f"{name}={text}" for name, text in self.parameters)
        return f"{self.scheme}{self.action}?{query}"

    def value(self, name: str) -> str:
        """Give a parameter's value without its percent signs, or an empty text."""
        return next((unquote(text) for key, text in self.parameters if key == name), "")

    @property
    def amount(self) -> Decimal | None:
        """The amount in rupees; None where the payer enters it."""
        text = self.value("am")
        return Decimal(text) if text else None


def decode_upi(uri: str) -> UpiLink:
    """Read a UPI link.

    Raises
    ------
    DecodeError
        Not such a link, or the address, amount or currency has the wrong form.
    """
    if len(uri) > CHARACTERS_MAX:
        reason = f"longer than {CHARACTERS_MAX} characters"
        raise DecodeError(reason, offset=CHARACTERS_MAX)
    scheme = uri[: len(SCHEME)]
    if not uri.isascii() or scheme.lower() != SCHEME:
        raise DecodeError("not a UPI link")
    action, mark, query = uri[len(SCHEME) :].partition("?")
    if action.lower() not in _ACTIONS or not mark:
        raise DecodeError("not a UPI action", offset=len(SCHEME))
    start = len(SCHEME) + len(action) + 1
    parameters = tuple(_read_parameters(query, start))
    link = UpiLink(action, parameters, scheme)
    if not link.value("pa"):
        raise DecodeError("no payee address", field="pa", offset=len(uri))
    return link


def build_upi(values: Mapping[str, str], *, action: str = "pay") -> UpiLink:
    """Make a link from clear values; ``pa`` is required.

    Raises
    ------
    EncodeError
        The values do not make a link that :func:`decode_upi` accepts.

    Examples
    --------
    >>> build_upi({"pa": "shop@bank", "pn": "Tea Shop", "am": "10"}).encode()
    'upi://pay?pa=shop@bank&pn=Tea%20Shop&am=10'
    """
    parts = tuple((name, quote(text, safe="@:/.,-")) for name, text in values.items())
    try:
        return decode_upi(UpiLink(action, parts).encode())
    except DecodeError as error:
        raise EncodeError(error.reason, field=error.field) from None


def _read_parameters(query: str, start: int) -> Iterator[tuple[str, str]]:
    at = start
    seen: set[str] = set()
    for count, part in enumerate(query.split("&")):
        if count == PARAMETERS_MAX:
            raise DecodeError(f"more than {PARAMETERS_MAX} parameters", offset=at)
        name, equals, text = part.partition("=")
        if not equals or not name:
            raise DecodeError("not a parameter", offset=at)
        if name in seen:
            raise DecodeError("stands twice", field=name, offset=at)
        seen.add(name)
        _check_value(name, text, at + len(name) + 1)
        yield name, text
        at += len(part) + 1


def _check_value(name: str, text: str, offset: int) -> None:
    wrong = _BAD_PERCENT.search(text)
    if wrong:
        raise DecodeError("bad percent sign", field=name, offset=offset + wrong.start())
    try:
        clear = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise DecodeError("not UTF-8", field=name, offset=offset) from None
    pattern, reason = _FORMS.get(name, (None, ""))
    if pattern and clear and not pattern.fullmatch(clear):
        raise DecodeError(reason, field=name, offset=offset)
