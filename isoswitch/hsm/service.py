"""Runs payment commands against the keys of one engine, one after the other.

A failed verification says nothing but that it failed. A PIN block that is not valid
costs the engine the same calls as one that is.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, TypeVar

import msgspec

from isoswitch.codecs.canonical.errors import HsmError, KeyRefused, VerificationFailed
from isoswitch.codecs.canonical.secrets import Pan, PinBlock
from isoswitch.hsm.functions import mac, pin
from isoswitch.hsm.functions.key import Key
from isoswitch.hsm.functions.mac import MacKey
from isoswitch.hsm.functions.pin import PinKey
from isoswitch.hsm.keyplane import KeyPlane
from isoswitch.hsm.keys import Purpose
from isoswitch.hsm.keytable import KeyTable
from isoswitch.hsm.knownanswers import KnownAnswers
from isoswitch.hsm.metrics import OK, CommandMetrics, outcome_of
from isoswitch.hsm.port import (
    ActivateKey,
    AnyCommand,
    CheckHealth,
    DecryptData,
    DropKey,
    EncryptData,
    GenerateMac,
    HashData,
    ImportKey,
    ListKeys,
    OfferKey,
    ReadMetrics,
    TranslatePin,
    VerifyMac,
)
from isoswitch.hsm.splicing import splice

_NONCE_BYTES = 12
_TAG_BYTES = 16

T = TypeVar("T")
R = TypeVar("R")


class CryptoService:
    """Payment commands over loaded keys; synchronous, for one worker.

    Parameters
    ----------
    keys
        The keys by name.
    known_answers
        What the engine must compute to be healthy.
    plane
        What follows and changes the stored keys; without one they stay as they are.
    """

    def __init__(
        self,
        keys: KeyTable,
        known_answers: KnownAnswers,
        *,
        plane: KeyPlane | None = None,
    ) -> None:
        self._keys = keys
        self._known_answers = known_answers
        self._plane = plane
        self._metrics = CommandMetrics()

    @property
    def keys_loaded(self) -> int:
        """How many versions of keys are loaded."""
        return len(self._keys)

    def execute(self, commands: Sequence[AnyCommand]) -> list[bytes]:
        """Run commands in order and give one result for each.

        Raises
        ------
        VerificationFailed
            A MAC, PIN block or sealed datum is not valid; nothing after it was done.
        HsmError
            A key, a command or the engine stands in the way.
        """
        if self._plane is not None:
            self._plane.refresh()
        results: list[bytes] = []
        last = b""
        for command in commands:
            started = perf_counter()
            outcome = OK
            try:
                last = _HANDLERS[type(command)](self, command, last)
            except Exception as fault:
                outcome = outcome_of(fault)
                raise
            finally:
                name = type(command).__name__
                self._metrics.count(name, outcome, perf_counter() - started)
            results.append(last)
        return results

    def _verify_mac(self, command: VerifyMac, _last: bytes) -> bytes:
        keys = self._keys.get_mac_keys(command.key, Purpose.VERIFY_MAC)

        def verify(key: MacKey) -> MacKey:
            mac.verify(key, command.data, command.mac)
            return key

        version = self._keys.find_pending(_try_each(keys, verify))
        return b"" if version is None else str(version).encode()

    def _generate_mac(self, command: GenerateMac, last: bytes) -> bytes:
        keys = self._keys.get_mac_keys(command.key, Purpose.GENERATE_MAC)
        data = command.data
        if command.splice is not None:
            data = splice(data, last, command.splice)
        try:
            return mac.generate(keys[0], data, length=command.length)
        except ValueError as fault:
            raise HsmError(str(fault)) from None

    def _translate_pin(self, command: TranslatePin, _last: bytes) -> bytes:
        sources = self._keys.get_pin_keys(
            command.source, Purpose.DECRYPT_PIN, command.source_format
        )
        target = self._keys.get_pin_keys(
            command.target, Purpose.ENCRYPT_PIN, command.target_format
        )[0]
        try:
            pan = Pan(command.pan)
        except ValueError:
            raise HsmError("the PAN has not 8 to 19 digits") from None
        block = PinBlock(command.block)

        def translate(source: PinKey) -> bytes:
            return pin.translate(block, pan, source=source, target=target).reveal()

        try:
            return _try_each(sources, translate)
        except VerificationFailed:
            # Keeps the engine as busy as a valid block would.
            target.key.ecb(bytes(target.key.block_size))
            raise

    def _encrypt_data(self, command: EncryptData, _last: bytes) -> bytes:
        key = self._keys.get_objects(command.key, Purpose.SEAL)[0]
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = key.engine.gcm(key.handle, command.data, nonce, command.context)
        return nonce + sealed

    def _decrypt_data(self, command: DecryptData, _last: bytes) -> bytes:
        keys = self._keys.get_objects(command.key, Purpose.OPEN)
        nonce, sealed = command.data[:_NONCE_BYTES], command.data[_NONCE_BYTES:]
        if len(sealed) < _TAG_BYTES:
            raise VerificationFailed("the sealed data does not open")

        def open_sealed(key: Key) -> bytes:
            return key.engine.gcm(
                key.handle, sealed, nonce, command.context, decrypt=True
            )

        return _try_each(keys, open_sealed)

    def _hash_data(self, command: HashData, _last: bytes) -> bytes:
        key = self._keys.get_objects(command.key, Purpose.HASH)[0]
        return key.hmac(command.data)

    def _import_key(self, command: ImportKey, _last: bytes) -> bytes:
        return self._key_plane().import_key(command).encode()

    def _offer_key(self, command: OfferKey, _last: bytes) -> bytes:
        return self._key_plane().offer_key(command).encode()

    def _activate_key(self, command: ActivateKey, _last: bytes) -> bytes:
        self._key_plane().activate_key(command)
        return b""

    def _drop_key(self, command: DropKey, _last: bytes) -> bytes:
        self._key_plane().drop_key(command)
        return b""

    def _key_plane(self) -> KeyPlane:
        if self._plane is None:
            raise KeyRefused("this service does not change its keys")
        return self._plane

    def _check_health(self, _command: CheckHealth, _last: bytes) -> bytes:
        self._known_answers.check_health()
        return b""

    def _read_metrics(self, _command: ReadMetrics, _last: bytes) -> bytes:
        return self._metrics.render({"isoswitch_hsm_keys": self.keys_loaded}).encode()

    def _list_keys(self, _command: ListKeys, _last: bytes) -> bytes:
        return msgspec.json.encode(
            [
                {
                    "name": record.plan.name,
                    "version": record.plan.version,
                    "state": record.state,
                    "kcv": record.kcv,
                }
                for record in self._keys.records
            ]
        )


_HANDLERS: Mapping[type, Callable[[CryptoService, Any, bytes], bytes]] = {
    VerifyMac: CryptoService._verify_mac,
    GenerateMac: CryptoService._generate_mac,
    TranslatePin: CryptoService._translate_pin,
    EncryptData: CryptoService._encrypt_data,
    DecryptData: CryptoService._decrypt_data,
    HashData: CryptoService._hash_data,
    CheckHealth: CryptoService._check_health,
    ReadMetrics: CryptoService._read_metrics,
    ListKeys: CryptoService._list_keys,
    ImportKey: CryptoService._import_key,
    OfferKey: CryptoService._offer_key,
    ActivateKey: CryptoService._activate_key,
    DropKey: CryptoService._drop_key,
}


def _try_each(keys: Sequence[T], attempt: Callable[[T], R]) -> R:
    """Try the active key, then those of a running key change."""
    for key in keys[:-1]:
        try:
            return attempt(key)
        except VerificationFailed:
            continue
    return attempt(keys[-1])
