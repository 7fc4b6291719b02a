"""Wrapped keys open under their own header and storage key only."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import KeyRefused
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Use
from isoswitch.hsm.functions.key import ENCRYPT, Key
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.vault import Vault, _unwrap, _wrap
from tests.hsm.softhsm import AES_KEY, TDES_KEY

BOTH = frozenset({Use.ENCRYPT, Use.DECRYPT})


@pytest.mark.parametrize(
    ("kek", "value", "wrapped"),
    [
        # RFC 3394, 4.1 and 4.6.
        (
            "000102030405060708090A0B0C0D0E0F",
            "00112233445566778899AABBCCDDEEFF",
            "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5",
        ),
        (
            "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
            "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F",
            (
                "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326"
                "CBC7F0E71A99F43BFB988B9B7A02DD21"
            ),
        ),
    ],
)
def test_key_wrap_in_host_memory(kek: str, value: str, wrapped: str) -> None:
    key = Key.load(SoftwareEngine(), KeyValue(bytes.fromhex(kek)), Algorithm.AES, BOTH)
    assert _wrap(key, bytes.fromhex(value)).hex().upper() == wrapped
    assert _unwrap(key, bytes.fromhex(wrapped)).hex().upper() == value


@pytest.mark.parametrize(
    ("algorithm", "length"),
    [
        (Algorithm.TDES, 16),
        (Algorithm.TDES, 24),
        (Algorithm.AES, 16),
        (Algorithm.AES, 24),
        (Algorithm.AES, 32),
    ],
)
def test_a_wrapped_key_is_the_key(
    vault: Vault, algorithm: Algorithm, length: int
) -> None:
    value = KeyValue(bytes(range(length)))
    wrapped = vault.wrap(value, b"header")
    key = vault.unwrap(wrapped, b"header", algorithm, ENCRYPT)
    expected = Key.load(SoftwareEngine(), value, algorithm, ENCRYPT)
    assert key.ecb(bytes(16)) == expected.ecb(bytes(16))


def test_an_unwrapped_key_does_only_what_it_may(vault: Vault) -> None:
    wrapped = vault.wrap(TDES_KEY, b"header")
    key = vault.unwrap(wrapped, b"header", Algorithm.TDES, ENCRYPT)
    key.ecb(bytes(8))
    with pytest.raises(KeyRefused):
        key.ecb(bytes(8), decrypt=True)
    with pytest.raises(KeyRefused):
        key.cmac(b"")


def test_another_header_does_not_unwrap(vault: Vault) -> None:
    wrapped = vault.wrap(TDES_KEY, b"header")
    with pytest.raises(KeyRefused):
        vault.unwrap(wrapped, b"Header", Algorithm.TDES, ENCRYPT)


@pytest.mark.parametrize("length", [0, 8, 16, 23, 25])
def test_a_block_of_impossible_length_is_refused(vault: Vault, length: int) -> None:
    with pytest.raises(KeyRefused):
        vault.unwrap(bytes(length), b"header", Algorithm.TDES, ENCRYPT)


@settings(max_examples=50, deadline=None)
@given(bit=st.integers(min_value=0, max_value=24 * 8 - 1))
def test_no_flipped_bit_goes_unnoticed(bit: int) -> None:
    vault = Vault.of_value(SoftwareEngine(), AES_KEY)
    wrapped = bytearray(vault.wrap(TDES_KEY, b"header"))
    wrapped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(KeyRefused):
        vault.unwrap(bytes(wrapped), b"header", Algorithm.TDES, ENCRYPT)


@pytest.mark.live
def test_the_token_unwraps_what_the_host_unwraps(token_vault: Vault) -> None:
    in_host = Vault(token_vault.engine, token_vault._storage_key.handle)
    wrapped = in_host.wrap(TDES_KEY, b"header")
    keys = [
        vault.unwrap(wrapped, b"header", Algorithm.TDES, ENCRYPT)
        for vault in (in_host, token_vault)
    ]
    assert keys[0].ecb(bytes(8)) == keys[1].ecb(bytes(8))


def test_authentication_depends_on_the_data_and_the_storage_key(vault: Vault) -> None:
    other = Vault.of_value(SoftwareEngine(), AES_KEY)
    assert vault.authenticate(b"data") == vault.authenticate(b"data")
    assert vault.authenticate(b"data") != vault.authenticate(b"datb")
    assert vault.authenticate(b"data") != other.authenticate(b"data")
