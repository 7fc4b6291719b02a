"""The EMV tag dictionary: what each tag is called, who sets it, and its form.

Tags whose meaning depends on the card scheme carry a neutral name here;
:mod:`isoswitch.codecs.emv.contactless` tells them apart by the application identifier.
The forms are those of EMV Book 3, Annex A:

    n         packed digits, padded left with zeros
    cn        packed digits, padded right with F
    an, ans   text
    b         bytes
    template  nested objects
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Tag(NamedTuple):
    """What the dictionary knows about one tag; sizes are in bytes."""

    name: str
    source: str
    form: str
    size_min: int
    size_max: int


TAGS: Mapping[str, Tag] = MappingProxyType(
    {
        "41": Tag("Country Code and National Data", "card", "b", 0, 252),
        "42": Tag("Issuer Identification Number (IIN)", "card", "n", 3, 3),
        "4F": Tag("Application Dedicated File (ADF) Name", "card", "b", 5, 16),
        "50": Tag("Application Label", "card", "ans", 1, 16),
        "56": Tag("Track 1 Data", "card", "ans", 0, 76),
        "57": Tag("Track 2 Equivalent Data", "card", "b", 1, 19),
        "5A": Tag("Application Primary Account Number (PAN)", "card", "cn", 4, 10),
        "61": Tag("Application Template", "card", "template", 1, 252),
        "62": Tag(
            "Common Data Template (consumer QR code)", "device", "template", 0, 252
        ),
        "63": Tag(
            "Application Specific Transparent Template (consumer QR code)",
            "device",
            "template",
            0,
            252,
        ),
        "64": Tag(
            "Common Data Transparent Template (consumer QR code)",
            "device",
            "template",
            0,
            252,
        ),
        "6F": Tag(
            "File Control Information (FCI) Template", "card", "template", 1, 252
        ),
        "70": Tag("READ RECORD Response Message Template", "card", "template", 1, 252),
        "71": Tag("Issuer Script Template 1", "issuer", "template", 0, 255),
        "72": Tag("Issuer Script Template 2", "issuer", "template", 0, 255),
        "73": Tag("Directory Discretionary Template", "card", "template", 1, 252),
        "77": Tag("Response Message Template Format 2", "card", "template", 0, 255),
        "80": Tag("Response Message Template Format 1", "card", "b", 0, 255),
        "81": Tag("Amount, Authorised (Binary)", "terminal", "b", 4, 4),
        "82": Tag("Application Interchange Profile", "card", "b", 2, 2),
        "83": Tag("Command Template", "terminal", "b", 0, 255),
        "84": Tag("Dedicated File (DF) Name", "card", "b", 5, 16),
        "85": Tag("Payload Format Indicator (consumer QR code)", "device", "an", 5, 5),
        "86": Tag("Issuer Script Command", "issuer", "b", 1, 261),
        "87": Tag("Application Priority Indicator", "card", "b", 1, 1),
        "88": Tag("Short File Identifier (SFI)", "card", "b", 1, 1),
        "89": Tag("Authorisation Code", "issuer", "b", 6, 6),
        "8A": Tag("Authorisation Response Code", "issuer", "an", 2, 2),
        "8C": Tag(
            "Card Risk Management Data Object List 1 (CDOL1)", "card", "b", 1, 252
        ),
        "8D": Tag(
            "Card Risk Management Data Object List 2 (CDOL2)", "card", "b", 1, 252
        ),
        "8E": Tag("Cardholder Verification Method (CVM) List", "card", "b", 10, 252),
        "8F": Tag("Certification Authority Public Key Index", "card", "b", 1, 1),
        "90": Tag("Issuer Public Key Certificate", "card", "b", 0, 255),
        "91": Tag("Issuer Authentication Data", "issuer", "b", 8, 16),
        "92": Tag("Issuer Public Key Remainder", "card", "b", 0, 255),
        "93": Tag("Signed Static Application Data", "card", "b", 0, 255),
        "94": Tag("Application File Locator (AFL)", "card", "b", 0, 252),
        "95": Tag("Terminal Verification Results", "terminal", "b", 5, 5),
        "97": Tag(
            "Transaction Certificate Data Object List (TDOL)", "card", "b", 1, 252
        ),
        "98": Tag("Transaction Certificate (TC) Hash Value", "terminal", "b", 20, 20),
        "99": Tag(
            "Transaction Personal Identification Number (PIN) Data",
            "terminal",
            "b",
            0,
            255,
        ),
        "9A": Tag("Transaction Date", "terminal", "n", 3, 3),
        "9B": Tag("Transaction Status Information", "terminal", "b", 2, 2),
        "9C": Tag("Transaction Type", "terminal", "n", 1, 1),
        "9D": Tag("Directory Definition File (DDF) Name", "card", "b", 5, 16),
        "A5": Tag(
            "File Control Information (FCI) Proprietary Template",
            "card",
            "template",
            0,
            255,
        ),
        "5F20": Tag("Cardholder Name", "card", "ans", 2, 26),
        "5F24": Tag("Application Expiration Date", "card", "n", 3, 3),
        "5F25": Tag("Application Effective Date", "card", "n", 3, 3),
        "5F28": Tag("Issuer Country Code", "card", "n", 2, 2),
        "5F2A": Tag("Transaction Currency Code", "terminal", "n", 2, 2),
        "5F2D": Tag("Language Preference", "card", "an", 2, 8),
        "5F30": Tag("Service Code", "card", "n", 2, 2),
        "5F34": Tag(
            "Application Primary Account Number (PAN) Sequence Number",
            "card",
            "n",
            1,
            1,
        ),
        "5F36": Tag("Transaction Currency Exponent", "terminal", "n", 1, 1),
        "5F50": Tag("Issuer URL", "card", "ans", 0, 255),
        "5F53": Tag("International Bank Account Number (IBAN)", "card", "b", 1, 34),
        "5F54": Tag("Bank Identifier Code (BIC)", "card", "b", 8, 11),
        "5F55": Tag("Issuer Country Code (alpha2 format)", "card", "a", 2, 2),
        "5F56": Tag("Issuer Country Code (alpha3 format)", "card", "a", 3, 3),
        "5F57": Tag("Account Type", "terminal", "n", 1, 1),
        "9F01": Tag("Acquirer Identifier", "terminal", "n", 6, 6),
        "9F02": Tag("Amount, Authorised (Numeric)", "terminal", "n", 6, 6),
        "9F03": Tag("Amount, Other (Numeric)", "terminal", "n", 6, 6),
        "9F04": Tag("Amount, Other (Binary)", "terminal", "b", 4, 4),
        "9F05": Tag("Application Discretionary Data", "card", "b", 1, 32),
        "9F06": Tag("Application Identifier (AID) - terminal", "terminal", "b", 5, 16),
        "9F07": Tag("Application Usage Control", "card", "b", 2, 2),
        "9F08": Tag("Application Version Number (ICC)", "card", "b", 2, 2),
        "9F09": Tag("Application Version Number (Terminal)", "terminal", "b", 2, 2),
        "9F0A": Tag(
            "Application Selection Registered Proprietary Data", "card", "b", 0, 255
        ),
        "9F0B": Tag("Cardholder Name Extended", "card", "ans", 27, 45),
        "9F0C": Tag("Issuer Identification Number Extended (IINE)", "card", "n", 3, 4),
        "9F0D": Tag("Issuer Action Code - Default", "card", "b", 5, 5),
        "9F0E": Tag("Issuer Action Code - Denial", "card", "b", 5, 5),
        "9F0F": Tag("Issuer Action Code - Online", "card", "b", 5, 5),
        "9F10": Tag("Issuer Application Data", "card", "b", 1, 32),
        "9F11": Tag("Issuer Code Table Index", "card", "n", 1, 1),
        "9F12": Tag("Application Preferred Name", "card", "ans", 1, 16),
        "9F13": Tag(
            "Last Online Application Transaction Counter (ATC) Register",
            "card",
            "b",
            2,
            2,
        ),
        "9F14": Tag("Lower Consecutive Offline Limit", "card", "b", 1, 1),
        "9F15": Tag("Merchant Category Code", "terminal", "n", 2, 2),
        "9F16": Tag("Merchant Identifier", "terminal", "ans", 15, 15),
        "9F17": Tag(
            "Personal Identification Number (PIN) Try Counter", "card", "b", 1, 1
        ),
        "9F18": Tag("Issuer Script Identifier", "issuer", "b", 4, 4),
        "9F19": Tag("Token Requestor ID", "card", "n", 6, 6),
        "9F1A": Tag("Terminal Country Code", "terminal", "n", 2, 2),
        "9F1B": Tag("Terminal Floor Limit", "terminal", "b", 4, 4),
        "9F1C": Tag("Terminal Identification", "terminal", "an", 8, 8),
        "9F1D": Tag("Terminal Risk Management Data", "terminal", "b", 1, 8),
        "9F1E": Tag("Interface Device (IFD) Serial Number", "terminal", "an", 8, 8),
        "9F1F": Tag("Track 1 Discretionary Data", "card", "ans", 0, 255),
        "9F20": Tag("Track 2 Discretionary Data", "card", "cn", 0, 255),
        "9F21": Tag("Transaction Time", "terminal", "n", 3, 3),
        "9F22": Tag("Certification Authority Public Key Index", "terminal", "b", 1, 1),
        "9F23": Tag("Upper Consecutive Offline Limit", "card", "b", 1, 1),
        "9F24": Tag("Payment Account Reference (PAR)", "card", "an", 29, 29),
        "9F25": Tag("Last 4 digits of PAN", "card", "n", 2, 2),
        "9F26": Tag("Application Cryptogram", "card", "b", 8, 8),
        "9F27": Tag("Cryptogram Information Data", "card", "b", 1, 1),
        "9F29": Tag("Extended Selection", "card", "b", 0, 255),
        "9F2A": Tag("Kernel Identifier", "card", "b", 1, 8),
        "9F2D": Tag(
            "Integrated Circuit Card (ICC) PIN Encipherment Public Key Certificate",
            "card",
            "b",
            0,
            255,
        ),
        "9F2E": Tag(
            "Integrated Circuit Card (ICC) PIN Encipherment Public Key Exponent",
            "card",
            "b",
            1,
            3,
        ),
        "9F2F": Tag(
            "Integrated Circuit Card (ICC) PIN Encipherment Public Key Remainder",
            "card",
            "b",
            0,
            255,
        ),
        "9F32": Tag("Issuer Public Key Exponent", "card", "b", 1, 3),
        "9F33": Tag("Terminal Capabilities", "terminal", "b", 3, 3),
        "9F34": Tag(
            "Cardholder Verification Method (CVM) Results", "terminal", "b", 3, 3
        ),
        "9F35": Tag("Terminal Type", "terminal", "n", 1, 1),
        "9F36": Tag("Application Transaction Counter (ATC)", "card", "b", 2, 2),
        "9F37": Tag("Unpredictable Number", "terminal", "b", 4, 4),
        "9F38": Tag("Processing Options Data Object List (PDOL)", "card", "b", 0, 255),
        "9F39": Tag("Point-of-Service (POS) Entry Mode", "terminal", "n", 1, 1),
        "9F3A": Tag("Amount, Reference Currency", "terminal", "b", 4, 4),
        "9F3B": Tag("Application Reference Currency", "card", "n", 2, 8),
        "9F3C": Tag("Transaction Reference Currency Code", "terminal", "n", 2, 2),
        "9F3D": Tag("Transaction Reference Currency Exponent", "terminal", "n", 1, 1),
        "9F40": Tag("Additional Terminal Capabilities", "terminal", "b", 5, 5),
        "9F41": Tag("Transaction Sequence Counter", "terminal", "n", 2, 4),
        "9F42": Tag("Application Currency Code", "card", "n", 2, 2),
        "9F43": Tag("Application Reference Currency Exponent", "card", "n", 1, 4),
        "9F44": Tag("Application Currency Exponent", "card", "n", 1, 1),
        "9F45": Tag("Data Authentication Code", "card", "b", 2, 2),
        "9F46": Tag(
            "Integrated Circuit Card (ICC) Public Key Certificate", "card", "b", 0, 255
        ),
        "9F47": Tag(
            "Integrated Circuit Card (ICC) Public Key Exponent", "card", "b", 1, 3
        ),
        "9F48": Tag(
            "Integrated Circuit Card (ICC) Public Key Remainder", "card", "b", 0, 255
        ),
        "9F49": Tag(
            "Dynamic Data Authentication Data Object List (DDOL)", "card", "b", 1, 252
        ),
        "9F4A": Tag("Static Data Authentication Tag List", "card", "b", 0, 255),
        "9F4B": Tag("Signed Dynamic Application Data", "card", "b", 0, 255),
        "9F4C": Tag("ICC Dynamic Number", "card", "b", 2, 8),
        "9F4D": Tag("Log Entry", "card", "b", 2, 2),
        "9F4E": Tag("Merchant Name and Location", "terminal", "ans", 0, 255),
        "9F4F": Tag("Log Format", "card", "b", 0, 255),
        "9F50": Tag("Offline Accumulator Balance", "card", "n", 6, 6),
        "9F51": Tag("Application Currency Code (proprietary)", "card", "b", 0, 252),
        "9F52": Tag("Application Default Action", "card", "b", 0, 252),
        "9F53": Tag(
            "Transaction category code or consecutive limit (by scheme)",
            "terminal",
            "b",
            1,
            3,
        ),
        "9F54": Tag("Cumulative Total Transaction Amount Limit", "card", "b", 0, 252),
        "9F55": Tag("Geographic Indicator", "card", "b", 0, 252),
        "9F56": Tag("Issuer Authentication Indicator", "card", "b", 0, 252),
        "9F57": Tag("Issuer Country Code (proprietary)", "card", "b", 0, 252),
        "9F58": Tag(
            "Lower Consecutive Offline Limit (proprietary)", "card", "b", 0, 252
        ),
        "9F59": Tag(
            "Upper Consecutive Offline Limit (proprietary)", "card", "b", 0, 252
        ),
        "9F5A": Tag("Application Program Identifier (Visa)", "card", "b", 1, 16),
        "9F5B": Tag("Issuer Script Results", "terminal", "b", 0, 252),
        "9F5C": Tag(
            "Cumulative total transaction amount upper limit", "card", "n", 6, 6
        ),
        "9F5D": Tag(
            "Offline spending amount or application capabilities (by scheme)",
            "card",
            "b",
            3,
            6,
        ),
        "9F5E": Tag("Data Storage Identifier (Mastercard)", "card", "b", 8, 11),
        "9F5F": Tag("DS slot availability", "card", "b", 1, 6),
        "9F60": Tag("CVC3 track 1", "card", "b", 2, 2),
        "9F61": Tag(
            "CVC3 track 2 or cardholder identifier (by scheme)", "card", "b", 2, 40
        ),
        "9F62": Tag("PCVC3 track 1 or identifier type (by scheme)", "card", "b", 1, 6),
        "9F63": Tag(
            "PUNATC track 1 or product identification (by scheme)", "card", "b", 6, 16
        ),
        "9F64": Tag("NATC track 1", "card", "b", 1, 1),
        "9F65": Tag("PCVC3 track 2", "card", "b", 2, 2),
        "9F66": Tag(
            "Terminal transaction qualifiers or PUNATC track 2 (by scheme)",
            "terminal",
            "b",
            2,
            4,
        ),
        "9F67": Tag("NATC track 2 or MSD offset (by scheme)", "card", "b", 1, 1),
        "9F68": Tag("Card additional processes", "card", "b", 0, 252),
        "9F69": Tag("Card authentication related data or UDOL", "card", "b", 3, 16),
        "9F6A": Tag("Unpredictable Number (Numeric)", "terminal", "n", 4, 4),
        "9F6B": Tag("Track 2 data or card CVM limit (by scheme)", "card", "b", 0, 19),
        "9F6C": Tag(
            "Card transaction qualifiers or stripe application version (by scheme)",
            "card",
            "b",
            2,
            2,
        ),
        "9F6D": Tag(
            "Reader capabilities or stripe application version (by scheme)",
            "terminal",
            "b",
            1,
            6,
        ),
        "9F6E": Tag(
            "Form factor, third party data or reader capabilities (by scheme)",
            "card",
            "b",
            4,
            32,
        ),
        "9F6F": Tag("DS slot management control", "card", "b", 1, 1),
        "9F70": Tag(
            "Protected data envelope 1 or card interface capabilities (by scheme)",
            "card",
            "b",
            0,
            192,
        ),
        "9F71": Tag(
            "Protected data envelope 2 or mobile CVM results (by scheme)",
            "card",
            "b",
            0,
            192,
        ),
        "9F72": Tag(
            "Protected data envelope 3 or consecutive limit (by scheme)",
            "card",
            "b",
            0,
            192,
        ),
        "9F73": Tag(
            "Protected data envelope 4 or currency conversion (by scheme)",
            "card",
            "b",
            0,
            192,
        ),
        "9F74": Tag(
            "Protected data envelope 5 or issuer authorisation code (by scheme)",
            "card",
            "b",
            0,
            192,
        ),
        "9F75": Tag("Unprotected data envelope 1", "card", "b", 0, 192),
        "9F76": Tag("Unprotected data envelope 2", "card", "b", 0, 192),
        "9F77": Tag(
            "Unprotected data envelope 3 or balance limit (by scheme)",
            "card",
            "b",
            0,
            192,
        ),
        "9F78": Tag("Unprotected data envelope 4", "card", "b", 0, 192),
        "9F79": Tag(
            "Unprotected data envelope 5 or available balance (by scheme)",
            "card",
            "b",
            0,
            192,
        ),
        "9F7A": Tag("Electronic cash terminal indicator", "terminal", "n", 1, 1),
        "9F7B": Tag(
            "Electronic cash terminal transaction limit", "terminal", "n", 6, 6
        ),
        "9F7C": Tag(
            "Customer exclusive or merchant custom data (by scheme)", "card", "b", 0, 32
        ),
        "9F7D": Tag(
            "Application specific template or DS summary 1 (by scheme)",
            "card",
            "b",
            0,
            252,
        ),
        "9F7E": Tag("Mobile Support Indicator (Mastercard)", "terminal", "b", 1, 1),
        "9F7F": Tag(
            "Card production life cycle or DS unpredictable number (by scheme)",
            "card",
            "b",
            4,
            42,
        ),
        "BF0C": Tag(
            "File Control Information (FCI) Issuer Discretionary Data",
            "card",
            "template",
            1,
            222,
        ),
        "DF31": Tag("UnionPay issuer script results in DE55", "terminal", "b", 0, 255),
        "DF32": Tag("UnionPay chip serial number", "terminal", "b", 0, 255),
        "DF33": Tag("UnionPay session key data", "terminal", "b", 0, 255),
        "DF34": Tag("UnionPay terminal reading time", "terminal", "b", 0, 255),
        "DF4B": Tag("POS Cardholder Interaction Information", "card", "b", 3, 3),
        "DF60": Tag("DS input (card)", "terminal", "b", 8, 8),
        "DF61": Tag("DS digest H", "kernel", "b", 8, 8),
        "DF62": Tag("DS ODS info", "terminal", "b", 1, 1),
        "DF63": Tag("DS ODS term", "terminal", "b", 0, 160),
        "FF00": Tag("UnionPay signature slip: merchant name", "terminal", "b", 0, 252),
        "FF01": Tag(
            "UnionPay signature slip: transaction name", "terminal", "b", 0, 252
        ),
        "FF02": Tag("UnionPay signature slip: operator", "terminal", "b", 0, 252),
        "FF06": Tag("UnionPay signature slip: date and time", "terminal", "b", 0, 252),
        "DF8104": Tag("Balance read before GENERATE AC", "kernel", "n", 6, 6),
        "DF8105": Tag("Balance read after GENERATE AC", "kernel", "n", 6, 6),
        "DF8106": Tag("Data needed", "kernel", "b", 0, 252),
        "DF8107": Tag("CDOL1 related data", "kernel", "b", 0, 252),
        "DF810C": Tag("Kernel ID", "terminal", "b", 1, 1),
        "DF810D": Tag("DSVN term", "terminal", "b", 0, 252),
        "DF810E": Tag("Post GENERATE AC put data status", "kernel", "b", 1, 1),
        "DF810F": Tag("Pre GENERATE AC put data status", "kernel", "b", 1, 1),
        "DF8110": Tag("Proceed to first write flag", "terminal", "b", 1, 1),
        "DF8111": Tag("PDOL related data", "kernel", "b", 0, 252),
        "DF8112": Tag("Tags to read", "terminal", "b", 0, 252),
        "DF8113": Tag("DRDOL related data", "kernel", "b", 0, 252),
        "DF8114": Tag("Reference control parameter", "kernel", "b", 1, 1),
        "DF8115": Tag("Error indication", "kernel", "b", 6, 6),
        "DF8116": Tag("User interface request data", "kernel", "b", 22, 22),
        "DF8117": Tag("Card data input capability", "terminal", "b", 1, 1),
        "DF8118": Tag("CVM capability, CVM required", "terminal", "b", 1, 1),
        "DF8119": Tag("CVM capability, no CVM required", "terminal", "b", 1, 1),
        "DF811A": Tag("Default UDOL", "terminal", "b", 3, 3),
        "DF811B": Tag("Kernel configuration", "terminal", "b", 1, 1),
        "DF811C": Tag(
            "Maximum lifetime of torn transaction log record", "terminal", "b", 2, 2
        ),
        "DF811D": Tag(
            "Maximum number of torn transaction log records", "terminal", "b", 1, 1
        ),
        "DF811E": Tag("Mag-stripe CVM capability, CVM required", "terminal", "b", 1, 1),
        "DF811F": Tag("Security capability", "terminal", "b", 1, 1),
        "DF8120": Tag("Terminal action code, default", "terminal", "b", 5, 5),
        "DF8121": Tag("Terminal action code, denial", "terminal", "b", 5, 5),
        "DF8122": Tag("Terminal action code, online", "terminal", "b", 5, 5),
        "DF8123": Tag("Reader contactless floor limit", "terminal", "n", 6, 6),
        "DF8124": Tag(
            "Reader contactless transaction limit, no on-device CVM",
            "terminal",
            "n",
            6,
            6,
        ),
        "DF8125": Tag(
            "Reader contactless transaction limit, on-device CVM", "terminal", "n", 6, 6
        ),
        "DF8126": Tag("Reader CVM required limit", "terminal", "n", 6, 6),
        "DF8129": Tag("Outcome Parameter Set", "kernel", "b", 8, 8),
        "DF812C": Tag(
            "Mag-stripe CVM capability, no CVM required", "terminal", "b", 1, 1
        ),
        "FF8105": Tag("Data Record", "kernel", "template", 0, 255),
        "FF8106": Tag("Discretionary Data", "kernel", "template", 0, 255),
    }
)

# Never shown in clear, whoever asks: tracks, card numbers, names and PIN data.
NEVER_IN_CLEAR = frozenset(
    {
        "56",
        "57",
        "5A",
        "5F20",
        "99",
        "9F0B",
        "9F1F",
        "9F20",
        "9F6B",
    }
)
