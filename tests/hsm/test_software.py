"""The software engine: what the contract of engines leaves to each of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import HsmError, KeyRefused, VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Engine, Handle, Use
from isoswitch.hsm.software import SoftwareEngine

ALL = frozenset(Use)
VALUE = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
SIZES = {Algorithm.TDES: 8, Algorithm.AES: 16}


@pytest.fixture
def engine() -> Engine:
    return SoftwareEngine()


@given(
    messages=st.lists(
        st.tuples(
            st.integers(1, 4).flatmap(
                lambda blocks: st.binary(min_size=16 * blocks, max_size=16 * blocks)
            ),
            st.binary(min_size=16, max_size=16),
        ),
        min_size=2,
        max_size=6,
    )
)
@settings(max_examples=40)
@pytest.mark.parametrize("algorithm", list(SIZES))
def test_a_reused_chain_encrypts_as_a_new_one_and_back(
    algorithm: Algorithm, messages: list[tuple[bytes, bytes]]
) -> None:
    """The context chains on; every message must still begin with its own vector."""
    used = SoftwareEngine()
    key = used.create(VALUE, algorithm, ALL)
    for data, iv in messages:
        start = iv[: SIZES[algorithm]]
        fresh = SoftwareEngine()
        chained = used.cbc(key, data, start)
        assert chained == fresh.cbc(fresh.create(VALUE, algorithm, ALL), data, start)
        assert used.cbc(key, chained, start, decrypt=True) == data


@pytest.mark.parametrize("algorithm", list(SIZES))
def test_only_whole_blocks_are_taken(engine: Engine, algorithm: Algorithm) -> None:
    key = engine.create(VALUE, algorithm, ALL)
    for length in (0, SIZES[algorithm] - 1, SIZES[algorithm] + 1):
        with pytest.raises(HsmError):
            engine.ecb(key, bytes(length))
        with pytest.raises(HsmError):
            engine.cbc(key, bytes(length), bytes(SIZES[algorithm]))
    with pytest.raises(HsmError):
        engine.cbc(key, bytes(16), bytes(7))


@pytest.mark.parametrize("use", [use for use in Use if use is not Use.SIGN])
def test_a_key_serves_the_uses_it_was_loaded_for_only(engine: Engine, use: Use) -> None:
    calls: dict[Use, Callable[[Handle], object]] = {
        Use.ENCRYPT: lambda key: engine.ecb(key, bytes(16)),
        Use.DECRYPT: lambda key: engine.ecb(key, bytes(16), decrypt=True),
        Use.MAC: lambda key: engine.cmac(key, b""),
        Use.DERIVE: lambda key: engine.derive(key, bytes(16), Algorithm.AES, ALL),
        Use.SIGN: lambda key: engine.sign(key, b""),
    }
    key = engine.create(VALUE, Algorithm.AES, frozenset({use}))
    calls[use](key)
    for other in set(Use) - {use}:
        with pytest.raises(KeyRefused):
            calls[other](key)


def test_a_key_does_what_its_algorithm_does_only(engine: Engine) -> None:
    hmac = engine.create(VALUE, Algorithm.HMAC, ALL)
    tdes = engine.create(VALUE, Algorithm.TDES, ALL)
    calls: list[Callable[[], object]] = [
        lambda: engine.ecb(hmac, bytes(16)),
        lambda: engine.cbc(hmac, bytes(16), bytes(16)),
        lambda: engine.cmac(hmac, b""),
        lambda: engine.gcm(tdes, b"", bytes(12), b""),
        lambda: engine.hmac(tdes, b""),
        lambda: engine.sign(tdes, b""),
    ]
    for refused in calls:
        with pytest.raises(KeyRefused):
            refused()


@pytest.mark.parametrize(
    ("algorithm", "length"),
    [
        (Algorithm.TDES, 8),
        (Algorithm.TDES, 32),
        (Algorithm.AES, 8),
        (Algorithm.AES, 17),
    ],
)
def test_a_key_of_a_length_its_algorithm_has_not_is_refused(
    engine: Engine, algorithm: Algorithm, length: int
) -> None:
    with pytest.raises(KeyRefused):
        engine.create(KeyValue(bytes(length)), algorithm, ALL)


def test_an_unknown_or_destroyed_handle_is_refused(engine: Engine) -> None:
    key = engine.create(VALUE, Algorithm.AES, ALL)
    engine.destroy(key)
    engine.destroy(key)
    for handle in (key, Handle(99)):
        with pytest.raises(KeyRefused):
            engine.ecb(handle, bytes(16))


def test_sealed_data_opens_under_its_nonce_and_context_only(engine: Engine) -> None:
    key = engine.create(VALUE, Algorithm.AES, ALL)
    sealed = engine.gcm(key, b"data", bytes(12), b"context")
    assert engine.gcm(key, sealed, bytes(12), b"context", decrypt=True) == b"data"
    flipped = bytes([sealed[0] ^ 1]) + sealed[1:]
    for data, nonce, context in (
        (sealed, bytes(12), b"contexu"),
        (sealed, bytes(11) + b"1", b"context"),
        (flipped, bytes(12), b"context"),
        (sealed[:10], bytes(12), b"context"),
    ):
        with pytest.raises(VerificationFailed):
            engine.gcm(key, data, nonce, context, decrypt=True)
