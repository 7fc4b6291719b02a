"""Magnetic stripe tracks 1 and 2 (ISO/IEC 7813), as text and as tag 57.

    track 1   %B PAN ^ name ^ YYMM service discretionary ?
    track 2   ;  PAN = YYMM service discretionary ?
    tag 57    packed digits, D for the separator, one F where the count is odd

Sentinels are optional, the separator may be ``=`` or ``D``, and a separator may stand
in place of the expiry date or the service code. What was read is kept, so encoding
gives back every byte. Nothing here prints clear: a track is a secret as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.canonical.secrets import Pan, Secret, Track2

TRACK1_SIZE_MAX = 79
TRACK2_SIZE_MAX = 40

_TRACK2 = re.compile(
    r"(?P<start>;?)(?P<pan>[0-9]{8,19})(?P<separator>[=D])"
    r"(?P<expiry>[0-9]{4}|[=D])(?P<service>[0-9]{3}|[=D])"
    r"(?P<discretionary>[0-9]*)(?P<end>\??)"
)
_TRACK1 = re.compile(
    r"(?P<start>%?)(?P<format>[A-Z])(?P<pan>[0-9]{8,19})\^(?P<name>[^^]{2,26})\^"
    r"(?P<expiry>[0-9]{4}|\^)(?P<service>[0-9]{3}|\^)"
    r"(?P<discretionary>[^?^]*)(?P<end>\??)"
)
_SEPARATORS = "=D^"

# ISO/IEC 7813, 4.2.2.3: one table for each digit of the service code.
SERVICE_CODE: tuple[Mapping[str, str], ...] = (
    MappingProxyType(
        {
            "1": "international",
            "2": "international, use the chip where possible",
            "5": "national, except by bilateral agreement",
            "6": "national, use the chip where possible",
            "7": "no interchange, except by bilateral agreement",
            "9": "test",
        }
    ),
    MappingProxyType(
        {
            "0": "normal authorisation",
            "2": "authorise online by the issuer",
            "4": "authorise online, except by bilateral agreement",
        }
    ),
    MappingProxyType(
        {
            "0": "no restrictions, PIN required",
            "1": "no restrictions",
            "2": "goods and services only",
            "3": "ATM only, PIN required",
            "4": "cash only",
            "5": "goods and services only, PIN required",
            "6": "no restrictions, ask for the PIN where possible",
            "7": "goods and services only, ask for the PIN where possible",
        }
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """What a stripe says; ``expiry`` is ``YYMM``, absent parts are empty.

    ``name`` is empty on track 2. ``clear`` is the whole track as it was read.
    """

    pan: Pan
    expiry: str
    service_code: str
    name: Secret[str]
    discretionary: Secret[str]
    clear: Track2

    def encode(self) -> str:
        """Give back the track as it was read."""
        return self.clear.reveal()


def decode_track2(text: str, *, path: str = "35", offset: int = 0) -> Track:
    """Read track 2 text as DE 35 carries it.

    Raises
    ------
    DecodeError
        The text is not a track 2; says nothing of what it was.

    Examples
    --------
    >>> track = decode_track2("4761739001010010=31122011234567800000")
    >>> track.pan, track.expiry, track.service_code
    (Pan(476173******0010), '3112', '201')
    """
    if len(text) > TRACK2_SIZE_MAX:
        raise DecodeError(f"longer than {TRACK2_SIZE_MAX}", field=path, offset=offset)
    return _to_track(_TRACK2, text, "track 2", path, offset)


def decode_track1(text: str, *, path: str = "45", offset: int = 0) -> Track:
    """Read track 1 text as DE 45 carries it.

    Raises
    ------
    DecodeError
        The text is not a track 1.

    Examples
    --------
    >>> track = decode_track1("%B4761739001010010^CARDHOLDER/TEST^31122010000?")
    >>> track.expiry, track.name
    ('3112', Secret(***))
    """
    if len(text) > TRACK1_SIZE_MAX:
        raise DecodeError(f"longer than {TRACK1_SIZE_MAX}", field=path, offset=offset)
    return _to_track(_TRACK1, text, "track 1", path, offset)


def decode_track2_binary(data: bytes, *, path: str = "57", offset: int = 0) -> Track:
    """Read track 2 equivalent data (tag 57, or DE 35 in packed dialects).

    Raises
    ------
    DecodeError
        The bytes are not a packed track 2.

    Examples
    --------
    >>> data = bytes.fromhex("4761739001010010D31122011234567800000F")
    >>> decode_track2_binary(data).pan.last4
    '0010'
    >>> encode_track2_binary(decode_track2_binary(data)) == data
    True
    """
    digits = data.hex().upper().removesuffix("F")
    if len(digits) > TRACK2_SIZE_MAX:
        raise DecodeError(f"longer than {TRACK2_SIZE_MAX}", field=path, offset=offset)
    return _to_track(_TRACK2, digits, "track 2", path, offset, digits_per_byte=2)


def encode_track2_binary(track: Track) -> bytes:
    """Pack a track 2 into the form of tag 57: no sentinels, D, F where odd."""
    digits = track.encode().strip(";?").replace("=", "D")
    return bytes.fromhex(digits + "F" * (len(digits) % 2))


def explain_service_code(code: str) -> list[tuple[str, str]]:
    """Say in words what the three digits of a service code mean.

    Examples
    --------
    >>> explain_service_code("201")[0]
    ('digit 1 = 2', 'international, use the chip where possible')
    """
    return [
        (f"digit {place} = {digit}", table.get(digit, "reserved"))
        for place, (digit, table) in enumerate(
            zip(code, SERVICE_CODE, strict=False), start=1
        )
    ]


def _to_track(
    layout: re.Pattern[str],
    text: str,
    kind: str,
    path: str,
    offset: int,
    *,
    digits_per_byte: int = 1,
) -> Track:
    match = layout.fullmatch(text)
    if match is None:
        wrong = _first_wrong(layout, text) // digits_per_byte
        raise DecodeError(f"not a {kind}", field=path, offset=offset + wrong)
    parts = match.groupdict()
    return Track(
        pan=Pan(parts["pan"]),
        expiry=parts["expiry"].strip(_SEPARATORS),
        service_code=parts["service"].strip(_SEPARATORS),
        name=Secret(parts.get("name", "")),
        discretionary=Secret(parts["discretionary"]),
        clear=Track2(text),
    )


def _first_wrong(layout: re.Pattern[str], text: str) -> int:
    """Find how far the text looks like a track: to its end, or through its PAN."""
    match = layout.match(text)
    if match is not None:
        return match.end()
    return len(text) - len(text.lstrip("%;B0123456789"))
