"""The cryptograms of simulated chips: EMV common session keys, by ``cryptography``.

Cards make them and token services check them; neither shares code with ``hsm/``.
EMV 4.3 Book 2, A1.4.1 option A, A1.3.1 and 8.1.1; padding method 2 of ISO 9797-1.
"""

from __future__ import annotations

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from isoswitch.codecs.canonical.secrets import Pan

BLOCK = 8


def make_arqc(master: bytes, pan: Pan, sequence: str, atc: bytes, data: bytes) -> bytes:
    """Make the cryptogram of a card over its transaction data.

    ``master`` is the issuer's 16-byte key; ``sequence`` two digits; ``atc`` two bytes.

    Examples
    --------
    >>> master = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
    >>> pan = Pan("4761739001010010")
    >>> make_arqc(master, pan, "00", bytes([0, 1]), b"data").hex()
    '3dbb6b40f6e24cae'
    """
    session = _session_key(_card_key(master, pan, sequence), atc)
    padded = data + b"\x80"
    padded += bytes(-len(padded) % BLOCK)
    left, right = session[:BLOCK], session[BLOCK:]
    chained = _des_cbc(left, padded)[-BLOCK:]
    return _des(left, _des(right, chained, decrypt=True))


def _card_key(master: bytes, pan: Pan, sequence: str) -> bytes:
    digits = (pan.reveal() + sequence)[-16:].rjust(16, "0")
    block = bytes.fromhex(digits)
    inverse = bytes(octet ^ 0xFF for octet in block)
    return _with_odd_parity(_triple_des(master, block + inverse))


def _session_key(card_key: bytes, atc: bytes) -> bytes:
    blocks = (atc + b"\xf0" + bytes(5), atc + b"\x0f" + bytes(5))
    return _with_odd_parity(b"".join(_triple_des(card_key, each) for each in blocks))


def _triple_des(key: bytes, data: bytes) -> bytes:
    cipher = Cipher(TripleDES(key + key[:BLOCK]), modes.ECB())  # noqa: S305  # single blocks
    return cipher.encryptor().update(data)


def _des(key: bytes, block: bytes, *, decrypt: bool = False) -> bytes:
    cipher = Cipher(TripleDES(3 * key), modes.ECB())  # noqa: S305  # single blocks
    return (cipher.decryptor() if decrypt else cipher.encryptor()).update(block)


def _des_cbc(key: bytes, data: bytes) -> bytes:
    cipher = Cipher(TripleDES(3 * key), modes.CBC(bytes(BLOCK)))
    return cipher.encryptor().update(data)


def _with_odd_parity(key: bytes) -> bytes:
    return bytes(octet if octet.bit_count() % 2 else octet ^ 1 for octet in key)
