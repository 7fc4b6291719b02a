"""The cryptography of simulated terminals, by the library psec.

Deliberately not the code of ``hsm/``: terminal, switch and issuer must agree on every
PIN block and MAC, and each has its own implementation. psec has no CMAC; that one is
computed by ``cryptography``.
"""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from psec.des import encrypt_tdes_ecb
from psec.mac import generate_retail_mac
from psec.pinblock import encode_pinblock_iso_0

from isoswitch.codecs.canonical.errors import MacMismatch
from isoswitch.codecs.canonical.secrets import Pan, Pin, PinBlock
from isoswitch.hsm.engine import Algorithm
from isoswitch.simulators.keyring import SharedKey

MAC_BYTES = 8


def encrypt_pin(key: SharedKey, pin: Pin, pan: Pan) -> PinBlock:
    """Make an ISO 9564-1 format 0 PIN block under a terminal's PIN key.

    Examples
    --------
    >>> from isoswitch.codecs.canonical.secrets import KeyValue
    >>> value = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
    >>> key = SharedKey(cipher=Algorithm.TDES, value=value)
    >>> block = encrypt_pin(key, Pin("1234"), Pan("5544332211009966"))
    >>> block.reveal().hex()
    '24b5254f5321bbc2'
    """
    clear = encode_pinblock_iso_0(pin.reveal(), pan.reveal())
    return PinBlock(encrypt_tdes_ecb(key.value.reveal(), clear))


def generate_mac(key: SharedKey, data: bytes) -> bytes:
    """Make the 8-byte MAC that the key's cipher stands for.

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
        mac: bytes = generate_retail_mac(value[:8], value[8:16], data, 1, MAC_BYTES)
        return mac
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
