"""The cryptography of simulated issuers, by the library cryptography alone.

Deliberately neither the code of ``hsm/`` nor that of the terminals: three
implementations must agree on every PIN block and MAC. Ciphers are kept by key, because
an issuer in a benchmark must be light.
"""

from __future__ import annotations

import hmac
from functools import lru_cache

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from isoswitch.codecs.canonical.errors import MacMismatch, PinBlockInvalid
from isoswitch.codecs.canonical.secrets import Pan, Pin, PinBlock
from isoswitch.hsm.engine import Algorithm
from isoswitch.simulators.keyring import SharedKey

MAC_BYTES = 8
BLOCK_BYTES = 8


def generate_mac(key: SharedKey, data: bytes) -> bytes:
    """Make the 8-byte MAC that the key's cipher stands for: X9.19 or AES-CMAC.

    Examples
    --------
    >>> from isoswitch.codecs.canonical.secrets import KeyValue
    >>> value = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
    >>> key = SharedKey(cipher=Algorithm.TDES, value=value)
    >>> generate_mac(key, b"Now is the time for all ").hex()
    'a1c72e74ea3fa9b6'
    """
    value = key.value.reveal()
    if key.cipher is Algorithm.TDES:
        return _retail_mac(value, data)
    cmac = CMAC(AES(value))
    cmac.update(data)
    return cmac.finalize()[:MAC_BYTES]


def verify_mac(key: SharedKey, data: bytes, mac: bytes) -> None:
    """Check a MAC.

    Raises
    ------
    MacMismatch
        The MAC is not that of the data.
    """
    if not hmac.compare_digest(generate_mac(key, data), mac):
        msg = "the MAC does not match"
        raise MacMismatch(msg)


def decrypt_pin(key: SharedKey, block: PinBlock, pan: Pan) -> Pin:
    """Open an ISO 9564-1 format 0 PIN block.

    Raises
    ------
    PinBlockInvalid
        Not a well-formed block for this card under this key.

    Examples
    --------
    >>> from isoswitch.codecs.canonical.secrets import KeyValue
    >>> value = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
    >>> key = SharedKey(cipher=Algorithm.TDES, value=value)
    >>> block = PinBlock(bytes.fromhex("24b5254f5321bbc2"))
    >>> decrypt_pin(key, block, Pan("5544332211009966")).reveal()
    '1234'
    """
    clear = _triple_des(key.value.reveal()).decryptor().update(block.reveal())
    account = bytes(2) + bytes.fromhex(pan.reveal()[-13:-1])
    digits = _xor(clear, account).hex()
    length = int(digits[1], 16)
    pin, filler = digits[2 : 2 + length], digits[2 + length :]
    if (
        digits[0] != "0"
        or not 4 <= length <= 12
        or not pin.isdecimal()
        or filler.strip("f")
    ):
        msg = "not a PIN block of format 0 for this card"
        raise PinBlockInvalid(msg)
    return Pin(pin)


def _retail_mac(value: bytes, data: bytes) -> bytes:
    """Chain single DES over all blocks but the last; that goes through triple DES."""
    padded = data + bytes(-len(data) % BLOCK_BYTES)
    chain = _single_des(value).encryptor().update(padded[:-BLOCK_BYTES])
    chained = chain[-BLOCK_BYTES:] or bytes(BLOCK_BYTES)
    last = _xor(chained, padded[-BLOCK_BYTES:])
    return _triple_des(value).encryptor().update(last)


@lru_cache(maxsize=256)
def _single_des(value: bytes) -> Cipher[modes.CBC]:
    """Triple DES under the same key three times is single DES."""
    return Cipher(TripleDES(3 * value[:8]), modes.CBC(bytes(BLOCK_BYTES)))


@lru_cache(maxsize=256)
def _triple_des(value: bytes) -> Cipher[modes.ECB]:
    three_keys = value if len(value) == 24 else value + value[:8]
    return Cipher(TripleDES(three_keys), modes.ECB())  # noqa: S305  # single blocks


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left) ^ int.from_bytes(right)).to_bytes(BLOCK_BYTES)
