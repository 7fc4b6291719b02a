"""The wire layouts that isoswitch knows, by name.

The networks' own specifications are not public; layouts named ``…-like`` follow
public code and sample messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from isoswitch.codecs.iso8583 import networks
from isoswitch.codecs.iso8583.codec import Codec, compile_spec
from isoswitch.codecs.iso8583.layouts import Edition, Override, Wire, build_layout
from isoswitch.codecs.iso8583.spec import Spec


def get_spec(name: str) -> Spec:
    """Give the layout of that name, or of that alias.

    Raises
    ------
    LookupError
        There is no such layout; the message lists those that exist.

    Examples
    --------
    >>> get_spec("iso87-bcd").fields[4].format
    'n 12'
    """
    name = ALIASES.get(name, name)
    entry = _TABLE.get(name)
    if entry is None:
        msg = f"no layout {name!r}; there are {', '.join(spec_names())}"
        raise LookupError(msg)
    return build_layout(
        name,
        entry.edition,
        entry.wire,
        entry.overrides,
        description=entry.description,
    )


def get_codec(name: str) -> Codec:
    """Give the compiled codec of the layout of that name; compiled once.

    Examples
    --------
    >>> get_codec("iso87-ascii").build("0800", {11: "000001"}).raw
    b'08000020000000000000000001'
    """
    return _codec(ALIASES.get(name, name))


@cache
def _codec(name: str) -> Codec:
    return compile_spec(get_spec(name))


def spec_names() -> tuple[str, ...]:
    """The names of all layouts, without aliases."""
    return tuple(sorted(_TABLE))


@dataclass(frozen=True, slots=True)
class _Entry:
    edition: Edition
    wire: Wire
    overrides: Mapping[int, Override] = field(default_factory=dict)
    description: str = ""


_ASCII = Wire()
_ASCII_RAW = Wire(bitmap="raw", binary="raw")
_BCD = Wire(
    mti="bcd",
    bitmap="raw",
    numeric="bcd",
    binary="raw",
    track="bcd",
    signed="bcd",
    length="bcd",
)
_BCD_RIGHT = replace(_BCD, pad_fixed="right", pad_variable="right")


def _ebcdic(charset: str) -> Wire:
    return Wire(
        charset=charset,
        bitmap="raw",
        numeric=charset,
        text=charset,
        binary="raw",
        track=charset,
        signed=charset,
        currency=charset,
        length=charset,
    )


_TABLE: Mapping[str, _Entry] = {
    "iso87-ascii": _Entry("1987", _ASCII, {}, "Text, hexadecimal bitmaps and bytes"),
    "iso87-ascii-raw": _Entry(
        "1987", _ASCII_RAW, networks.ICC_BINARY, "Text, packed bitmaps and bytes"
    ),
    "iso87-ascii-128": _Entry(
        "1987",
        replace(_ASCII, second_bitmap="always-unflagged", binary="raw"),
        networks.ICC_BINARY,
        "Both bitmaps always sent, bit 1 off",
    ),
    "iso87-bcd": _Entry("1987", _BCD, networks.ICC_BINARY, "Packed, padded left"),
    "iso87-bcd-right": _Entry(
        "1987", _BCD_RIGHT, networks.ICC_BINARY, "Packed, padded right"
    ),
    "iso87-bcd-mixed": _Entry(
        "1987",
        replace(_BCD, pad_variable="right"),
        networks.ICC_BINARY,
        "Packed, fixed fields padded left and variable ones right",
    ),
    "iso87-ebcdic": _Entry("1987", _ebcdic("cp037"), networks.ICC_BINARY, "EBCDIC"),
    "iso93-ascii": _Entry("1993", _ASCII, {}, "Text, hexadecimal bitmaps and bytes"),
    "iso93-ascii-raw": _Entry("1993", _ASCII_RAW, {}, "Text, packed bitmaps and bytes"),
    "iso93-bcd": _Entry("1993", _BCD, {}, "Packed, padded left"),
    "iso93-bcd-right": _Entry("1993", _BCD_RIGHT, {}, "Packed, padded right"),
    "iso93-ebcdic": _Entry("1993", _ebcdic("cp1047"), {}, "EBCDIC"),
    "iso2003": _Entry("2003", _BCD, {}, "Packed, padded left"),
    "iso2003-ascii": _Entry("2003", _ASCII_RAW, {}, "Text, packed bitmaps and bytes"),
    "cup-pos": _Entry(
        "1987",
        replace(_BCD_RIGHT, signed="ascii"),
        networks.CUP_POS,
        "UnionPay terminals",
    ),
    "cups-interchange": _Entry("1987", _ASCII_RAW, networks.CUPS, "UnionPay hosts"),
    "visa-vip-like": _Entry(
        "1987",
        replace(
            _BCD,
            charset="cp500",
            text="cp500",
            signed="cp500",
            currency="bcd",
            length="bin",
            third_bitmap="after-second",
        ),
        networks.VISA_VIP,
        "Visa BASE I and V.I.P.",
    ),
    "mastercard-cis-like": _Entry(
        "1987", _ebcdic("cp500"), networks.MASTERCARD_CIS, "Mastercard authorisation"
    ),
    "mastercard-ipm-like": _Entry(
        "1993", _ebcdic("cp500"), networks.MASTERCARD_IPM, "Mastercard clearing"
    ),
    "mastercard-ipm-ascii-like": _Entry(
        "1993", _ASCII_RAW, networks.MASTERCARD_IPM, "Mastercard clearing in ASCII"
    ),
    "mastercard-ipm-hex-like": _Entry(
        "1993",
        replace(_ebcdic("cp500"), bitmap="hex-ascii"),
        networks.MASTERCARD_IPM,
        "Mastercard clearing with hexadecimal bitmaps",
    ),
    "amex-gcag-like": _Entry(
        "1993", _ebcdic("cp037"), networks.AMEX_GCAG, "American Express"
    ),
    "base24-like": _Entry("1987", _ASCII, networks.BASE24, "BASE24 external message"),
    "postilion-like": _Entry("1987", _ASCII_RAW, networks.POSTILION, "Postilion"),
    "epoc-ebt-like": _Entry("1993", _ASCII, networks.EPOC_EBT, "US EBT"),
    "ascii-host-like": _Entry(
        "1987", _ASCII_RAW, networks.ASCII_HOST, "Processor host, extended DE 22"
    ),
    "termapp-like": _Entry("1993", _ASCII_RAW, networks.TERMAPP, "OpenISO terminals"),
    "way4-like": _Entry(
        "1993",
        replace(_BCD, length="bin", currency="bcd"),
        networks.WAY4,
        "Way4 host",
    ),
}

ALIASES: Mapping[str, str] = {
    "iso87-bcd-left": "iso87-bcd",
    "iso93-bcd-left": "iso93-bcd",
    "iso2003-bcd": "iso2003",
    "iso87-ascii-binbitmap": "iso87-ascii-raw",
    "visa-vip": "visa-vip-like",
    "mastercard-cis": "mastercard-cis-like",
    "mastercard-ipm": "mastercard-ipm-like",
    "amex-gcag": "amex-gcag-like",
    "base24": "base24-like",
    "postilion": "postilion-like",
    "host-ascii-binbitmap-1987ext": "ascii-host-like",
    "iso93-ebcdic1047": "iso93-ebcdic",
    "mastercard-ipm-ascii": "mastercard-ipm-ascii-like",
    "mastercard-ipm-ebcdic-hexbitmap": "mastercard-ipm-hex-like",
    "moov-always-secondary": "iso87-ascii",
    "moov-ascii-fixed128-bitmap": "iso87-ascii-128",
    "moov-spec87ascii": "iso87-ascii-128",
    "openiso-termapp-ascii": "iso93-ascii",
    "openiso-termapp-binary": "termapp-like",
    "pos-bcd-tpdu-ll": "iso87-bcd",
    "epoc-ebt-1993-ascii": "epoc-ebt-like",
    "way4-d8-1993": "way4-like",
}
"""Other names under which layouts are known."""
