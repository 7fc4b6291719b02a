"""Keys under the local master key of a simulated payment HSM, in its variant scheme.

Each part of a key is encrypted under the master key with a variant of its own on the
first byte of the second half, so that parts cannot change places. Only published test
master keys are ever used here.
"""

from __future__ import annotations

from collections.abc import Mapping

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import ECB

from isoswitch.codecs.canonical.secrets import KeyValue

# The letter that names a scheme, and the variants of the parts of its keys.
_SCHEMES: Mapping[str, tuple[int, ...]] = {
    "U": (0xA6, 0x5A),
    "T": (0x6A, 0xDE, 0x2B),
}


def encrypt_key(lmk: KeyValue, value: KeyValue) -> str:
    """Encrypt a double or triple length key; gives scheme letter and hex digits."""
    clear = value.reveal()
    scheme = "U" if len(clear) == 16 else "T"
    parts = [
        _part_cipher(lmk, variant).encryptor().update(clear[8 * part : 8 * part + 8])
        for part, variant in enumerate(_SCHEMES[scheme])
    ]
    return scheme + b"".join(parts).hex().upper()


def decrypt_key(lmk: KeyValue, wrapped: str) -> KeyValue:
    """Decrypt a key by its scheme letter."""
    octets = bytes.fromhex(wrapped[1:])
    parts = [
        _part_cipher(lmk, variant).decryptor().update(octets[8 * part : 8 * part + 8])
        for part, variant in enumerate(_SCHEMES[wrapped[0]])
    ]
    return KeyValue(b"".join(parts))


def _part_cipher(lmk: KeyValue, variant: int) -> Cipher[ECB]:
    octets = bytearray(lmk.reveal())
    octets[8] ^= variant
    # Parts are single blocks.
    return Cipher(TripleDES(bytes(octets + octets[:8])), ECB())  # noqa: S305
