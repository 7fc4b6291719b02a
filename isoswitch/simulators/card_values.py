"""What only an issuer makes: PVV, PIN offset, CVV, dCVV and CVC3.

The switch verifies these values and cannot make them. This is written for simulated
issuers over ``cryptography`` alone, apart from ``hsm/``, so that the two check each
other.
"""

from __future__ import annotations

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB

from isoswitch.codecs.canonical.secrets import KeyValue, Pan, Pin, Secret


def make_pvv(pvk: KeyValue, pin: Pin, pan: Pan, *, index: int) -> str:
    """Make the Visa PVV of a PIN's first four digits.

    Examples
    --------
    >>> pvk = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
    >>> make_pvv(pvk, Pin("1912"), Pan("1122334455667788"), index=2)
    '3244'
    """
    data = pan.reveal()[:-1][-11:] + str(index) + pin.reveal()[:4]
    return _digits(_encrypt(pvk.reveal(), bytes.fromhex(data.zfill(16))))[:4]


def make_offset(
    pvk: KeyValue,
    pin: Pin,
    pan: Pan,
    *,
    table: str,
    start: int = 0,
    length: int = 16,
    pad: str = "F",
) -> str:
    """Make the IBM 3624 offset of a PIN, as long as the PIN.

    Examples
    --------
    >>> pvk = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
    >>> pan = Pan("1122334455667788")
    >>> make_offset(pvk, Pin("1234"), pan, table="1234567890123456")
    '7710'
    """
    validation = (pan.reveal()[start : start + length] + pad * 16)[:16]
    cryptogram = _encrypt(pvk.reveal(), bytes.fromhex(validation)).hex()
    natural = [int(table[int(nibble, 16)]) for nibble in cryptogram]
    chosen = map(int, pin.reveal())
    return "".join(
        str((digit - own) % 10) for digit, own in zip(chosen, natural, strict=False)
    )


def make_cvv(cvk: KeyValue, pan: Pan, *, expiry: str, service_code: str) -> Secret[str]:
    """Make a CVV or CVC; with service code 000 a CVV2, with 999 an iCVV.

    Examples
    --------
    >>> cvk = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
    >>> pan = Pan("4123456789012345")
    >>> make_cvv(cvk, pan, expiry="8701", service_code="101").reveal()
    '561'
    """
    return Secret(_card_value(cvk.reveal(), pan.reveal() + expiry + service_code))


def make_dcvv(
    card_key: KeyValue, pan: Pan, *, expiry: str, service_code: str, atc: int
) -> Secret[str]:
    """Make Visa's dynamic CVV for one value of the transaction counter."""
    counter = str(atc % 10_000).zfill(4)
    digits = counter + pan.reveal()[4:] + expiry + service_code
    return Secret(_card_value(card_key.reveal(), digits))


def make_cvc3(
    card_key: KeyValue, track: Secret[bytes], *, unpredictable: bytes, atc: int
) -> Secret[str]:
    """Make Mastercard's CVC3 in full, five digits; tracks carry its last three."""
    key = card_key.reveal()
    padded = track.reveal() + b"\x80"
    static = _retail_mac(key, padded + bytes(-len(padded) % 8))[-2:]
    cryptogram = _encrypt(key, static + unpredictable + atc.to_bytes(2))
    return Secret(str(int.from_bytes(cryptogram[-2:])).zfill(5))


def make_card_key(master: KeyValue, pan: Pan, *, sequence: str = "00") -> KeyValue:
    """Diversify an issuer's master key for a card (EMV Book 2, A1.4.1, option A)."""
    block = bytes.fromhex((pan.reveal() + sequence)[-16:].zfill(16))
    inverse = bytes(octet ^ 0xFF for octet in block)
    return KeyValue(_encrypt(master.reveal(), block + inverse))


def _card_value(key: bytes, digits: str) -> str:
    return _digits(_retail_mac(key, bytes.fromhex(digits.ljust(32, "0"))))[:3]


def _retail_mac(key: bytes, data: bytes) -> bytes:
    """Chain single DES over whole blocks, then finish with the other half."""
    left, right = key[:8], key[8:]
    chained = Cipher(_cipher(left), CBC(bytes(8))).encryptor().update(data)[-8:]
    # Decryption under the right half alone, then encryption under the left.
    middle = Cipher(_cipher(right), CBC(bytes(8))).decryptor().update(chained)
    return _encrypt(left, middle)


def _encrypt(key: bytes, data: bytes) -> bytes:
    # Single blocks are what these algorithms are made of.
    return Cipher(_cipher(key), ECB()).encryptor().update(data)  # noqa: S305


def _cipher(key: bytes) -> TripleDES:
    return TripleDES((key * 3)[:24])


def _digits(cryptogram: bytes) -> str:
    nibbles = [int(nibble, 16) for nibble in cryptogram.hex()]
    ordered = [nibble for nibble in nibbles if nibble < 10]
    ordered += [nibble - 10 for nibble in nibbles if nibble >= 10]
    return "".join(map(str, ordered))
