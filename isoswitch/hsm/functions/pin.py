"""PIN blocks: ISO 9564-1 formats 0, 1, 3 and 4, and their translation.

The PIN field has one shape, a control nibble, the length, the PIN and filler::

    format  control  filler               combined with the PAN
    0       0        F                    PIN field xor PAN field, then encrypted
    1       1        any, random          not at all
    3       3        A to F, random       as format 0
    4       4        A, then 8 random     encrypted, xor PAN field, encrypted again
                     bytes

The PAN field of formats 0 and 3 is ``0000`` and the 12 rightmost digits without the
check digit; that of format 4 the number of digits over 12, all digits, zeros.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from isoswitch.codecs.canonical.errors import KeyRefused, PinBlockInvalid
from isoswitch.codecs.canonical.secrets import Pan, Pin, PinBlock
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions.key import Key
from isoswitch.hsm.octets import xor

RandomBytes = Callable[[int], bytes]


class PinFormat(IntEnum):
    """The PIN block formats of ISO 9564-1 that travel online, by their numbers."""

    ISO_0 = 0
    ISO_1 = 1
    ISO_3 = 3
    ISO_4 = 4


PERMITTED: frozenset[tuple[PinFormat, PinFormat]] = frozenset(
    {
        (PinFormat.ISO_0, PinFormat.ISO_0),
        (PinFormat.ISO_0, PinFormat.ISO_3),
        (PinFormat.ISO_0, PinFormat.ISO_4),
        (PinFormat.ISO_3, PinFormat.ISO_0),
        (PinFormat.ISO_3, PinFormat.ISO_3),
        (PinFormat.ISO_3, PinFormat.ISO_4),
        (PinFormat.ISO_4, PinFormat.ISO_0),
        (PinFormat.ISO_4, PinFormat.ISO_3),
        (PinFormat.ISO_4, PinFormat.ISO_4),
        (PinFormat.ISO_1, PinFormat.ISO_0),
        (PinFormat.ISO_1, PinFormat.ISO_1),
        (PinFormat.ISO_1, PinFormat.ISO_3),
        (PinFormat.ISO_1, PinFormat.ISO_4),
    }
)
"""The translations that PCI PIN 3-3 permits, from and to.

A block bound to a PAN never becomes one that is not, which would make the PIN a
searchable secret; and its PAN never changes, which is why no function here takes two.
"""


@dataclass(frozen=True, slots=True)
class PinKey:
    """A PIN encryption key with the block format it is for.

    Raises
    ------
    KeyRefused
        Format 4 needs AES, and AES is for nothing but format 4 (PCI PIN 2-3).
    """

    key: Key
    pin_format: PinFormat

    def __post_init__(self) -> None:
        if self.key.algorithm is not _LAYOUTS[self.pin_format].cipher:
            msg = "the PIN block format does not go with the key's algorithm"
            raise KeyRefused(msg)


def translate(
    block: PinBlock,
    pan: Pan,
    *,
    source: PinKey,
    target: PinKey,
    random: RandomBytes = secrets.token_bytes,
) -> PinBlock:
    """Decrypt a PIN block and encrypt its PIN for the next zone.

    Raises
    ------
    PinBlockInvalid
        The block is not a well-formed one for this card.
    KeyRefused
        PCI PIN does not permit it, or a key may not do it.
    """
    if (source.pin_format, target.pin_format) not in PERMITTED:
        msg = "this translation between PIN block formats is not permitted"
        raise KeyRefused(msg)
    return encrypt(decrypt(block, pan, source), pan, target, random=random)


def decrypt(block: PinBlock, pan: Pan, source: PinKey) -> Pin:
    """Give the PIN in an encrypted block, for a verification that follows at once.

    Raises
    ------
    PinBlockInvalid
        The block is not a well-formed one for this card.
    """
    encrypted = block.reveal()
    if len(encrypted) != source.key.block_size:
        raise PinBlockInvalid(_INVALID)
    clear = source.key.ecb(encrypted, decrypt=True)
    if source.pin_format is PinFormat.ISO_4:
        clear = source.key.ecb(xor(clear, pan_field_4(pan)), decrypt=True)
    return decode(PinBlock(clear), pan, source.pin_format)


def encrypt(
    pin: Pin, pan: Pan, target: PinKey, *, random: RandomBytes = secrets.token_bytes
) -> PinBlock:
    """Encode a PIN in the key's format and encrypt it."""
    clear = encode(pin, pan, target.pin_format, random=random).reveal()
    encrypted = target.key.ecb(clear)
    if target.pin_format is PinFormat.ISO_4:
        encrypted = target.key.ecb(xor(encrypted, pan_field_4(pan)))
    return PinBlock(encrypted)


def encode(
    pin: Pin,
    pan: Pan,
    pin_format: PinFormat,
    *,
    random: RandomBytes = secrets.token_bytes,
) -> PinBlock:
    """Build a clear PIN block; of format 4 the PIN field, which has no PAN in it.

    Raises
    ------
    ValueError
        The PIN is not 4 to 12 digits.

    Examples
    --------
    >>> encode(Pin("1234"), Pan("5544332211009966"), PinFormat.ISO_0).reveal().hex()
    '041277cddeeff669'
    """
    digits = pin.reveal()
    if not (4 <= len(digits) <= 12 and digits.isascii() and digits.isdecimal()):
        msg = "a PIN has 4 to 12 digits"
        raise ValueError(msg)
    layout = _LAYOUTS[pin_format]
    filler = _fill(layout.filler, 14 - len(digits), random)
    field = bytes.fromhex(f"{pin_format:d}{len(digits):X}{digits}{filler}")
    if layout.has_pan:
        field = xor(field, pan_field_0(pan))
    return PinBlock(field + random(layout.tail))


def decode(block: PinBlock, pan: Pan, pin_format: PinFormat) -> Pin:
    """Give the PIN of a clear PIN block (of format 4: of the PIN field).

    Raises
    ------
    PinBlockInvalid
        Whatever is wrong; the error does not tell, so that nobody can ask it.
    """
    layout = _LAYOUTS[pin_format]
    clear = block.reveal()
    if len(clear) != 8 + layout.tail:
        raise PinBlockInvalid(_INVALID)
    field = clear[:8]
    if layout.has_pan:
        field = xor(field, pan_field_0(pan))
    nibbles = field.hex().upper()
    length = int(nibbles[1], 16)
    digits, filler = nibbles[2 : 2 + length], nibbles[2 + length :]
    well_formed = (
        (nibbles[0] == f"{pin_format:d}")
        & (4 <= length <= 12)
        & digits.isdecimal()
        & (not filler.strip(layout.filler))
    )
    if not well_formed:
        raise PinBlockInvalid(_INVALID)
    return Pin(digits)


def pan_field_0(pan: Pan) -> bytes:
    """Give the PAN field of formats 0 and 3.

    Examples
    --------
    >>> pan_field_0(Pan("5544332211009966")).hex()
    '0000433221100996'
    """
    return bytes.fromhex(pan.reveal()[-13:-1].rjust(16, "0"))


def pan_field_4(pan: Pan) -> bytes:
    """Give the PAN field of format 4.

    Examples
    --------
    >>> pan_field_4(Pan("4111111111111111")).hex()
    '44111111111111111000000000000000'
    """
    digits = pan.reveal().rjust(12, "0")
    return bytes.fromhex(f"{len(digits) - 12}{digits}".ljust(32, "0"))


_INVALID = "the PIN block is not valid"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """What tells one format from another.

    ``filler`` lists the nibbles that may fill up the field, ``tail`` is the number of
    random bytes behind it.
    """

    cipher: Algorithm
    filler: str
    has_pan: bool
    tail: int = 0


_LAYOUTS: Mapping[PinFormat, _Layout] = {
    PinFormat.ISO_0: _Layout(cipher=Algorithm.TDES, filler="F", has_pan=True),
    PinFormat.ISO_1: _Layout(
        cipher=Algorithm.TDES, filler="0123456789ABCDEF", has_pan=False
    ),
    PinFormat.ISO_3: _Layout(cipher=Algorithm.TDES, filler="ABCDEF", has_pan=True),
    PinFormat.ISO_4: _Layout(cipher=Algorithm.AES, filler="A", has_pan=False, tail=8),
}


def _fill(alphabet: str, length: int, random: RandomBytes) -> str:
    """Choose filler nibbles; where there is no choice no randomness is spent."""
    if len(alphabet) == 1:
        return alphabet * length
    return "".join(alphabet[octet % len(alphabet)] for octet in random(length))
