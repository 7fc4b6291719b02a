"""Card number, tracks and the merchant's name, as far as layouts differ in them."""

from __future__ import annotations

from typing import Final, Literal

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.canonical.secrets import Pan, Secret, Track2
from isoswitch.codecs.dialects.edition import FieldValue, Values
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.iso8583.spec import FieldSpec

ChipForm = Literal["bare", "dataset", "hexadecimal"]
"""DE 55: the TLV objects, a dataset around them, or their hexadecimal characters."""

# The identifier of the dataset that holds chip data; two bytes of length follow.
_CHIP_DATASET: Final = 0x01

# Charsets of DE 43 that hold more than ASCII, where positions are bytes.
_WIDE_CHARSETS: Final = frozenset({"gbk", "gb18030", "utf-8"})


def read_card(msg: Message, values: Values) -> tuple[Pan | None, Track2 | None, str]:
    """Read card number, track 2 and expiry; track 2 fills what is absent.

    Raises
    ------
    DecodeError
        The card number is none.
    """
    number, track, expiry = values.get(2), values.get(35), values.get(14, "")
    track2 = None
    de = 2
    if track:
        track = track.strip(";?").replace("D", "=", 1)
        track2 = Track2(track)
        on_track, _, rest = track.partition("=")
        month = rest[:4]
        is_month = month.isascii() and month.isdecimal()
        expiry = expiry or (month if is_month else "")
        if not number:
            number, de = on_track, 35
    if not number:
        return None, track2, expiry
    try:
        return Pan(number), track2, expiry
    except ValueError:
        raise DecodeError(
            "not a card number", field=str(de), offset=msg.offset(de)
        ) from None


def chip_form(spec: FieldSpec, *, in_dataset: bool) -> ChipForm:
    """Give the form of chip data in a layout whose DE 55 is this field."""
    if spec.cls != "b":
        return "hexadecimal"
    return "dataset" if in_dataset else "bare"


def read_chip(data: FieldValue | None, form: ChipForm) -> Secret[bytes] | None:
    """Give the TLV objects of DE 55; a private use of it as text is no chip data.

    Examples
    --------
    >>> read_chip(bytes.fromhex("0100039C0100"), "dataset").reveal().hex()
    '9c0100'
    """
    if not data:
        return None
    if isinstance(data, bytes):
        in_dataset = form == "dataset" and data[0] == _CHIP_DATASET
        return Secret(data[3:] if in_dataset else data)
    try:
        return Secret(bytes.fromhex(data))
    except ValueError:
        return None


def write_chip(emv: Secret[bytes], form: ChipForm) -> FieldValue:
    """Give DE 55 of TLV objects."""
    data = emv.reveal()
    if form == "dataset":
        return bytes([_CHIP_DATASET]) + len(data).to_bytes(2) + data
    return data.hex().upper() if form == "hexadecimal" else data


def fit_name(name: str, spec: FieldSpec) -> str:
    """Cut or fill a name for DE 43; a character that it cannot hold becomes ``?``.

    Examples
    --------
    >>> from isoswitch.codecs.iso8583.spec import field_spec
    >>> fit_name("Café", field_spec(43, "Card acceptor name/location", "ans 6"))
    'Caf?  '
    """
    wide = not name.isascii() and spec.encoding in _WIDE_CHARSETS
    charset = spec.encoding if wide else "ascii"
    octets = name.encode(charset, "replace")[: spec.max]
    fitted = octets.decode(charset, "ignore")
    if spec.length:
        return fitted
    return fitted + " " * (spec.max - len(fitted.encode(charset)))
