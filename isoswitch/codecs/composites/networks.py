"""The composite fields of each network: data only.

Sources are public parsers, packagers and sample messages; the networks' own documents
were not used. What is not listed decodes all the same: it stays whole and unnamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from isoswitch.codecs.composites.layouts import (
    BerTlv,
    Bitmapped,
    BySize,
    KeyValue,
    Part,
    Positional,
    TagLength,
)
from isoswitch.codecs.composites.model import Layout

CHIP_DATA = BerTlv()

# UnionPay POS ------------------------------------------------------------------

UNIONPAY_53 = Positional(
    parts={
        "1": Part(name="PIN format (1 without PAN, 2 with PAN)", size=1),
        "2": Part(name="PIN encryption (0 DES, 6 double-length 3DES)", size=1),
        "3": Part(name="track encryption (0 clear, 1 encrypted)", size=1),
        "4": Part(name="reserved", size=13, masking="hide"),
    }
)

UNIONPAY_60 = Positional(
    parts={
        "1": Part(name="transaction type", size=2),
        "2": Part(name="batch number", size=6),
        "3": Part(name="network management code", size=3),
        "4": Part(name="terminal reading capability", size=1),
        "5": Part(name="chip condition code", size=1),
        "6": Part(name="partial approval and balance support", size=1),
        "7": Part(name="account type", size=3),
    }
)

UNIONPAY_61 = Positional(
    parts={
        "1": Part(name="original batch number", size=6),
        "2": Part(name="original trace number", size=6),
        "3": Part(name="original date", size=4),
        "4": Part(name="original authorisation mode", size=2),
        "5": Part(name="original authoriser", size=11),
    }
)

UNIONPAY_63 = Positional(
    parts={
        "1": Part(name="operator or card organisation", size=3, charset="latin-1"),
        "2": Part(name="texts of issuer, acquirer and network", size=0),
    }
)

_DEVICE_NAMES: Mapping[str, str] = {
    "01": "longitude",
    "02": "latitude",
    "03": "cell",
    "04": "device type",
    "05": "device serial number",
    "06": "encryption factor",
    "07": "encrypted serial number",
    "08": "software version",
}

UNIONPAY_46 = TagLength(
    tag=2,
    length=3,
    names={"PI": "device information"},
    inner={"PI": TagLength(tag=2, length=2, coding="hex", names=_DEVICE_NAMES)},
)

UNIONPAY_INTERCHANGE_104 = TagLength(
    tag=2,
    length=3,
    names={"PI": "device information"},
    inner={
        "PI": TagLength(
            tag=1, length=1, coding="binary", names=_DEVICE_NAMES, is_tag_binary=True
        )
    },
)


def _working_keys(*names: str, size: int) -> Positional:
    parts: dict[str, Part] = {}
    for name in names:
        parts[name] = Part(name=f"{name} under the TMK", size=size, masking="hide")
        parts[f"{name} check"] = Part(name=f"{name} check value", size=4)
    return Positional(parts=parts)


# DE 62 of a sign-in answer; in other messages DE 62 is free text.
UNIONPAY_SIGN_IN_KEYS = BySize(
    layouts={
        24: _working_keys("PIN key", "MAC key", size=8),
        40: _working_keys("PIN key", "MAC key", size=16),
        56: _working_keys("PIN key", "MAC key", size=24),
        60: _working_keys("PIN key", "MAC key", "track key", size=16),
        84: _working_keys("PIN key", "MAC key", "track key", size=24),
    }
)

# Visa --------------------------------------------------------------------------


def _ebcdic(name: str, size: int) -> Part:
    return Part(name=name, size=size, charset="cp500")


VISA_55 = TagLength(
    tag=1,
    length=2,
    coding="binary",
    is_tag_binary=True,
    names={"01": "chip data"},
    inner={"01": CHIP_DATA},
)

_VISA_DATASET = BerTlv(is_flat=True, other="data element")

VISA_DATASETS = TagLength(
    tag=1,
    length=2,
    coding="binary",
    is_tag_binary=True,
    names={
        "56": "payment facilitator data",
        "57": "business application data",
        "5D": "authentication and recurring payment data",
        "5F": "sender and recipient data",
        "66": "verification data",
        "67": "activation data",
        "68": "token data",
        "69": "token device data",
        "71": "additional transaction data",
    },
    hidden=frozenset({"68", "69"}),
    inner=dict.fromkeys(
        ("56", "57", "5D", "5F", "66", "67", "68", "69", "71"), _VISA_DATASET
    ),
)

VISA_62 = Bitmapped(
    size=8,
    parts={
        1: _ebcdic("authorisation characteristics indicator", 1),
        2: Part(name="transaction identifier", size=8),
        3: _ebcdic("validation code", 4),
        4: _ebcdic("market-specific data identifier", 1),
        5: Part(name="duration", size=1),
        6: _ebcdic("prestigious property indicator", 1),
        7: _ebcdic("purchase identifier", 26),
        8: Part(name="check-in, check-out or rental date", size=3),
        9: _ebcdic("no-show indicator", 1),
        10: Part(name="extra charges", size=3),
        11: Part(name="multiple clearing sequence number", size=1),
        12: Part(name="multiple clearing sequence count", size=1),
        13: _ebcdic("restricted ticket indicator", 1),
        14: Part(name="total amount authorised", size=6),
        15: _ebcdic("requested payment service", 1),
        16: _ebcdic("chargeback rights indicator", 2),
        17: _ebcdic("gateway transaction identifier", 15),
        18: _ebcdic("excluded transaction identifier reason", 1),
        19: _ebcdic("electronic commerce goods indicator", 2),
        20: Part(name="merchant verification value", size=5),
        21: _ebcdic("online risk assessment score", 4),
        22: _ebcdic("online risk assessment condition codes", 6),
        23: _ebcdic("product identifier", 2),
        24: _ebcdic("program identifier", 6),
        25: _ebcdic("spend qualified indicator", 1),
        26: _ebcdic("account status", 1),
    },
)

VISA_63 = Bitmapped(
    size=3,
    parts={
        1: Part(name="network identifier", size=2),
        2: Part(name="preauthorisation time limit", size=2),
        3: Part(name="message reason code", size=2),
        4: Part(name="stand-in reason code", size=2),
        6: _ebcdic("chargeback and representment data", 7),
        7: Part(name="network participation flags", size=8),
        8: Part(name="acquirer of a Visa card", size=4),
        9: _ebcdic("fraud data", 14),
        10: _ebcdic("gateway merchant data", 13),
        11: _ebcdic("reimbursement attribute", 1),
        12: _ebcdic("sharing group code", 30),
        13: Part(name="decimal positions", size=3),
        14: _ebcdic("issuer currency conversion data", 36),
        15: _ebcdic("settlement service data", 8),
        18: Part(name="merchant volume indicator", size=2),
        19: _ebcdic("fee program indicator", 3),
        21: _ebcdic("charge indicator", 1),
    },
)

VISA_126 = Bitmapped(
    size=8,
    parts={
        5: _ebcdic("merchant identifier", 8),
        6: Part(name="cardholder certificate serial number", size=17),
        7: Part(name="merchant certificate serial number", size=17),
        8: Part(name="3-D Secure transaction identifier", size=20),
        9: Part(name="cardholder authentication value", size=20, masking="hide"),
        10: Part(name="CVV2 and its presence", size=6, masking="hide"),
        12: Part(name="service indicators", size=3),
        13: _ebcdic("POS environment", 1),
        15: _ebcdic("Mastercard UCAF collection indicator", 1),
        16: Part(name="Mastercard UCAF", size=32, prefix=1, masking="hide"),
        18: Part(name="agent account result", size=12),
        19: _ebcdic("dynamic currency conversion indicator", 1),
        20: _ebcdic("3-D Secure indicator", 1),
    },
)

# Mastercard --------------------------------------------------------------------

MASTERCARD_48 = TagLength(
    tag=2,
    length=2,
    charset="cp500",
    lead=Part(name="transaction category code", size=1, charset="cp500"),
    names={
        "11": "key exchange data",
        "15": "authorisation system settlement date",
        "20": "cardholder verification method",
        "21": "acceptance data",
        "22": "multi-purpose merchant indicator",
        "23": "payment initiation channel",
        "26": "wallet program data",
        "27": "transaction analysis",
        "30": "token transaction identifier",
        "32": "Mastercard assigned identifier",
        "33": "PAN mapping file information",
        "34": "dynamic CVC 3 ATC information",
        "37": "additional merchant data",
        "38": "account category",
        "42": "electronic commerce indicators",
        "43": "universal cardholder authentication field",
        "48": "mobile program indicators",
        "52": "transaction integrity class",
        "61": "POS data, extended condition codes",
        "63": "trace identifier",
        "65": "terminal compliant indicator",
        "66": "authentication data",
        "71": "on-behalf services",
        "74": "additional processing information",
        "75": "fraud scoring data",
        "76": "Mastercard electronic acceptance indicator",
        "77": "payment transaction type indicator",
        "78": "payment account status",
        "79": "chip CVR or TVR bit errors",
        "80": "PIN service code",
        "82": "address verification request",
        "83": "address verification response",
        "84": "merchant advice code",
        "87": "card validation code result",
        "88": "magnetic stripe compliance indicator",
        "89": "magnetic stripe compliance error",
        "92": "CVC 2",
        "95": "promotion code",
        "98": "corporate fleet identifier",
        "99": "corporate fleet vehicle number",
    },
    hidden=frozenset({"11", "33", "43", "92"}),
)

_PDS_NAMES: Mapping[str, str] = {
    "0001": "Mastercard mapping service account number",
    "0002": "GCMS product identifier",
    "0003": "licensed product identifier",
    "0005": "message error indicator",
    "0015": "foreign exchange rate indicator",
    "0023": "terminal type",
    "0025": "message reversal indicator",
    "0052": "electronic commerce security level",
    "0105": "file identifier",
    "0122": "processing mode",
    "0146": "amounts, transaction fee",
    "0148": "currency exponents",
    "0149": "currency codes, original amounts",
    "0158": "business activity",
    "0159": "settlement data",
    "0165": "settlement indicator",
    "0173": "card acceptor transaction address",
    "0176": "Mastercard assigned identifier",
    "0177": "cross-border indicators",
    "0191": "originating message format",
    "0208": "payment facilitator",
    "0209": "independent sales organisation",
    "0210": "transit program",
    "0301": "file amount, checksum",
    "0306": "file message counts",
    "0358": "reconciled business activity",
    "0370": "reconciled account range",
    "0372": "reconciled transaction function",
    "0374": "reconciled processing code",
    "0378": "original or reversal totals",
    "0380": "debits, transaction amount",
    "0381": "credits, transaction amount",
    "0384": "amount, net transaction",
    "0390": "debits, reconciliation amount",
    "0391": "credits, reconciliation amount",
    "0394": "amount, net reconciliation",
    "0400": "debits, transaction number",
    "0401": "credits, transaction number",
    "0402": "total transaction number",
    "1000": "member to member data",
}

MASTERCARD_PDS = TagLength(tag=4, length=3, charset="cp500", names=_PDS_NAMES)
MASTERCARD_PDS_ASCII = TagLength(tag=4, length=3, names=_PDS_NAMES)

# Postilion ---------------------------------------------------------------------


def _text(name: str, size: int, prefix: int = 0) -> Part:
    return Part(name=name, size=size, prefix=prefix, charset="latin-1")


def _hidden(name: str, size: int, prefix: int = 0) -> Part:
    return Part(name=name, size=size, prefix=prefix, masking="hide")


POSTILION_127 = Bitmapped(
    size=8,
    coding="decimal",
    parts={
        2: _text("switch key", 32, 2),
        3: _text("routing information", 48),
        4: _text("POS data", 22),
        5: _text("service station data", 73),
        6: _text("authorisation profile", 2),
        7: _hidden("check data", 50, 2),
        8: _hidden("retention data", 999, 3),
        9: _hidden("additional node data", 255, 3),
        10: _hidden("CVV2", 3),
        11: _text("original key", 32, 2),
        12: _text("terminal owner", 25, 2),
        13: _text("POS geographic data", 17),
        14: _text("sponsor bank", 8),
        15: _hidden("address verification data", 29, 2),
        16: _text("address verification result", 1),
        17: _hidden("cardholder information", 50, 2),
        18: _hidden("validation data", 50, 2),
        19: _text("bank details", 31),
        20: _text("settlement date", 8),
        21: _text("record identification", 12, 2),
        22: Part(name="structured data", size=99999, prefix=5, inner=KeyValue()),
        23: _hidden("payee name and address", 253),
        24: _hidden("payer account", 28, 2),
        25: _hidden("chip data", 8000, 4),
        26: _text("original node", 12, 2),
        27: _text("card verification result", 1),
        28: _hidden("American Express card identifier", 4),
        29: _hidden("3-D Secure data", 40),
        30: _text("3-D Secure result", 1),
        31: _text("issuer network identifier", 11, 2),
        32: _hidden("UCAF data", 33, 2),
        33: _text("extended transaction type", 4),
        34: _text("account type qualifiers", 2),
        35: _text("acquirer network identifier", 11, 2),
        36: _hidden("customer identifier", 25, 2),
        37: _text("extended response code", 4),
        38: _text("additional POS data code", 99, 2),
        39: _text("original response code", 2),
    },
)

# Others ------------------------------------------------------------------------

ASCII_HOST_120 = TagLength(
    tag=2,
    length=3,
    names={"UD": "user data"},
    inner={
        "UD": TagLength(
            tag=2,
            length=3,
            names={"CI": "card indicators", "IR": "result", "CS": "card status"},
            inner={"CI": TagLength(tag=2, length=2, other="indicator")},
        )
    },
)

WAY4_48 = TagLength(
    tag=2, length=1, coding="binary", is_tag_binary=True, other="data element"
)

LAYOUTS: Mapping[tuple[str, int], Layout] = MappingProxyType(
    {
        ("cup-pos", 46): UNIONPAY_46,
        ("cup-pos", 53): UNIONPAY_53,
        ("cup-pos", 55): CHIP_DATA,
        ("cup-pos", 60): UNIONPAY_60,
        ("cup-pos", 61): UNIONPAY_61,
        ("cup-pos", 63): UNIONPAY_63,
        ("cups-interchange", 53): UNIONPAY_53,
        ("cups-interchange", 55): CHIP_DATA,
        ("cups-interchange", 104): UNIONPAY_INTERCHANGE_104,
        ("visa-vip-like", 55): VISA_55,
        ("visa-vip-like", 62): VISA_62,
        ("visa-vip-like", 63): VISA_63,
        ("visa-vip-like", 104): VISA_DATASETS,
        ("visa-vip-like", 123): VISA_DATASETS,
        ("visa-vip-like", 126): VISA_126,
        ("mastercard-cis-like", 48): MASTERCARD_48,
        ("mastercard-cis-like", 55): CHIP_DATA,
        **{
            ("mastercard-ipm-like", de): MASTERCARD_PDS
            for de in (48, 62, 123, 124, 125)
        },
        ("mastercard-ipm-like", 55): CHIP_DATA,
        **{
            ("mastercard-ipm-ascii-like", de): MASTERCARD_PDS_ASCII
            for de in (48, 62, 123, 124, 125)
        },
        ("mastercard-ipm-ascii-like", 55): CHIP_DATA,
        ("postilion-like", 127): POSTILION_127,
        ("ascii-host-like", 120): ASCII_HOST_120,
        ("way4-like", 48): WAY4_48,
        ("way4-like", 55): CHIP_DATA,
        ("iso87-bcd", 55): CHIP_DATA,
        ("iso93-bcd", 55): CHIP_DATA,
    }
)


def find_layout(dialect: str, de: int) -> Layout | None:
    """Find how a dialect cuts a field; None where the field has no parts.

    Examples
    --------
    >>> layout = find_layout("cup-pos", 60)
    >>> layout.decode("2200072700060", path="60").find("2")
    '000727'
    """
    return LAYOUTS.get((dialect, de))
