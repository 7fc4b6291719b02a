"""Sealing and hashing data for the store, and the data of terminals."""

from __future__ import annotations

import secrets

from isoswitch.codecs.canonical.errors import DecodeError, HsmError, VerificationFailed
from isoswitch.hsm.functions.key import Key
from isoswitch.hsm.handlers.versions import try_each
from isoswitch.hsm.keys import Purpose
from isoswitch.hsm.keytable import KeyTable
from isoswitch.hsm.port import DecryptData, EncryptData, HashData, Random
from isoswitch.hsm.terminals import Direction

RANDOM_BYTES_MAX = 4096
_NONCE_BYTES = 12
_TAG_BYTES = 16


def encrypt_data(keys: KeyTable, command: EncryptData, _last: bytes) -> bytes:
    """Seal data, or encrypt a terminal's."""
    if command.ksn:
        return _run_terminal_cipher(keys, command, Direction.RESPONSE)
    key = keys.get_objects(command.key, Purpose.SEAL)[0]
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + key.gcm(command.data, nonce, command.context)


def decrypt_data(keys: KeyTable, command: DecryptData, _last: bytes) -> bytes:
    """Open sealed data, or decrypt a terminal's."""
    if command.ksn:
        return _run_terminal_cipher(keys, command, Direction.REQUEST)
    candidates = keys.get_objects(command.key, Purpose.OPEN)
    nonce, sealed = command.data[:_NONCE_BYTES], command.data[_NONCE_BYTES:]
    if len(sealed) < _TAG_BYTES:
        raise VerificationFailed("the sealed data does not open")

    def open_sealed(key: Key) -> bytes:
        return key.gcm(sealed, nonce, command.context, decrypt=True)

    return try_each(candidates, open_sealed)


def hash_data(keys: KeyTable, command: HashData, _last: bytes) -> bytes:
    """Give the keyed hash of data."""
    return keys.get_objects(command.key, Purpose.HASH)[0].hmac(command.data)


def random(keys: KeyTable, command: Random, _last: bytes) -> bytes:
    """Give random bytes of the token."""
    if not 1 <= command.length <= RANDOM_BYTES_MAX:
        raise HsmError(f"random bytes are given by 1 to {RANDOM_BYTES_MAX}")
    return keys.engine.random(command.length)


def _run_terminal_cipher(
    keys: KeyTable, command: EncryptData | DecryptData, direction: Direction
) -> bytes:
    if command.context:
        raise HsmError("the data of a terminal is bound to no context")
    terminals = keys.get_terminal_version(command.key, command.base_version)
    try:
        key = terminals.derive_data_key(command.ksn, direction)
    except DecodeError:
        raise HsmError("no terminal makes this key serial number") from None
    with key:
        return key.cbc(
            command.data,
            bytes(key.block_size),
            decrypt=direction is Direction.REQUEST,
        )
