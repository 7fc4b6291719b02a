"""What a chip's cryptogram (ARQC) covers, by version, and the answer that it gets.

    91, method 1   ARPC 8, response code 2
    91, method 2   ARPC 4, card status update 4

The versions are those of ``hsm/functions/emv.py``. All of them cover amounts, country,
verification results, currency, date, type, unpredictable number, profile and counter;
they differ in what of the issuer application data (9F10) follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.emv.tlv import TlvList, primitive

# EMV Book 2, 8.1.1, in the order of the table there.
COVERED = ("9F02", "9F03", "9F1A", "95", "5F2A", "9A", "9C", "9F37", "82", "9F36")
# Visa's card verification results stand behind length, key index and version; those of
# M/Chip behind key index and version.
ISSUER_DATA: Mapping[str, slice] = {
    "visa-10": slice(3, 7),
    "visa-18": slice(None),
    "visa-22": slice(None),
    "mastercard-16": slice(2, 8),
    "mastercard-17": slice(2, None),
    "mastercard-20": slice(2, 8),
    "mastercard-21": slice(2, None),
}
"""What of 9F10 a cryptogram covers, by version."""

# Response code 00; a card status update that approves online, made in the issuer's
# place (EMV Common Core Definitions, table of the CSU).
APPROVED_METHOD_1, APPROVED_METHOD_2 = b"00", bytes.fromhex("00840000")
APPROVALS: Mapping[str, bytes] = {
    version: APPROVED_METHOD_2
    if version in {"visa-18", "visa-22"}
    else APPROVED_METHOD_1
    for version in ISSUER_DATA
}
"""What an approval tells the card, by version."""

_TYPE, _ARQC = 0xC0, 0x80
_LENGTHS = {"9F26": 8, "9F36": 2, "9F37": 4, "9F02": 6, "5F2A": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cryptogram:
    """A chip's request cryptogram, and all that it takes to verify it."""

    arqc: bytes
    atc: bytes
    unpredictable: bytes
    data: bytes
    sequence: str = "00"


def read_cryptogram(
    chip: TlvList, *, version: str, amount: Money, sequence: str = ""
) -> Cryptogram:
    """Read the cryptogram of a request over an amount.

    Parameters
    ----------
    sequence
        The PAN sequence number of the message, where the chip data have none.

    Raises
    ------
    DecodeError
        Something is missing, it is no request cryptogram, or it is over another
        amount.

    Examples
    --------
    >>> from isoswitch.codecs.emv.tlv import decode_tlv
    >>> chip = decode_tlv(bytes.fromhex(
    ...     "9F02060000000012509F03060000000000009F1A02027695050000000000"
    ...     "5F2A0209789A032606019C01009F3704010203048202390"
    ...     "09F360200019F2701809F10070601120390000"
    ...     "09F26081122334455667788"))
    >>> found = read_cryptogram(chip, version="visa-18", amount=Money(1250, "978"))
    >>> found.atc.hex(), found.data.hex()[-18:]
    ('0001', '000106011203900000')
    """
    values = {tag: _value(chip, tag) for tag in (*COVERED, "9F10", "9F26", "9F27")}
    if values["9F27"][0] & _TYPE != _ARQC:
        raise DecodeError("no cryptogram of a request", field="55.9F27")
    digits = values["9F02"].hex() + values["5F2A"].hex()
    if digits != f"{amount.minor:012}{amount.currency:0>4}":
        raise DecodeError("over another amount", field="55.9F02")
    issuer = values["9F10"][ISSUER_DATA[version]]
    number = chip.find("5F34")
    return Cryptogram(
        arqc=values["9F26"],
        atc=values["9F36"],
        unpredictable=values["9F37"],
        data=b"".join(values[tag] for tag in COVERED) + issuer,
        sequence=number.hex() if number else (sequence[-2:] or "00"),
    )


def write_answer(arpc: bytes, *, version: str) -> bytes:
    """Give the chip data of an approval: issuer authentication data (91).

    Examples
    --------
    >>> write_answer(bytes(4), version="visa-18").hex()
    '91080000000000840000'
    """
    return TlvList((primitive("91", arpc + APPROVALS[version]),)).encode()


def _value(chip: TlvList, tag: str) -> bytes:
    value = chip.find(tag)
    if not value or len(value) != _LENGTHS.get(tag, len(value)):
        raise DecodeError("missing, or of another length", field=f"55.{tag}")
    return value
