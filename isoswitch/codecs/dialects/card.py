"""Card number, tracks and the merchant's name, as far as layouts differ in them."""

from __future__ import annotations

from typing import Final

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.canonical.secrets import Pan, Track2
from isoswitch.codecs.dialects.edition import Values
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.iso8583.spec import FieldSpec

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
        expiry = expiry or (rest[:4] if rest[:4].isdigit() else "")
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
