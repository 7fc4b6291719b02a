"""Signatures with our keys, and checking those of partners."""

from __future__ import annotations

from isoswitch.hsm.functions import signature
from isoswitch.hsm.keys import Purpose
from isoswitch.hsm.keytable import KeyTable
from isoswitch.hsm.port import ReadPublicKey, Sign, VerifySignature


def sign(keys: KeyTable, command: Sign, _last: bytes) -> bytes:
    """Sign data."""
    return keys.get_objects(command.key, Purpose.SIGN)[0].sign(command.data)


def read_public_key(keys: KeyTable, command: ReadPublicKey, _last: bytes) -> bytes:
    """Give the public key to the one that signs."""
    return bytes.fromhex(keys.get_records(command.key, Purpose.SIGN)[0].public)


def verify_signature(_keys: KeyTable, command: VerifySignature, _last: bytes) -> bytes:
    """Check a signature with a public key; no token takes part in that."""
    signature.verify_signature(command.public, command.data, command.signature)
    return b""
