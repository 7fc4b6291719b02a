"""Where a payer's code that a merchant has scanned stands in a message, by dialect.

The standard has no field for it, so each layout puts it into one that is private. Only
a message without a card number, whose DE 22 tells of a bar code or QR code, carries
one. A layout that is not named here carries none.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.canonical.secrets import ScannedCode
from isoswitch.codecs.dialects.edition import Fields, Values
from isoswitch.codecs.iso8583.spec import FieldSpec

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


def read_code(values: Values, de: int | None) -> ScannedCode | None:
    """Read a scanned code from its field; None where there is none.

    Raises
    ------
    DecodeError
        It is not text.
    """
    value = values.get(de) if de is not None else None
    if not value:
        return None
    try:
        text = value.decode("ascii") if isinstance(value, bytes) else str(value)
    except UnicodeDecodeError:
        raise DecodeError("not a scanned code", field=str(de)) from None
    return ScannedCode(text.strip())


def put_code(
    fields: Fields, code: ScannedCode, de: int | None, specs: Mapping[int, FieldSpec]
) -> None:
    """Put a code into its field.

    Raises
    ------
    EncodeError
        The layout has no field for one.
    """
    if de is None:
        raise EncodeError("this layout carries no scanned code")
    text = code.reveal()
    fields[de] = text.encode("ascii") if specs[de].cls == "b" else text
