"""Chip data as a person reads it: names, words, and nothing secret.

Card numbers, tracks, names and PIN data are masked by their tag. A sender may hide a
card number anywhere, so any other value loses every run of digits that passes for
one, whether it stands there packed or as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from isoswitch.codecs.canonical.secrets import mask_pan
from isoswitch.codecs.emv.bits import Row, explain_value
from isoswitch.codecs.emv.contactless import Scheme, find_scheme_in, find_tag
from isoswitch.codecs.emv.tags import NEVER_IN_CLEAR
from isoswitch.codecs.emv.tlv import Tlv, TlvList
from isoswitch.codecs.iso8583.masking import holds_card_number, scan

# The names that people use for tags on the phone.
SHORT_NAMES: Mapping[str, tuple[str, Scheme | None]] = MappingProxyType(
    {
        "AC": ("9F26", None),
        "AIP": ("82", None),
        "AFL": ("94", None),
        "ARC": ("8A", None),
        "ATC": ("9F36", None),
        "AUC": ("9F07", None),
        "CID": ("9F27", None),
        "CTQ": ("9F6C", Scheme.VISA),
        "CVM": ("9F34", None),
        "CVMLIST": ("8E", None),
        "CVMR": ("9F34", None),
        "FFI": ("9F6E", Scheme.VISA),
        "IAC-DEFAULT": ("9F0D", None),
        "IAC-DENIAL": ("9F0E", None),
        "IAC-ONLINE": ("9F0F", None),
        "IAD": ("9F10", None),
        "MCVM": ("9F71", Scheme.AMEX),
        "PAR": ("9F24", None),
        "TERMCAP": ("9F33", None),
        "TERMCAP2": ("9F40", None),
        "TERMTYPE": ("9F35", None),
        "TPD": ("9F6E", Scheme.MASTERCARD),
        "TRID": ("9F19", None),
        "TSI": ("9B", None),
        "TTQ": ("9F66", Scheme.VISA),
        "TVR": ("95", None),
        "UN": ("9F37", None),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TagView:
    """One object as it may be shown; ``words`` are what its bits and codes mean."""

    path: str
    name: str
    size: int
    value: str
    words: tuple[Row, ...]


def describe_tlv(tlv: TlvList, *, unsafe: bool = False) -> list[TagView]:
    """Describe every object, templates before what they hold.

    Parameters
    ----------
    unsafe
        Show values in clear; for a developer's own terminal only.

    Examples
    --------
    >>> from isoswitch.codecs.emv.tlv import decode_tlv
    >>> view = describe_tlv(decode_tlv(bytes.fromhex("5A084761739001010010")))[0]
    >>> view.name, view.value
    ('Application Primary Account Number (PAN)', '476173******0010')
    """
    scheme = find_scheme_in(tlv)
    return [
        describe_tag(path, each, scheme, unsafe=unsafe) for path, each in tlv.walk()
    ]


def describe_tag(
    path: str, each: Tlv, scheme: Scheme | None, *, unsafe: bool = False
) -> TagView:
    """Describe one object in the words of its scheme."""
    known = find_tag(each.tag, scheme)
    value = "" if each.children else show_value(each.tag, each.value, unsafe=unsafe)
    return TagView(
        path=path,
        name=known.name if known else "unknown tag",
        size=len(each.value),
        value=value,
        words=tuple(explain_value(each.tag, each.value, scheme)),
    )


def show_value(tag: str, value: bytes, *, unsafe: bool = False) -> str:
    """Write a value as digits, text or hexadecimal, masked unless told otherwise.

    Examples
    --------
    >>> show_value("57", bytes.fromhex("4761739001010010D31122011234567800000F"))
    '476173******0010D***'
    >>> show_value("5F20", b"CARDHOLDER/TEST"), show_value("50", b"Debit")
    ('***', 'Debit')
    """
    known = find_tag(tag, None)
    is_text = known is not None and known.form in ("a", "an", "ans")
    text = _to_text(value) if is_text else value.hex().upper()
    if unsafe:
        return text
    if tag == "5A":
        return mask_pan(text.rstrip("F"))
    if tag == "57" and (match := re.match(r"([0-9]{8,19})D", text)):
        return f"{mask_pan(match[1])}D***"
    if tag in NEVER_IN_CLEAR:
        return "***"
    return "***" if holds_card_number(value) else scan(text)


def unknown_tags(tlv: TlvList) -> Iterator[tuple[str, int]]:
    """Give path and size of each object that no dictionary knows.

    Examples
    --------
    >>> from isoswitch.codecs.emv.tlv import decode_tlv
    >>> list(unknown_tags(decode_tlv(bytes.fromhex("9C0100DF7F021234"))))
    [('DF7F', 2)]
    """
    scheme = find_scheme_in(tlv)
    for path, each in tlv.walk():
        if find_tag(each.tag, scheme) is None:
            yield path, len(each.value)


def _to_text(value: bytes) -> str:
    text = value.decode("latin-1")
    return text if text.isprintable() else value.hex().upper()
