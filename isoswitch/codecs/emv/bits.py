"""Bit and code tables of EMV values, and their reading in words.

A table names each bit by byte and bit, byte 1 first and bit 8 the most significant,
as the specifications do. Only set bits are reported; a set bit without a name is
reported as reserved, because it may be news from the sender.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from isoswitch.codecs.emv.contactless import Scheme, explain_form_factor

Row = tuple[str, str]
BitTable = Mapping[str, str]

TVR: BitTable = MappingProxyType(
    {
        "1.8": "offline data authentication not performed",
        "1.7": "SDA failed",
        "1.6": "ICC data missing",
        "1.5": "card on terminal exception file",
        "1.4": "DDA failed",
        "1.3": "CDA failed",
        "1.2": "SDA selected",
        "2.8": "ICC and terminal have different application versions",
        "2.7": "expired application",
        "2.6": "application not yet effective",
        "2.5": "requested service not allowed",
        "2.4": "new card",
        "3.8": "cardholder verification not successful",
        "3.7": "unrecognised CVM",
        "3.6": "PIN try limit exceeded",
        "3.5": "PIN required, pad absent or not working",
        "3.4": "PIN required, pad present, PIN not entered",
        "3.3": "online PIN entered",
        "4.8": "floor limit exceeded",
        "4.7": "lower consecutive offline limit exceeded",
        "4.6": "upper consecutive offline limit exceeded",
        "4.5": "randomly selected for online",
        "4.4": "merchant forced online",
        "5.8": "default TDOL used",
        "5.7": "issuer authentication failed",
        "5.6": "script failed before final GENERATE AC",
        "5.5": "script failed after final GENERATE AC",
        "5.4": "relay resistance threshold exceeded",
        "5.3": "relay resistance time limits exceeded",
        "5.2": "relay resistance performed (bit 2)",
        "5.1": "relay resistance performed (bit 1)",
    }
)

_AIP_COMMON = {
    "1.7": "SDA supported",
    "1.6": "DDA supported",
    "1.5": "cardholder verification supported",
    "1.4": "terminal risk management to be performed",
    "1.3": "issuer authentication supported",
    "1.2": "on-device cardholder verification supported",
    "1.1": "CDA supported",
    "2.1": "relay resistance protocol supported",
}
AIP: BitTable = MappingProxyType(
    {**_AIP_COMMON, "1.8": "XDA supported", "2.8": "contactless EMV or MSD supported"}
)

TSI: BitTable = MappingProxyType(
    {
        "1.8": "offline data authentication performed",
        "1.7": "cardholder verification performed",
        "1.6": "card risk management performed",
        "1.5": "issuer authentication performed",
        "1.4": "terminal risk management performed",
        "1.3": "script processing performed",
    }
)

TERMINAL_CAPABILITIES: BitTable = MappingProxyType(
    {
        "1.8": "manual key entry",
        "1.7": "magnetic stripe",
        "1.6": "IC with contacts",
        "2.8": "plaintext PIN for ICC verification",
        "2.7": "enciphered PIN for online verification",
        "2.6": "signature",
        "2.5": "enciphered PIN for offline verification",
        "2.4": "no CVM required",
        "3.8": "SDA",
        "3.7": "DDA",
        "3.6": "card capture",
        "3.4": "CDA",
    }
)

ADDITIONAL_CAPABILITIES: BitTable = MappingProxyType(
    {
        "1.8": "cash",
        "1.7": "goods",
        "1.6": "services",
        "1.5": "cashback",
        "1.4": "inquiry",
        "1.3": "transfer",
        "1.2": "payment",
        "1.1": "administrative",
        "2.8": "cash deposit",
        "3.8": "numeric keys",
        "3.7": "alphabetic and special keys",
        "3.6": "command keys",
        "3.5": "function keys",
        "4.8": "print for the attendant",
        "4.7": "print for the cardholder",
        "4.6": "display for the attendant",
        "4.5": "display for the cardholder",
        "4.2": "code table 10",
        "4.1": "code table 9",
        **{f"5.{table}": f"code table {table}" for table in range(1, 9)},
    }
)

USAGE_CONTROL: BitTable = MappingProxyType(
    {
        "1.8": "domestic cash",
        "1.7": "international cash",
        "1.6": "domestic goods",
        "1.5": "international goods",
        "1.4": "domestic services",
        "1.3": "international services",
        "1.2": "ATMs",
        "1.1": "terminals other than ATMs",
        "2.8": "domestic cashback",
        "2.7": "international cashback",
    }
)

TTQ: BitTable = MappingProxyType(
    {
        "1.8": "MSD supported",
        "1.6": "contactless EMV (qVSDC) supported",
        "1.5": "EMV contact chip supported",
        "1.4": "offline-only reader",
        "1.3": "online PIN supported",
        "1.2": "signature supported",
        "1.1": "offline data authentication for online authorisations supported",
        "2.8": "online cryptogram required",
        "2.7": "CVM required",
        "2.6": "contact chip offline PIN supported",
        "3.8": "issuer update processing supported",
        "3.7": "consumer device CVM supported",
    }
)

CTQ: BitTable = MappingProxyType(
    {
        "1.8": "online PIN required",
        "1.7": "signature required",
        "1.6": "go online if offline data authentication fails",
        "1.5": "switch interface if offline data authentication fails",
        "1.4": "go online if the application is expired",
        "1.3": "switch interface for cash",
        "1.2": "switch interface for cashback",
        "2.8": "consumer device CVM performed",
        "2.7": "card supports issuer update processing",
    }
)

TERMINAL_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "11": "financial institution, attended, online only",
        "12": "financial institution, attended, offline with online",
        "13": "financial institution, attended, offline only",
        "14": "financial institution, unattended, online only",
        "15": "financial institution, unattended, offline with online",
        "16": "financial institution, unattended, offline only",
        "21": "merchant, attended, online only",
        "22": "merchant, attended, offline with online",
        "23": "merchant, attended, offline only",
        "24": "merchant, unattended, online only",
        "25": "merchant, unattended, offline with online",
        "26": "merchant, unattended, offline only",
        "34": "cardholder operated, online only",
        "35": "cardholder operated, offline with online",
        "36": "cardholder operated, offline only",
    }
)

CVM_METHODS: Mapping[int, str] = MappingProxyType(
    {
        0x00: "fail CVM processing",
        0x01: "plaintext PIN verified by the card",
        0x02: "enciphered PIN verified online",
        0x03: "plaintext PIN verified by the card, and signature",
        0x04: "enciphered PIN verified by the card",
        0x05: "enciphered PIN verified by the card, and signature",
        0x06: "facial biometric verified by the card",
        0x07: "facial biometric verified online",
        0x08: "finger biometric verified by the card",
        0x09: "finger biometric verified online",
        0x0A: "palm biometric verified by the card",
        0x0B: "palm biometric verified online",
        0x0C: "iris biometric verified by the card",
        0x0D: "iris biometric verified online",
        0x0E: "voice biometric verified by the card",
        0x0F: "voice biometric verified online",
        0x1E: "signature",
        0x1F: "no CVM required",
        0x3F: "no CVM performed",
        **dict.fromkeys(range(32, 48), "payment system's own method"),
        **dict.fromkeys(range(48, 63), "issuer's own method"),
    }
)

CVM_CONDITIONS: Mapping[int, str] = MappingProxyType(
    {
        0x00: "always",
        0x01: "unattended cash",
        0x02: "neither cash nor cashback",
        0x03: "terminal supports the method",
        0x04: "manual cash",
        0x05: "purchase with cashback",
        0x06: "application currency, under amount X",
        0x07: "application currency, over amount X",
        0x08: "application currency, under amount Y",
        0x09: "application currency, over amount Y",
    }
)

CVM_OUTCOMES: Mapping[int, str] = MappingProxyType(
    {0: "unknown", 1: "failed", 2: "successful"}
)

CRYPTOGRAM_TYPES = (
    "AAC: declined",
    "TC: approved offline",
    "ARQC: asks the issuer",
    "reserved",
)
CID_REASONS = (
    "no reason given",
    "service not allowed",
    "PIN try limit exceeded",
    "issuer authentication failed",
)

TRANSACTION_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "00": "goods and services",
        "01": "cash",
        "09": "goods and services with cashback",
        "20": "refund",
        "31": "balance inquiry",
    }
)

RESPONSE_CODES: Mapping[str, str] = MappingProxyType(
    {
        "00": "approved online",
        "05": "declined online",
        "Y1": "approved offline",
        "Z1": "declined offline",
        "Y2": "approved after referral",
        "Z2": "declined after referral",
        "Y3": "could not go online, approved offline",
        "Z3": "could not go online, declined offline",
    }
)

MOBILE_CVM: tuple[Mapping[int, str], ...] = (
    MappingProxyType({0x01: "mobile CVM performed", 0x3F: "no CVM performed"}),
    MappingProxyType({0x00: "not required", 0x03: "terminal required CVM"}),
    MappingProxyType(
        {0x00: "unknown", 0x01: "failed", 0x02: "successful", 0x03: "blocked"}
    ),
)

# Issuer and terminal action codes select bits of the TVR.
_BIT_TABLES: Mapping[str, tuple[int, BitTable]] = MappingProxyType(
    {
        "82": (2, AIP),
        "95": (5, TVR),
        "9B": (2, TSI),
        "9F07": (2, USAGE_CONTROL),
        "9F0D": (5, TVR),
        "9F0E": (5, TVR),
        "9F0F": (5, TVR),
        "9F33": (3, TERMINAL_CAPABILITIES),
        "9F40": (5, ADDITIONAL_CAPABILITIES),
        "DF8120": (5, TVR),
        "DF8121": (5, TVR),
        "DF8122": (5, TVR),
    }
)

# Bit tables of tags that mean something else to other schemes.
_SCHEME_BIT_TABLES: Mapping[tuple[str, Scheme], tuple[int, BitTable]] = (
    MappingProxyType(
        {
            ("82", Scheme.VISA): (2, {**_AIP_COMMON, "2.8": "MSD supported"}),
            ("82", Scheme.MASTERCARD): (
                2,
                {**_AIP_COMMON, "2.8": "EMV mode supported"},
            ),
            ("82", Scheme.AMEX): (2, {**_AIP_COMMON, "2.7": "mobile device"}),
            ("9F66", Scheme.VISA): (4, TTQ),
            ("9F66", Scheme.UNIONPAY): (4, TTQ),
            ("9F66", Scheme.DISCOVER): (4, TTQ),
            ("9F66", Scheme.JCB): (4, TTQ),
            ("9F6C", Scheme.VISA): (2, CTQ),
            ("9F6C", Scheme.UNIONPAY): (2, CTQ),
        }
    )
)


def explain_value(tag: str, value: bytes, scheme: Scheme | None = None) -> list[Row]:
    """Say in words what the bits and codes of a value mean.

    Returns
    -------
    list of (place, meaning)
        Empty where no table covers the tag or the value has another size.

    Examples
    --------
    >>> explain_value("95", bytes.fromhex("8000048000"))
    [('byte 1 bit 8', 'offline data authentication not performed'), ('byte 3 bit 3', \
'online PIN entered'), ('byte 4 bit 8', 'floor limit exceeded')]
    >>> explain_value("9F27", b"\\x80")
    [('bits 8-7', 'ARQC: asks the issuer')]
    """
    table = scheme and _SCHEME_BIT_TABLES.get((tag, scheme))
    size, names = table or _BIT_TABLES.get(tag, (-1, {}))
    if size == len(value):
        return explain_bits(names, value)
    reader = _READERS.get(tag)
    return reader(value, scheme) if reader else []


def explain_bits(names: BitTable, value: bytes) -> list[Row]:
    """Name each set bit, from the first byte and its highest bit on.

    Examples
    --------
    >>> explain_bits(TSI, bytes.fromhex("8001"))
    [('byte 1 bit 8', 'offline data authentication performed'), \
('byte 2 bit 1', 'reserved')]
    """
    return [
        (f"byte {byte} bit {bit}", names.get(f"{byte}.{bit}", "reserved"))
        for byte, octet in enumerate(value, start=1)
        for bit in range(8, 0, -1)
        if octet >> (bit - 1) & 1
    ]


def _explain_cvm_results(value: bytes, scheme: Scheme | None) -> list[Row]:
    if len(value) != 3:
        return []
    method, condition, outcome = value
    rows = [*_explain_cvm_rule(method, condition)]
    if scheme is Scheme.MASTERCARD and method & 0x3F == 0x01 and outcome == 0x02:
        rows[0] = (rows[0][0], "consumer device CVM (contactless)")
    return [*rows, ("byte 3", CVM_OUTCOMES.get(outcome, "reserved"))]


def _explain_cvm_rule(method: int, condition: int) -> list[Row]:
    after = "try the next rule if it fails" if method & 0x40 else "fail if it fails"
    return [
        ("byte 1", CVM_METHODS.get(method & 0x3F, "reserved")),
        ("byte 1 bit 7", after),
        ("byte 2", CVM_CONDITIONS.get(condition, "reserved")),
    ]


def _explain_cvm_list(value: bytes, scheme: Scheme | None) -> list[Row]:
    del scheme
    if len(value) < 10 or len(value) % 2:
        return []
    rows = [
        ("amount X", str(int.from_bytes(value[:4]))),
        ("amount Y", str(int.from_bytes(value[4:8]))),
    ]
    for rule, start in enumerate(range(8, len(value), 2), start=1):
        method, after, condition = _explain_cvm_rule(value[start], value[start + 1])
        rows.append((f"rule {rule}", f"{method[1]}; {condition[1]}; {after[1]}"))
    return rows


def _explain_cryptogram_information(value: bytes, scheme: Scheme | None) -> list[Row]:
    del scheme
    if len(value) != 1:
        return []
    rows = [("bits 8-7", CRYPTOGRAM_TYPES[value[0] >> 6])]
    if value[0] & 0x08:
        rows.append(("bit 4", "advice required"))
    if reason := value[0] & 0x07:
        named = CID_REASONS[reason] if reason < len(CID_REASONS) else "reserved"
        rows.append(("bits 3-1", named))
    return rows


def _explain_terminal_type(value: bytes, scheme: Scheme | None) -> list[Row]:
    del scheme
    return [("code", TERMINAL_TYPES.get(value.hex(), "reserved"))]


def _explain_transaction_type(value: bytes, scheme: Scheme | None) -> list[Row]:
    del scheme
    return [("code", TRANSACTION_TYPES.get(value.hex(), "other"))]


def _explain_response_code(value: bytes, scheme: Scheme | None) -> list[Row]:
    del scheme
    code = value.decode("ascii", "replace")
    return [("code", RESPONSE_CODES.get(code, "the issuer's own code"))]


def _explain_device(value: bytes, scheme: Scheme | None) -> list[Row]:
    form_factor = explain_form_factor(value, scheme)
    return [("device", form_factor)] if form_factor else []


def _explain_mobile_cvm(value: bytes, scheme: Scheme | None) -> list[Row]:
    if scheme is not Scheme.AMEX or len(value) != len(MOBILE_CVM):
        return []
    return [
        (f"byte {place}", table.get(octet, "reserved"))
        for place, (table, octet) in enumerate(
            zip(MOBILE_CVM, value, strict=True), start=1
        )
    ]


_READERS: Mapping[str, Callable[[bytes, Scheme | None], list[Row]]] = MappingProxyType(
    {
        "8A": _explain_response_code,
        "8E": _explain_cvm_list,
        "9C": _explain_transaction_type,
        "9F27": _explain_cryptogram_information,
        "9F34": _explain_cvm_results,
        "9F35": _explain_terminal_type,
        "9F6E": _explain_device,
        "9F71": _explain_mobile_cvm,
    }
)
