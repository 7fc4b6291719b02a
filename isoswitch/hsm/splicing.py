"""Putting the result of one command into the data of the next."""

from __future__ import annotations

from isoswitch.codecs.canonical.errors import HsmError
from isoswitch.hsm.port import Splice


def splice(data: bytes, result: bytes, place: Splice) -> bytes:
    """Give the data with the last result written over its place.

    Raises
    ------
    HsmError
        There is no result, or it does not fit there.

    Examples
    --------
    >>> splice(b"<....>", b"\\x12\\xab", Splice(offset=1, as_hex=True))
    b'<12AB>'
    """
    octets = result.hex().upper().encode() if place.as_hex else result
    end = place.offset + len(octets)
    if not octets or place.offset < 0 or end > len(data):
        raise HsmError("there is no place for the last result at this offset")
    return data[: place.offset] + octets + data[end:]
