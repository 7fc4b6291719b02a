"""Contexts of one cipher that takes all keys in turn."""

from __future__ import annotations

import threading

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.hsm.functions import tdes

KEYS = st.one_of(
    st.binary(min_size=8, max_size=8),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=24, max_size=24),
)
DATA = bytes(range(16))


def encrypt_afresh(key: bytes, data: bytes) -> bytes:
    """Encrypt with a cipher that knows no other key."""
    parts = (key * 3)[:24]
    return Cipher(TripleDES(parts), ECB()).encryptor().update(data)


@given(st.lists(KEYS, min_size=1, max_size=6))
def test_a_context_keeps_its_key_while_others_are_made(keys: list[bytes]) -> None:
    """ANSI X9.52, 7.1: one part is single DES, two parts are K1, K2, K1."""
    encryptors = [tdes.encryptor(key) for key in keys]
    decryptors = [tdes.decryptor(key) for key in keys]
    for key, encryptor, decryptor in zip(keys, encryptors, decryptors, strict=True):
        encrypted = encryptor.update(DATA)
        assert encrypted == encrypt_afresh(key, DATA)
        assert decryptor.update(encrypted) == DATA
        assert encryptor.update(DATA) == encrypted


def test_two_threads_do_not_take_each_others_keys() -> None:
    wrong: list[bytes] = []

    def encrypt(key: bytes) -> None:
        expected = encrypt_afresh(key, DATA)
        wrong.extend(
            key for _ in range(2000) if tdes.encryptor(key).update(DATA) != expected
        )

    threads = [
        threading.Thread(target=encrypt, args=(bytes([number]) * 8,))
        for number in (0x12, 0x34, 0x56)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
