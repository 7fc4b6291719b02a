"""The contract of every engine: values, refusals, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pkcs11 import PKCS11Error
from pkcs11 import exceptions as faults

from isoswitch.codecs.canonical.errors import (
    HsmError,
    HsmUnavailable,
    KeyRefused,
    NotSupported,
    VerificationFailed,
)
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Engine, Handle, Use
from isoswitch.hsm.knownanswers import KnownAnswers
from isoswitch.hsm.pkcs11_engine import Pkcs11Engine
from isoswitch.hsm.pkcs11_library import translating
from isoswitch.hsm.software import SoftwareEngine

ALL = frozenset(Use)
CIPHER = frozenset({Use.ENCRYPT, Use.DECRYPT})
TDES = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
AES = KeyValue(bytes(range(16)))
HMAC = KeyValue(bytes(range(32)))


def test_known_answers_are_right(engine: Engine) -> None:
    answers = KnownAnswers(engine)
    answers.check_all()
    answers.check_health()


@pytest.mark.parametrize("length", [16, 24, 32])
def test_derived_keys_are_the_encrypted_data(engine: Engine, length: int) -> None:
    if length == 24:
        base = engine.create(TDES, Algorithm.TDES, ALL)
        algorithm = Algorithm.TDES
    else:
        base = engine.create(AES, Algorithm.AES, ALL)
        algorithm = Algorithm.AES
    data = bytes(range(length))
    value = KeyValue(engine.ecb(base, data))
    derived = engine.derive(base, data, algorithm, CIPHER)
    same = engine.create(value, algorithm, CIPHER)
    assert engine.ecb(derived, bytes(16)) == engine.ecb(same, bytes(16))


Operation = Callable[[Engine, Handle], object]
OPERATIONS: dict[Use, Operation] = {
    Use.ENCRYPT: lambda engine, key: engine.ecb(key, bytes(16)),
    Use.DECRYPT: lambda engine, key: engine.ecb(key, bytes(16), decrypt=True),
    Use.MAC: lambda engine, key: engine.cmac(key, b""),
    Use.DERIVE: lambda engine, key: engine.derive(key, bytes(16), Algorithm.AES, ALL),
    Use.SIGN: lambda engine, key: engine.sign(key, b""),
}


@pytest.mark.parametrize("given_use", [use for use in Use if use is not Use.SIGN])
@pytest.mark.parametrize("wanted_use", Use)
def test_a_key_does_what_it_was_made_for_and_nothing_else(
    engine: Engine, given_use: Use, wanted_use: Use
) -> None:
    key = engine.create(AES, Algorithm.AES, frozenset({given_use}))
    if given_use is wanted_use:
        OPERATIONS[wanted_use](engine, key)
    else:
        with pytest.raises(KeyRefused):
            OPERATIONS[wanted_use](engine, key)


@pytest.mark.parametrize(
    ("algorithm", "length"),
    [
        (Algorithm.TDES, 8),
        (Algorithm.TDES, 15),
        (Algorithm.TDES, 32),
        (Algorithm.AES, 0),
        (Algorithm.AES, 20),
    ],
)
def test_a_key_of_impossible_length_is_refused(
    engine: Engine, algorithm: Algorithm, length: int
) -> None:
    with pytest.raises(KeyRefused):
        engine.create(KeyValue(bytes(length)), algorithm, ALL)


@pytest.mark.parametrize("length", [1, 7, 9, 15, 17])
def test_a_part_of_a_block_is_refused_and_harms_nothing(
    engine: Engine, length: int
) -> None:
    key = engine.create(AES, Algorithm.AES, ALL)
    before = engine.ecb(key, bytes(16))
    for decrypt in (False, True):
        with pytest.raises(HsmError):
            engine.ecb(key, bytes(length), decrypt=decrypt)
        with pytest.raises(HsmError):
            engine.cbc(key, bytes(length), bytes(16), decrypt=decrypt)
    assert engine.ecb(key, bytes(16)) == before


def test_an_initial_vector_of_another_length_is_refused(engine: Engine) -> None:
    key = engine.create(AES, Algorithm.AES, ALL)
    with pytest.raises(HsmError):
        engine.cbc(key, bytes(16), bytes(8))


def test_a_destroyed_key_is_no_key(engine: Engine) -> None:
    key = engine.create(AES, Algorithm.AES, ALL)
    engine.destroy(key)
    with pytest.raises(KeyRefused):
        engine.ecb(key, bytes(16))
    engine.destroy(key)


def test_the_wrong_kind_of_key_is_refused(engine: Engine) -> None:
    cipher = engine.create(AES, Algorithm.AES, ALL)
    tdes = engine.create(TDES, Algorithm.TDES, ALL)
    mac = engine.create(HMAC, Algorithm.HMAC, frozenset({Use.MAC}))
    with pytest.raises(KeyRefused):
        engine.hmac(cipher, b"")
    with pytest.raises(KeyRefused):
        engine.cmac(mac, b"")
    with pytest.raises(KeyRefused):
        engine.gcm(tdes, b"", bytes(12), b"")


@pytest.mark.parametrize("changed", ["data", "tag", "nonce", "context", "key"])
def test_sealed_data_that_changed_does_not_open(engine: Engine, changed: str) -> None:
    key = engine.create(AES, Algorithm.AES, CIPHER)
    other = engine.create(KeyValue(bytes(16)), Algorithm.AES, CIPHER)
    sealed = engine.gcm(key, b"secret", bytes(12), b"context")
    opened = engine.gcm(key, sealed, bytes(12), b"context", decrypt=True)
    assert opened == b"secret"
    flipped = {
        "data": bytes([sealed[0] ^ 1]) + sealed[1:],
        "tag": sealed[:-1] + bytes([sealed[-1] ^ 1]),
    }
    with pytest.raises(VerificationFailed):
        engine.gcm(
            other if changed == "key" else key,
            flipped.get(changed, sealed),
            bytes(11) + b"\x01" if changed == "nonce" else bytes(12),
            b"Context" if changed == "context" else b"context",
            decrypt=True,
        )


@pytest.mark.live
@settings(max_examples=60, deadline=None)
@given(
    value=st.sampled_from([16, 24]).flatmap(
        lambda n: st.binary(min_size=n, max_size=n)
    ),
    data=st.binary(max_size=96),
    iv=st.binary(min_size=16, max_size=16),
)
def test_the_token_and_the_software_agree(
    token_engine: Pkcs11Engine, value: bytes, data: bytes, iv: bytes
) -> None:
    software = SoftwareEngine()
    whole = data + bytes(16 - len(data) % 16)
    for algorithm, block in ((Algorithm.TDES, 8), (Algorithm.AES, 16)):
        answers = []
        for engine in (software, token_engine):
            key = engine.create(KeyValue(value), algorithm, ALL)
            answers.append(
                (
                    engine.ecb(key, whole),
                    engine.ecb(key, whole, decrypt=True),
                    engine.cbc(key, whole, iv[:block]),
                    engine.cbc(key, whole, iv[:block], decrypt=True),
                    engine.cmac(key, data),
                )
            )
            engine.destroy(key)
        assert answers[0] == answers[1]


class LyingEngine(SoftwareEngine):
    """Computes HMACs wrongly."""

    def hmac(self, handle: Handle, data: bytes) -> bytes:
        return bytes(32)


class BrokenEngine(SoftwareEngine):
    """Makes no HMACs at all."""

    def hmac(self, handle: Handle, data: bytes) -> bytes:
        raise HsmError("the token refuses the command: DeviceError")


@pytest.mark.parametrize("engine_kind", [LyingEngine, BrokenEngine])
def test_a_wrong_answer_makes_an_engine_unavailable(
    engine_kind: type[SoftwareEngine],
) -> None:
    with pytest.raises(HsmUnavailable, match="HMAC-SHA-256"):
        KnownAnswers(engine_kind()).check_health()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.MechanismInvalid(), NotSupported),
        (faults.FunctionNotSupported(), NotSupported),
        (faults.KeySizeRange(), KeyRefused),
        (faults.DeviceRemoved(), HsmUnavailable),
        (faults.PinIncorrect(), HsmUnavailable),
        (faults.DataLenRange(), HsmError),
        (PKCS11Error("not initialised"), HsmUnavailable),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else "",
)
def test_what_a_token_lacks_is_told_from_what_it_refuses(
    fault: Exception, error: type[HsmError]
) -> None:
    @translating
    def call() -> None:
        raise fault

    with pytest.raises(HsmError) as caught:
        call()
    assert type(caught.value) is error
