"""The transaction keys of terminals under one base derivation key (DUKPT).

A terminal encrypts and authenticates with keys of one transaction, named by a key
serial number. What we decrypt and verify was made with the keys of the request, what
we encrypt and authenticate is for those of the response. TDES keys are derived in this
process, AES keys in the token.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from isoswitch.codecs.canonical.errors import KeyRefused
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Use
from isoswitch.hsm.functions.dukpt_aes import AesPurpose, AesTerminals, KeyKind
from isoswitch.hsm.functions.dukpt_tdes import (
    BaseKey,
    GivenInitialKey,
    TdesPurpose,
    TdesTerminals,
)
from isoswitch.hsm.functions.key import DECRYPT, ENCRYPT, MAC, Key
from isoswitch.hsm.functions.mac import MacAlgorithm, MacKey
from isoswitch.hsm.functions.pin import PinFormat, PinKey
from isoswitch.hsm.software import SoftwareEngine


class Direction(Enum):
    """Which way what a key protects travels."""

    REQUEST = "from the terminal"
    RESPONSE = "to the terminal"


class TerminalKeys(Protocol):
    """Derives keys by serial number; the caller destroys them after use.

    Every call raises ``DecodeError`` for a serial number that no terminal makes.
    """

    def derive_pin_key(self, ksn: bytes, pin_format: PinFormat) -> PinKey:
        """Derive the key that opens a transaction's PIN block."""
        ...

    def derive_mac_key(self, ksn: bytes, direction: Direction) -> MacKey:
        """Derive the key of a transaction's MACs: retail MAC, of AES terminals CMAC."""
        ...

    def derive_data_key(self, ksn: bytes, direction: Direction) -> Key:
        """Derive the key that decrypts a request's data or encrypts a response's."""
        ...

    def close(self) -> None:
        """Forget the keys on the way to those of transactions."""
        ...


class TdesTerminalKeys:
    """The terminals of TDES DUKPT (ANSI X9.24-1)."""

    def __init__(self, base: BaseKey | GivenInitialKey) -> None:
        self._terminals = TdesTerminals(base)
        self._engine = SoftwareEngine()

    def derive_pin_key(self, ksn: bytes, pin_format: PinFormat) -> PinKey:
        """Derive the key that opens a transaction's PIN block."""
        if pin_format is PinFormat.ISO_4:
            raise KeyRefused("a TDES terminal makes no PIN block of format 4")
        value = self._terminals.derive(ksn, TdesPurpose.PIN)
        return PinKey(self._load(value, DECRYPT), pin_format)

    def derive_mac_key(self, ksn: bytes, direction: Direction) -> MacKey:
        """Derive the key of a transaction's MACs: the retail MAC."""
        value = self._terminals.derive(ksn, _TDES_MAC[direction])
        return MacKey.load(self._engine, value, Algorithm.TDES, MacAlgorithm.ALG3)

    def derive_data_key(self, ksn: bytes, direction: Direction) -> Key:
        """Derive the key that decrypts a request's data or encrypts a response's."""
        value = self._terminals.derive(ksn, _TDES_DATA[direction])
        return self._load(value, _DATA_USE[direction])

    def close(self) -> None:
        """Forget the keys on the way to those of transactions."""
        self._terminals.close()

    def _load(self, value: KeyValue, uses: frozenset[Use]) -> Key:
        return Key.load(self._engine, value, Algorithm.TDES, uses)


class AesTerminalKeys:
    """The terminals of AES DUKPT (ANSI X9.24-3); their keys stay in the token."""

    def __init__(self, base: Key, *, length: int, is_initial: bool = False) -> None:
        self._kind = _KIND_OF_LENGTH[length]
        self._terminals = AesTerminals(base, self._kind, is_initial=is_initial)

    def derive_pin_key(self, ksn: bytes, pin_format: PinFormat) -> PinKey:
        """Derive the key that opens a PIN block: AES for format 4, TDES for others."""
        is_aes = pin_format is PinFormat.ISO_4
        kind = self._kind if is_aes else KeyKind.TDES_128
        key = self._terminals.derive(ksn, AesPurpose.PIN, kind, DECRYPT)
        return PinKey(key, pin_format)

    def derive_mac_key(self, ksn: bytes, direction: Direction) -> MacKey:
        """Derive the key of a transaction's MACs: CMAC with AES."""
        key = self._terminals.derive(ksn, _AES_MAC[direction], self._kind, MAC)
        return MacKey(algorithm=MacAlgorithm.CMAC, key=key)

    def derive_data_key(self, ksn: bytes, direction: Direction) -> Key:
        """Derive the key that decrypts a request's data or encrypts a response's."""
        uses = _DATA_USE[direction]
        return self._terminals.derive(ksn, _AES_DATA[direction], self._kind, uses)

    def close(self) -> None:
        """Forget the keys on the way to those of transactions."""
        self._terminals.close()


_KIND_OF_LENGTH = {16: KeyKind.AES_128, 24: KeyKind.AES_192, 32: KeyKind.AES_256}
_TDES_MAC = {
    Direction.REQUEST: TdesPurpose.MAC_REQUEST,
    Direction.RESPONSE: TdesPurpose.MAC_RESPONSE,
}
_TDES_DATA = {
    Direction.REQUEST: TdesPurpose.DATA_REQUEST,
    Direction.RESPONSE: TdesPurpose.DATA_RESPONSE,
}
# Purposes are named from the terminal's side.
_AES_MAC = {
    Direction.REQUEST: AesPurpose.MAC_GENERATION,
    Direction.RESPONSE: AesPurpose.MAC_VERIFICATION,
}
_AES_DATA = {
    Direction.REQUEST: AesPurpose.DATA_ENCRYPTION,
    Direction.RESPONSE: AesPurpose.DATA_DECRYPTION,
}
_DATA_USE = {Direction.REQUEST: DECRYPT, Direction.RESPONSE: ENCRYPT}
