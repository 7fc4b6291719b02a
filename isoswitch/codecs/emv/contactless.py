"""Which scheme's rules a contactless tag follows, found by the application identifier.

The same tag means different things to different kernels: 9F6E is a form factor to
Visa, third party data to Mastercard and a reader capability to American Express. The
registered application provider (RID, the first five bytes of 84, 4F or 9F06) decides,
never the tag alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from isoswitch.codecs.emv.tags import TAGS, Tag
from isoswitch.codecs.emv.tlv import TlvList


class Scheme(StrEnum):
    """A card scheme with its own contactless rules."""

    VISA = "visa"
    MASTERCARD = "mastercard"
    AMEX = "amex"
    JCB = "jcb"
    DISCOVER = "discover"
    UNIONPAY = "unionpay"
    INTERAC = "interac"
    RUPAY = "rupay"
    MIR = "mir"


RIDS: Mapping[str, Scheme] = MappingProxyType(
    {
        "A000000003": Scheme.VISA,
        "A000000098": Scheme.VISA,
        "A000000004": Scheme.MASTERCARD,
        "A000000005": Scheme.MASTERCARD,
        "A000000025": Scheme.AMEX,
        "A000000065": Scheme.JCB,
        "A000000152": Scheme.DISCOVER,
        "A000000324": Scheme.DISCOVER,
        "A000000333": Scheme.UNIONPAY,
        "A000000277": Scheme.INTERAC,
        "A000000524": Scheme.RUPAY,
        "A000000658": Scheme.MIR,
    }
)

_TTQ = Tag("Terminal Transaction Qualifiers (TTQ)", "terminal", "b", 4, 4)
_CTQ = Tag("Card Transaction Qualifiers (CTQ)", "card", "b", 2, 2)

# What a tag means to one scheme where the dictionary cannot say.
SCHEME_TAGS: Mapping[Scheme, Mapping[str, Tag]] = MappingProxyType(
    {
        Scheme.VISA: {
            "9F53": Tag("Consecutive Transaction Limit", "card", "b", 1, 1),
            "9F5D": Tag("Available Offline Spending Amount", "card", "n", 6, 6),
            "9F66": _TTQ,
            "9F67": Tag("MSD Offset", "card", "b", 1, 1),
            "9F69": Tag("Card Authentication Related Data", "card", "b", 5, 16),
            "9F6B": Tag("Card CVM Limit", "card", "n", 6, 6),
            "9F6C": _CTQ,
            "9F6E": Tag("Form Factor Indicator (FFI)", "card", "b", 4, 4),
            "9F74": Tag("VLP Issuer Authorisation Code", "card", "an", 6, 6),
            "9F77": Tag("VLP Funds Limit", "card", "n", 6, 6),
            "9F79": Tag("VLP Available Funds", "card", "n", 6, 6),
            "9F7C": Tag("Customer Exclusive Data", "card", "b", 0, 32),
        },
        Scheme.MASTERCARD: {
            "9F53": Tag("Transaction Category Code", "terminal", "an", 1, 1),
            "9F5D": Tag("Application Capabilities Information", "card", "b", 3, 3),
            "9F61": Tag("CVC3 (Track 2)", "card", "b", 2, 2),
            "9F62": Tag("PCVC3 (Track 1)", "card", "b", 6, 6),
            "9F63": Tag("PUNATC (Track 1)", "card", "b", 6, 6),
            "9F66": Tag("PUNATC (Track 2)", "card", "b", 2, 2),
            "9F67": Tag("NATC (Track 2)", "card", "b", 1, 1),
            "9F69": Tag("UDOL", "card", "b", 0, 250),
            "9F6B": Tag("Track 2 Data", "card", "b", 0, 19),
            "9F6C": Tag("Mag-stripe Version Number (Card)", "card", "b", 2, 2),
            "9F6D": Tag("Mag-stripe Version Number (Reader)", "terminal", "b", 2, 2),
            "9F6E": Tag("Third Party Data", "card", "b", 5, 32),
            "9F70": Tag("Protected Data Envelope 1", "card", "b", 0, 192),
            "9F71": Tag("Protected Data Envelope 2", "card", "b", 0, 192),
            "9F74": Tag("Protected Data Envelope 5", "card", "b", 0, 192),
            "9F77": Tag("Unprotected Data Envelope 3", "card", "b", 0, 192),
            "9F79": Tag("Unprotected Data Envelope 5", "card", "b", 0, 192),
            "9F7C": Tag("Merchant Custom Data", "terminal", "b", 20, 20),
            "9F7D": Tag("DS Summary 1", "card", "b", 8, 16),
            "9F7F": Tag("DS Unpredictable Number", "card", "b", 4, 4),
        },
        Scheme.AMEX: {
            "9F6D": Tag("Contactless Reader Capabilities", "terminal", "b", 1, 1),
            "9F6E": Tag(
                "Enhanced Contactless Reader Capabilities", "terminal", "b", 4, 4
            ),
            "9F70": Tag("Card Interface Capabilities", "card", "b", 2, 2),
            "9F71": Tag("Mobile CVM Results", "card", "b", 3, 3),
        },
        Scheme.DISCOVER: {
            "9F66": _TTQ,
            "9F71": Tag("Card Processing Requirements", "card", "b", 2, 2),
        },
        Scheme.JCB: {
            "9F53": Tag("Terminal Interchange Profile", "terminal", "b", 3, 3),
        },
        Scheme.UNIONPAY: {
            "9F5D": Tag("Available Offline Spending Amount", "card", "n", 6, 6),
            "9F61": Tag("Cardholder Identification Number", "card", "ans", 0, 40),
            "9F62": Tag("Cardholder Identification Type", "card", "n", 1, 1),
            "9F63": Tag("Product Identification Information", "card", "b", 16, 16),
            "9F66": _TTQ,
            "9F69": Tag("Card Authentication Related Data", "card", "b", 5, 16),
            "9F6B": Tag("Card CVM Limit", "card", "n", 6, 6),
            "9F6C": _CTQ,
            "9F6D": Tag("Electronic Cash Reset Threshold", "card", "n", 6, 6),
            "9F74": Tag("Electronic Cash Authorisation Code", "card", "an", 6, 6),
            "9F77": Tag("Electronic Cash Balance Limit", "card", "n", 6, 6),
            "9F79": Tag("Electronic Cash Balance", "card", "n", 6, 6),
        },
    }
)

# Mastercard third party data, bytes 5 and 6, in ASCII.
MASTERCARD_DEVICES: Mapping[str, str] = MappingProxyType(
    {
        "00": "card",
        "01": "phone with SIM",
        "02": "key fob",
        "03": "watch",
        "04": "tag",
        "05": "wristband",
        "06": "phone case",
        "07": "phone, secure element of the network operator",
        "08": "removable secure element, not of the network operator",
        "09": "phone, secure element not of the network operator",
    }
)

# Visa form factor indicator, low five bits of byte 1.
VISA_FORM_FACTORS: Mapping[int, str] = MappingProxyType(
    {
        0: "standard card",
        1: "mini card",
        2: "non-card form factor",
        3: "consumer mobile phone",
        4: "wrist-worn device",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """What a contactless transaction says about the device and its holder.

    ``cdcvm`` is whether the consumer device verified its holder: such a tap needs no
    PIN and no amount limit. None means that the data does not tell.
    """

    scheme: Scheme | None
    cdcvm: bool | None
    form_factor: str = ""


def find_scheme(aid: bytes) -> Scheme | None:
    """Find the scheme of an application identifier by its first five bytes.

    Examples
    --------
    >>> find_scheme(bytes.fromhex("A0000000041010"))
    <Scheme.MASTERCARD: 'mastercard'>
    >>> find_scheme(bytes.fromhex("A0000000")) is None
    True
    """
    return RIDS.get(aid[:5].hex().upper())


def find_scheme_in(tlv: TlvList) -> Scheme | None:
    """Find the scheme that a card's data names in 84, 4F or 9F06."""
    for tag in ("84", "4F", "9F06"):
        aid = tlv.find(tag)
        if aid is not None and (scheme := find_scheme(aid)):
            return scheme
    return None


def find_tag(tag: str, scheme: Scheme | None) -> Tag | None:
    """Find what a tag is called, by the scheme's table first.

    Examples
    --------
    >>> find_tag("9F6E", Scheme.VISA).name
    'Form Factor Indicator (FFI)'
    >>> find_tag("9F6E", Scheme.MASTERCARD).name
    'Third Party Data'
    >>> find_tag("DF7F", None) is None
    True
    """
    if scheme is not None and (own := SCHEME_TAGS.get(scheme, {}).get(tag)):
        return own
    return TAGS.get(tag)


def read_tap(tlv: TlvList, scheme: Scheme | None = None) -> Tap:
    """Read device and cardholder verification from contactless data.

    Parameters
    ----------
    scheme
        Known from elsewhere; otherwise the application identifier in the data tells.

    Examples
    --------
    >>> from isoswitch.codecs.emv.tlv import decode_tlv
    >>> visa = "8407A00000000310109F6C0200809F6E0423880000"
    >>> read_tap(decode_tlv(bytes.fromhex(visa))).cdcvm
    True
    """
    scheme = scheme or find_scheme_in(tlv)
    return Tap(
        scheme=scheme,
        cdcvm=_read_cdcvm(tlv, scheme),
        form_factor=explain_form_factor(tlv.find("9F6E") or b"", scheme),
    )


def explain_form_factor(value: bytes, scheme: Scheme | None) -> str:
    """Say in words what 9F6E tells about the device; empty where it tells nothing.

    Examples
    --------
    >>> explain_form_factor(bytes.fromhex("0840000030330000"), Scheme.MASTERCARD)
    'watch'
    """
    if scheme is Scheme.VISA and len(value) == 4:
        return VISA_FORM_FACTORS.get(value[0] & 0x1F, "other form factor")
    # The first bit of the unique identifier is 0 where a device type follows.
    if scheme is Scheme.MASTERCARD and len(value) >= 6 and value[2] < 0x80:
        device = value[4:6].decode("ascii", "replace")
        return MASTERCARD_DEVICES.get(device, "other form factor")
    return ""


def _read_cdcvm(tlv: TlvList, scheme: Scheme | None) -> bool | None:
    qualifiers = tlv.find("9F6C") or b""
    verification = tlv.find("9F34") or b""
    profile = tlv.find("82")
    mobile = tlv.find("9F71") or b""
    if scheme in (Scheme.VISA, Scheme.UNIONPAY) and len(qualifiers) == 2:
        return bool(qualifiers[1] & 0x80)
    if scheme is Scheme.MASTERCARD and len(verification) == 3:
        # Plaintext PIN by the card cannot happen over the air: it stands for CDCVM.
        is_supported = not profile or bool(profile[0] & 0x02)
        is_done = verification[0] & 0x3F == 0x01 and verification[2] == 0x02
        return is_supported and is_done
    if scheme is Scheme.AMEX and len(mobile) == 3:
        return mobile[0] == 0x01 and mobile[2] == 0x02
    return None
