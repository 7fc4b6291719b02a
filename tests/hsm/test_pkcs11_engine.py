"""A token that fails, told from data that are not intact."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from pkcs11 import PKCS11Error
from pkcs11 import exceptions as faults

from isoswitch.codecs.canonical.errors import (
    HsmError,
    HsmUnavailable,
    KeyRefused,
    VerificationFailed,
)
from isoswitch.hsm.engine import Algorithm, Handle, Use
from isoswitch.hsm.pkcs11_engine import Pkcs11Engine
from isoswitch.hsm.vault import Vault
from tests.hsm.softhsm import AES_KEY, TDES_KEY

pytestmark = pytest.mark.live

CIPHER = frozenset({Use.ENCRYPT, Use.DECRYPT})
ALWAYS = 1000


class Stumbling:
    """A key object of the library whose operations fail so many times."""

    def __init__(self, key: Any, left: list[PKCS11Error]) -> None:
        self._key = key
        self._left = left

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if name in {"encrypt", "decrypt", "unwrap_key"} and self._left:
                raise self._left.pop()
            result = getattr(self._key, name)(*args, **kwargs)
            return Stumbling(result, self._left) if name == "derive_key" else result

        return call


@contextmanager
def failing(engine: Pkcs11Engine, fault: PKCS11Error, times: int) -> Iterator[None]:
    """Have the token fail at the next operations of any key."""
    kept, left = dict(engine._loaded), [fault] * times
    for handle, loaded in kept.items():
        engine._loaded[handle] = replace(loaded, key=Stumbling(loaded.key, left))
    try:
        yield
    finally:
        engine._loaded |= kept


@pytest.fixture
def seal(token_engine: Pkcs11Engine) -> Handle:
    return token_engine.create(AES_KEY, Algorithm.AES, CIPHER)


@pytest.mark.parametrize("fault", [faults.GeneralError(), faults.DeviceError()])
def test_a_token_that_fails_says_nothing_of_sealed_data(
    token_engine: Pkcs11Engine, seal: Handle, fault: PKCS11Error
) -> None:
    sealed = token_engine.gcm(seal, b"leg", bytes(12), b"")
    with failing(token_engine, fault, ALWAYS):
        with pytest.raises(HsmUnavailable):
            token_engine.gcm(seal, sealed, bytes(12), b"", decrypt=True)
        with pytest.raises(HsmUnavailable):
            token_engine.gcm(seal, b"leg", bytes(12), b"")


def test_a_token_that_fails_once_opens_what_is_intact(
    token_engine: Pkcs11Engine, seal: Handle
) -> None:
    sealed = token_engine.gcm(seal, b"leg", bytes(12), b"")
    with failing(token_engine, faults.GeneralError(), 1):
        opened = token_engine.gcm(seal, sealed, bytes(12), b"", decrypt=True)
    assert opened == b"leg"


def test_a_token_that_tells_a_wrong_tag_is_believed(
    token_engine: Pkcs11Engine, seal: Handle
) -> None:
    sealed = token_engine.gcm(seal, b"leg", bytes(12), b"")
    with (
        failing(token_engine, faults.EncryptedDataInvalid(), 1),
        pytest.raises(VerificationFailed),
    ):
        token_engine.gcm(seal, sealed, bytes(12), b"", decrypt=True)


@pytest.mark.parametrize(
    ("fault", "times", "error"),
    [
        (faults.DeviceMemory(), 1, HsmUnavailable),
        (faults.DeviceRemoved(), 1, HsmUnavailable),
        (faults.GeneralError(), ALWAYS, HsmUnavailable),
        (faults.WrappedKeyInvalid(), 1, KeyRefused),
    ],
)
def test_a_token_that_fails_says_nothing_of_a_stored_key(
    token_engine: Pkcs11Engine,
    token_vault: Vault,
    fault: PKCS11Error,
    times: int,
    error: type[HsmError],
) -> None:
    block = token_vault.wrap(TDES_KEY, b"header")
    arguments = (block, b"header", Algorithm.TDES, CIPHER)
    with failing(token_engine, fault, times), pytest.raises(HsmError) as caught:
        token_vault.unwrap(*arguments)
    assert type(caught.value) is error
    with failing(token_engine, faults.GeneralError(), 1):
        key = token_vault.unwrap(*arguments)
    assert key.ecb(bytes(8)).hex().startswith("08d7b4")
