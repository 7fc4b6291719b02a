"""Wrapped keys open under their own header and storage key only."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import KeyRefused
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Use
from isoswitch.hsm.functions.key import ENCRYPT, Key
from isoswitch.hsm.functions.signature import verify_signature
from isoswitch.hsm.keys import Role, uses_of
from isoswitch.hsm.keytable import form_record, random_value
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.vault import Vault
from tests.hsm.softhsm import AES_KEY, TDES_KEY, plan


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


@pytest.mark.parametrize("kind", ["software", "token"])
def test_a_rewrapped_key_opens_under_the_new_storage_key_only(
    request: pytest.FixtureRequest, kind: str
) -> None:
    if kind == "software":
        engine = SoftwareEngine()
        old = Vault.of_value(engine, AES_KEY)
        new = Vault.of_value(engine, TDES_KEY)
    else:
        token_engine = request.getfixturevalue("token_engine")
        old = request.getfixturevalue("token_vault")
        handle = token_engine.store_storage_key(
            "next storage", KeyValue(bytes(range(32)))
        )
        new = Vault(token_engine, handle, unwrapper=token_engine)
    wrapped = old.wrap(TDES_KEY, b"header")
    rewrapped = old.rewrap(wrapped, b"header", Algorithm.TDES, new)
    assert new.reveal(rewrapped, b"header") == TDES_KEY
    with pytest.raises(KeyRefused):
        old.unwrap(rewrapped, b"header", Algorithm.TDES, ENCRYPT)
    with pytest.raises(KeyRefused):
        old.rewrap(rewrapped, b"header", Algorithm.TDES, new)


@pytest.mark.parametrize("algorithm", [("ec", 32), ("rsa", 256)], ids=["EC", "RSA"])
def test_a_signature_key_moves_to_another_storage_key(
    vault: Vault, algorithm: tuple[str, int]
) -> None:
    key = plan("own/sign", "S0", "S", *algorithm)
    record = form_record(vault, key, random_value(key), created="")
    value = KeyValue(bytes(range(64, 96)))
    handle = vault.engine.create(value, Algorithm.AES, frozenset({Use.DERIVE}))
    target = Vault(vault.engine, handle, unwrapper=vault._unwrapper)
    block = bytes.fromhex(record.blocks[Role.SIGN])
    header = key.header(Role.SIGN)
    moved = vault.rewrap(block, header, key.algorithm, target)
    assert moved != block
    with target.unwrap(moved, header, key.algorithm, uses_of(Role.SIGN)) as loaded:
        verify_signature(bytes.fromhex(record.public), b"data", loaded.sign(b"data"))
    with pytest.raises(KeyRefused):
        vault.unwrap(moved, header, key.algorithm, uses_of(Role.SIGN))
