"""Where payment codes stand in a message, by dialect.

The standard has no field for it, so each layout puts it into one that is private. Only
a message without a card number, whose DE 22 tells of a bar code or QR code, carries
one: a payer's, which the merchant has scanned. A terminal that wants a code to show
may say there how many seconds it is to be paid in, and the answer brings what the code
says. A layout that is not named here carries none.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.canonical.secrets import ScannedCode
from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.codecs.dialects.edition import Fields, Values
from isoswitch.codecs.iso8583.spec import FieldSpec

VALIDITY_DIGITS_MAX = 8

CODE_FIELDS: Mapping[str, int] = MappingProxyType(
    {
        "iso87-ascii": 62,
        "iso87-ascii-raw": 62,
        "iso87-bcd": 62,
        "iso87-bcd-right": 62,
        "iso87-bcd-mixed": 62,
        "iso87-ebcdic": 62,
        "iso93-ascii": 62,
        "iso93-ascii-raw": 62,
        "iso93-bcd": 62,
        "iso93-bcd-right": 62,
        "iso93-ebcdic": 62,
        "iso2003": 62,
        "iso2003-ascii": 62,
        "cup-pos": 62,
        "cups-interchange": 48,
        "base24-like": 62,
        "postilion-like": 48,
    }
)


def read_code(
    values: Values, de: int | None, kind: Kind, *, is_scanned: bool
) -> tuple[ScannedCode | None, int]:
    """Read a scanned code, or for how many seconds one is wanted; None, 0 without.

    Raises
    ------
    DecodeError
        It is not text, or no number.
    """
    value = values.get(de) if is_scanned and de is not None else None
    if not value:
        return None, 0
    text = _text(value, de)
    if kind is not Kind.PAYMENT_CODE:
        return ScannedCode(text), 0
    if not (text.isascii() and text.isdecimal() and len(text) <= VALIDITY_DIGITS_MAX):
        raise DecodeError("not a number of seconds", field=str(de))
    return None, int(text)


def read_text(value: str | bytes | None, kind: Kind, code: ResponseCode) -> str:
    """Read what the code says that an approval brings to who wanted one."""
    if not value or kind is not Kind.PAYMENT_CODE or not code.is_approval:
        return ""
    return _text(value, None)


def put_code(
    fields: Fields, txn: Transaction, de: int | None, specs: Mapping[int, FieldSpec]
) -> None:
    """Put the code of a transaction into its field, or for how long one is wanted.

    Raises
    ------
    EncodeError
        The layout has no field for one.
    """
    if txn.code is not None:
        put_text(fields, txn.code.reveal(), de, specs)
    elif txn.valid_s:
        put_text(fields, str(txn.valid_s), de, specs)


def put_text(
    fields: Fields, text: str, de: int | None, specs: Mapping[int, FieldSpec]
) -> None:
    """Put what a code says into its field.

    Raises
    ------
    EncodeError
        The layout has no field for one.
    """
    if de is None:
        raise EncodeError("this layout carries no scanned code")
    fields[de] = text.encode("ascii") if specs[de].cls == "b" else text


def _text(value: str | bytes, de: int | None) -> str:
    try:
        text = value.decode("ascii") if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError:
        raise DecodeError("not a scanned code", field=str(de)) from None
    return text.strip()
