"""Key blocks (X9.143, formerly TR-31; ISO 20038): a key wrapped with its usage.

A key block is text; its header is authenticated together with the key::

    offset  size  meaning
    0       1     version: A, B, C under a TDES key, D, E under an AES key
    1       4     length of the whole block, decimal
    5       2     usage, such as P0 for PIN encryption
    7       1     algorithm, such as T for TDES
    8       1     mode of use, such as E for encryption only
    9       2     version of the key
    11      1     exportability
    12      2     number of optional blocks, decimal
    14      2     reserved
    16            optional blocks: two letters, length in hexadecimal, data
                  then in hexadecimal the encrypted key and the MAC

Versions B and D (and E) derive an encryption and a MAC key from the protection key by
CMAC; the MAC of header and clear key data is also the initial vector. In versions A
and C both keys are variants of the protection key, and the MAC is over the
ciphertext; they are only read. The derived keys and the wrapped key pass through the
memory of this process; the protection key stays in its engine.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from isoswitch.codecs.canonical.errors import (
    DecodeError,
    EncodeError,
    KeyRefused,
    VerificationFailed,
)
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Engine, Use
from isoswitch.hsm.functions.key import DECRYPT, ENCRYPT, MAC, Key
from isoswitch.hsm.functions.pin import RandomBytes
from isoswitch.hsm.octets import xor
from isoswitch.hsm.software import SoftwareEngine

FIELD = "key block"


@dataclass(frozen=True, slots=True)
class OptionalBlock:
    """An optional block of a header: two letters and printable data."""

    name: str
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a key block says about its key, by the codes of X9.143."""

    version: str
    usage: str
    algorithm: str
    mode: str
    key_version: str = "00"
    exportability: str = "N"
    optional: tuple[OptionalBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class ProtectionKey:
    """A key block protection key (K1) of versions B, D and E, for MACs.

    ``length`` is that of its value in bytes, which the derivation takes in.

    Raises
    ------
    KeyRefused
        The algorithm has no key of this length.
    """

    key: Key
    length: int

    def __post_init__(self) -> None:
        if (self.key.algorithm, self.length) not in _INDICATORS:
            msg = "a protection key is double or triple length TDES, or AES"
            raise KeyRefused(msg)

    @staticmethod
    def load(engine: Engine, value: KeyValue, algorithm: Algorithm) -> ProtectionKey:
        """Load a protection key value."""
        key = Key.load(engine, value, algorithm, MAC)
        return ProtectionKey(key, len(value.reveal()))


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantKeys:
    """The two variants of a protection key of versions A and C.

    ``decryption`` decrypts keys, ``authentication`` encrypts to make MACs.
    """

    decryption: Key
    authentication: Key

    @staticmethod
    def load(engine: Engine, value: KeyValue) -> VariantKeys:
        """Load both variants of a TDES protection key value."""
        clear = value.reveal()
        decryption = KeyValue(xor(clear, b"\x45" * len(clear)))
        authentication = KeyValue(xor(clear, b"\x4d" * len(clear)))
        return VariantKeys(
            decryption=Key.load(engine, decryption, Algorithm.TDES, DECRYPT),
            authentication=Key.load(engine, authentication, Algorithm.TDES, ENCRYPT),
        )


def decode_header(block: str) -> Header:
    """Read the header of a key block, before anything about it is proved.

    Raises
    ------
    DecodeError
        The text is not a key block of a known version.

    Examples
    --------
    >>> header = decode_header(
    ...     "B0080P0TE00E000094B420079CC80BA3461F86FE26EFC4A3"
    ...     "B8E4FA4C5F5341176EED7B727B8A248E"
    ... )
    >>> header.usage, header.algorithm, header.mode
    ('P0', 'T', 'E')
    """
    return _split(block).header


def unwrap(kbpk: ProtectionKey, block: str) -> tuple[Header, KeyValue]:
    """Open a key block of version B, D or E.

    Raises
    ------
    DecodeError
        The text is not a key block.
    KeyRefused
        The block's version does not go with the protection key.
    VerificationFailed
        Header and key are not as they were wrapped under this protection key.
    """
    parts = _split(block)
    _check_version(kbpk, parts.header.version)
    if parts.header.version == "E":
        key = _derive(kbpk, _Purpose.COUNTER, ENCRYPT)
        clear = _counter_mode(key, parts.payload, parts.mac)
    else:
        key = _derive(kbpk, _Purpose.ENCRYPTION, DECRYPT)
        clear = key.cbc(parts.payload, parts.mac, decrypt=True)
    expected = _derive(kbpk, _Purpose.AUTHENTICATION, MAC).cmac(parts.text + clear)
    if not hmac.compare_digest(expected, parts.mac):
        raise VerificationFailed(_FAILED)
    return parts.header, _key_of(clear)


def unwrap_variant(keys: VariantKeys, block: str) -> tuple[Header, KeyValue]:
    """Open a key block of version A or C, which are read and never made.

    Raises
    ------
    DecodeError
        The text is not a key block.
    KeyRefused
        The block has another version.
    VerificationFailed
        Header and key are not as they were wrapped under this protection key.
    """
    parts = _split(block)
    if parts.header.version not in {"A", "C"}:
        raise KeyRefused(_WRONG_VERSION)
    if len(parts.text) % 8:
        msg = "the header is not whole blocks"
        raise DecodeError(msg, field=FIELD, offset=len(parts.text))
    chained = keys.authentication.cbc(parts.text + parts.payload, bytes(8))
    if not hmac.compare_digest(chained[-8:][:4], parts.mac):
        raise VerificationFailed(_FAILED)
    clear = keys.decryption.cbc(parts.payload, parts.text[:8], decrypt=True)
    return parts.header, _key_of(clear)


def wrap(
    kbpk: ProtectionKey,
    header: Header,
    value: KeyValue,
    *,
    random: RandomBytes = secrets.token_bytes,
) -> str:
    """Make a key block of version B or D; its length does not tell the key's.

    Raises
    ------
    EncodeError
        The header has a field that does not fit.
    KeyRefused
        The version is not one that is made, or not for this protection key.
    """
    if header.version not in {"B", "D"}:
        msg = "only key blocks of versions B and D are made"
        raise KeyRefused(msg)
    _check_version(kbpk, header.version)
    version = _VERSIONS[header.version]
    octets = value.reveal()
    hidden = max(_LENGTHS_HIDDEN.get(header.algorithm, 0), len(octets))
    used = 2 + len(octets)
    size = 2 + hidden + -(2 + hidden) % version.block_size
    clear = (len(octets) * 8).to_bytes(2) + octets + random(size - used)
    text = _encode_header(header, behind=2 * (size + version.mac_length))
    mac = _derive(kbpk, _Purpose.AUTHENTICATION, MAC).cmac(text.encode() + clear)
    encrypted = _derive(kbpk, _Purpose.ENCRYPTION, ENCRYPT).cbc(clear, mac)
    return text + (encrypted + mac).hex().upper()


_FAILED = "the key block does not authenticate"
_WRONG_VERSION = "the key block's version does not go with the protection key"
_HEADER_LENGTH = 16

# The longest key of an algorithm; shorter ones are filled up to it.
_LENGTHS_HIDDEN: Mapping[str, int] = {"T": 24, "A": 32}


@dataclass(frozen=True, slots=True)
class _Version:
    algorithm: Algorithm
    block_size: int
    mac_length: int


_VERSIONS: Mapping[str, _Version] = {
    "A": _Version(Algorithm.TDES, 8, 4),
    "B": _Version(Algorithm.TDES, 8, 8),
    "C": _Version(Algorithm.TDES, 8, 4),
    "D": _Version(Algorithm.AES, 16, 16),
    "E": _Version(Algorithm.AES, 16, 16),
}


class _Purpose(IntEnum):
    """The usage indicators of the key derivation (X9.143, 5.3.2.1; ISO 20038)."""

    ENCRYPTION = 0
    AUTHENTICATION = 1
    COUNTER = 2


# Algorithm indicator by algorithm and length of the protection key.
_INDICATORS: Mapping[tuple[Algorithm, int], int] = {
    (Algorithm.TDES, 16): 0,
    (Algorithm.TDES, 24): 1,
    (Algorithm.AES, 16): 2,
    (Algorithm.AES, 24): 3,
    (Algorithm.AES, 32): 4,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    header: Header
    text: bytes
    payload: bytes
    mac: bytes


def _check_version(kbpk: ProtectionKey, version: str) -> None:
    is_derived = version in {"B", "D", "E"}
    if not is_derived or _VERSIONS[version].algorithm is not kbpk.key.algorithm:
        raise KeyRefused(_WRONG_VERSION)


def _derive(kbpk: ProtectionKey, purpose: _Purpose, uses: frozenset[Use]) -> Key:
    """Derive a key of the protection key's length (X9.143, 5.3.2.1)."""
    algorithm = kbpk.key.algorithm
    tail = (
        purpose.to_bytes(2)
        + b"\x00"
        + _INDICATORS[algorithm, kbpk.length].to_bytes(2)
        + (kbpk.length * 8).to_bytes(2)
    )
    blocks = -(-kbpk.length // kbpk.key.block_size)
    value = b"".join(
        kbpk.key.cmac(bytes([number]) + tail) for number in range(1, blocks + 1)
    )
    derived = KeyValue(value[: kbpk.length])
    return Key.load(SoftwareEngine(), derived, algorithm, uses)


def _counter_mode(key: Key, data: bytes, start: bytes) -> bytes:
    first = int.from_bytes(start)
    blocks = range(-(-len(data) // 16))
    counters = ((first + number) % (1 << 128) for number in blocks)
    stream = key.ecb(b"".join(counter.to_bytes(16) for counter in counters))
    return xor(data, stream[: len(data)])


def _key_of(clear: bytes) -> KeyValue:
    """Take the key out of authenticated key data: its length in bits, key, filler."""
    length, rest = divmod(int.from_bytes(clear[:2]), 8)
    if rest or not 0 < length <= len(clear) - 2:
        raise VerificationFailed(_FAILED)
    return KeyValue(clear[2 : 2 + length])


def _split(block: str) -> _Parts:
    """Take a key block apart, strictly."""
    if not block.isascii() or not block.isprintable():
        msg = "a key block is printable text"
        raise DecodeError(msg, field=FIELD)
    version = _VERSIONS.get(block[:1])
    if version is None:
        msg = "not a key block of a known version"
        raise DecodeError(msg, field=FIELD)
    if _decimal(block, 1, 5) != len(block):
        msg = "the length is not that of the block"
        raise DecodeError(msg, field=FIELD, offset=1)
    optional, end = _decode_optional(block)
    try:
        binary = bytes.fromhex(block[end:])
    except ValueError:
        msg = "the encrypted key is not hexadecimal"
        raise DecodeError(msg, field=FIELD, offset=end) from None
    payload = binary[: -version.mac_length]
    is_whole = block[0] == "E" or len(payload) % version.block_size == 0
    if len(binary) * 2 != len(block) - end or not payload or not is_whole:
        msg = "the encrypted key is not whole blocks and a MAC"
        raise DecodeError(msg, field=FIELD, offset=end)
    header = Header(
        version=block[0],
        usage=block[5:7],
        algorithm=block[7],
        mode=block[8],
        key_version=block[9:11],
        exportability=block[11],
        optional=optional,
    )
    return _Parts(
        header=header,
        text=block[:end].encode(),
        payload=payload,
        mac=binary[-version.mac_length :],
    )


def _decode_optional(block: str) -> tuple[tuple[OptionalBlock, ...], int]:
    """Read the optional blocks; gives them and where they end."""
    blocks = []
    at = _HEADER_LENGTH
    for _ in range(_decimal(block, 12, 14)):
        length = _hexadecimal(block, at + 2, at + 4)
        start = at + 4
        if length == 0:
            # Long data: how many pairs of digits the length has, then the length.
            start += 2 + 2 * _hexadecimal(block, at + 4, at + 6)
            length = _hexadecimal(block, at + 6, start)
        end = at + length
        if not start <= end <= len(block):
            msg = "an optional block does not fit"
            raise DecodeError(msg, field=FIELD, offset=at)
        blocks.append(OptionalBlock(block[at : at + 2], block[start:end]))
        at = end
    return tuple(blocks), at


def _decimal(block: str, start: int, end: int) -> int:
    digits = block[start:end]
    if len(digits) != end - start or not digits.isdecimal():
        msg = "decimal digits expected"
        raise DecodeError(msg, field=FIELD, offset=start)
    return int(digits)


def _hexadecimal(block: str, start: int, end: int) -> int:
    digits = block[start:end]
    is_complete = 0 < len(digits) == end - start
    if not is_complete or digits.strip("0123456789ABCDEFabcdef"):
        msg = "hexadecimal digits expected"
        raise DecodeError(msg, field=FIELD, offset=start)
    return int(digits, 16)


_WIDTHS: Mapping[str, int] = {
    "usage": 2,
    "algorithm": 1,
    "mode": 1,
    "key_version": 2,
    "exportability": 1,
}


def _encode_header(header: Header, *, behind: int) -> str:
    """Write the header of a block with ``behind`` characters of key and MAC."""
    for name, width in _WIDTHS.items():
        _check_text(getattr(header, name), name, width)
    optional = "".join(map(_encode_optional, header.optional))
    number = len(header.optional)
    # A padding block makes the header whole cipher blocks.
    missing = -len(optional) % _VERSIONS[header.version].block_size
    if missing:
        missing += _VERSIONS[header.version].block_size if missing < 4 else 0
        optional += _encode_optional(OptionalBlock("PB", "0" * (missing - 4)))
        number += 1
    length = _HEADER_LENGTH + len(optional) + behind
    if number > 99 or length > 9999:
        msg = "too long for a key block"
        raise EncodeError(msg, field=FIELD)
    return (
        f"{header.version}{length:04d}{header.usage}{header.algorithm}{header.mode}"
        f"{header.key_version}{header.exportability}{number:02d}00{optional}"
    )


def _encode_optional(block: OptionalBlock) -> str:
    _check_text(block.name, "optional block", 2)
    _check_text(block.data, "optional block", len(block.data))
    length = 4 + len(block.data)
    if length <= 0xFF:
        return f"{block.name}{length:02X}{block.data}"
    return f"{block.name}0002{length + 6:04X}{block.data}"


def _check_text(text: str, name: str, width: int) -> None:
    if len(text) != width or not text.isascii() or not text.isprintable():
        msg = f"not {width} printable characters"
        raise EncodeError(msg, field=f"{FIELD}.{name}")
