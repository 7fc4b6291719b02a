"""What a stored key is: its name, its TR-31 usage and mode, and what that permits.

A key becomes one or more objects in the engine, each with the fewest uses: the two
forms of a retail MAC key, one object per direction of a PIN key. The objects are
wrapped one by one under a key that is derived from the record's header, so that a
block moved to another name, usage or role does not load. A header reads::

    isoswitch-key/1|terminal/70000001/tpk|1|P0|tdes|D|16|1|-|-|decrypt

the name, version, usage, algorithm, mode, length, MAC padding, ``test`` and
``exportable`` where they hold, and the role of the object.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from isoswitch.codecs.canonical.errors import KeyRefused
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Engine, Use
from isoswitch.hsm.functions.kcv import cmac_kcv, legacy_kcv
from isoswitch.hsm.functions.key import DECRYPT, ENCRYPT, MAC, Key
from isoswitch.hsm.functions.mac import MacAlgorithm

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9/_.-]{0,63}")


class Usage(StrEnum):
    """What a key is for, by its TR-31 code (ANSI X9.143, table 6)."""

    DATA = "D0"
    KEY_ENCRYPTION = "K0"
    KEY_BLOCK_PROTECTION = "K1"
    MAC_ALGORITHM_1 = "M1"
    MAC_ALGORITHM_3 = "M3"
    CMAC = "M6"
    HMAC = "M7"
    PIN = "P0"


class Mode(StrEnum):
    """In which direction a key may be used, by its TR-31 code (table 8)."""

    BOTH = "B"
    GENERATE_AND_VERIFY = "C"
    DECRYPT = "D"
    ENCRYPT = "E"
    GENERATE = "G"
    VERIFY = "V"


class State(StrEnum):
    """Where a key is in its life.

    A pending key is accepted from the partner but not yet used by us; a retired one
    is still accepted until it is removed.
    """

    PENDING = "pending"
    ACTIVE = "active"
    RETIRED = "retired"


class Role(StrEnum):
    """What one object of a key does in the engine."""

    DECRYPT = "decrypt"
    ENCRYPT = "encrypt"
    SINGLE = "single"
    MAC = "mac"


class Purpose(StrEnum):
    """What a command wants of a key."""

    GENERATE_MAC = "generate a MAC"
    VERIFY_MAC = "verify a MAC"
    DECRYPT_PIN = "decrypt a PIN block"
    ENCRYPT_PIN = "encrypt a PIN block"
    SEAL = "encrypt data"
    OPEN = "decrypt data"
    HASH = "hash data"


@dataclass(frozen=True, slots=True)
class Permission:
    """Which keys serve a purpose, and whether the partner chose the key's version."""

    usages: frozenset[Usage]
    modes: frozenset[Mode]
    is_incoming: bool


_MACS = frozenset(
    {Usage.MAC_ALGORITHM_1, Usage.MAC_ALGORITHM_3, Usage.CMAC, Usage.HMAC}
)
_PINS = frozenset({Usage.PIN})
_DATA = frozenset({Usage.DATA})
_DECRYPTING = frozenset({Mode.DECRYPT, Mode.BOTH})
_ENCRYPTING = frozenset({Mode.ENCRYPT, Mode.BOTH})
_GENERATING = frozenset({Mode.GENERATE, Mode.GENERATE_AND_VERIFY})
_VERIFYING = frozenset({Mode.VERIFY, Mode.GENERATE_AND_VERIFY})

PERMISSIONS: Mapping[Purpose, Permission] = {
    Purpose.GENERATE_MAC: Permission(_MACS, _GENERATING, is_incoming=False),
    Purpose.VERIFY_MAC: Permission(_MACS, _VERIFYING, is_incoming=True),
    Purpose.DECRYPT_PIN: Permission(_PINS, _DECRYPTING, is_incoming=True),
    Purpose.ENCRYPT_PIN: Permission(_PINS, _ENCRYPTING, is_incoming=False),
    Purpose.SEAL: Permission(_DATA, _ENCRYPTING, is_incoming=False),
    Purpose.OPEN: Permission(_DATA, _DECRYPTING, is_incoming=True),
    Purpose.HASH: Permission(frozenset({Usage.HMAC}), _GENERATING, is_incoming=False),
}

MAC_ALGORITHMS: Mapping[Usage, MacAlgorithm] = {
    Usage.MAC_ALGORITHM_1: MacAlgorithm.ALG1,
    Usage.MAC_ALGORITHM_3: MacAlgorithm.ALG3,
    Usage.CMAC: MacAlgorithm.CMAC,
    Usage.HMAC: MacAlgorithm.HMAC,
}

_USES: Mapping[Role, frozenset[Use]] = {
    Role.DECRYPT: DECRYPT,
    Role.ENCRYPT: ENCRYPT,
    Role.SINGLE: ENCRYPT,
    Role.MAC: MAC,
}
_MAC_MODES = (Mode.GENERATE_AND_VERIFY, Mode.GENERATE, Mode.VERIFY)
_CIPHER_ROLES: Mapping[Mode, tuple[Role, ...]] = {
    Mode.BOTH: (Role.DECRYPT, Role.ENCRYPT),
    Mode.DECRYPT: (Role.DECRYPT,),
    Mode.ENCRYPT: (Role.ENCRYPT,),
}
_KEY_BLOCK_ROLES: Mapping[Mode, tuple[Role, ...]] = {
    Mode.BOTH: (Role.DECRYPT, Role.ENCRYPT, Role.MAC),
    Mode.DECRYPT: (Role.DECRYPT, Role.MAC),
    Mode.ENCRYPT: (Role.ENCRYPT, Role.MAC),
}
_ROLES: Mapping[Usage, Mapping[Mode, tuple[Role, ...]]] = {
    Usage.DATA: _CIPHER_ROLES,
    Usage.PIN: _CIPHER_ROLES,
    Usage.KEY_ENCRYPTION: _CIPHER_ROLES,
    Usage.KEY_BLOCK_PROTECTION: _KEY_BLOCK_ROLES,
    Usage.MAC_ALGORITHM_1: dict.fromkeys(_MAC_MODES, (Role.ENCRYPT,)),
    Usage.MAC_ALGORITHM_3: dict.fromkeys(_MAC_MODES, (Role.SINGLE, Role.ENCRYPT)),
    Usage.CMAC: dict.fromkeys(_MAC_MODES, (Role.MAC,)),
    Usage.HMAC: dict.fromkeys(_MAC_MODES, (Role.MAC,)),
}
_ALGORITHMS: Mapping[Usage, frozenset[Algorithm]] = {
    Usage.DATA: frozenset({Algorithm.AES}),
    Usage.PIN: frozenset({Algorithm.TDES, Algorithm.AES}),
    Usage.KEY_ENCRYPTION: frozenset({Algorithm.TDES, Algorithm.AES}),
    Usage.KEY_BLOCK_PROTECTION: frozenset({Algorithm.TDES, Algorithm.AES}),
    Usage.MAC_ALGORITHM_1: frozenset({Algorithm.TDES, Algorithm.AES}),
    Usage.MAC_ALGORITHM_3: frozenset({Algorithm.TDES}),
    Usage.CMAC: frozenset({Algorithm.TDES, Algorithm.AES}),
    Usage.HMAC: frozenset({Algorithm.HMAC}),
}
_LENGTHS: Mapping[Algorithm, frozenset[int]] = {
    Algorithm.TDES: frozenset({16, 24}),
    Algorithm.AES: frozenset({16, 24, 32}),
    # SoftHSM takes no HMAC key shorter than the hash.
    Algorithm.HMAC: frozenset({32, 48, 64}),
}


class KeyPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a key shall be, before it has a value.

    ``length`` counts bytes; ``mac_padding`` is the method of ISO 9797-1 for the MACs
    that need one. A key with ``is_test`` is refused in production, one
    without ``is_exportable`` never leaves in a key block.

    Raises
    ------
    KeyRefused
        The name is not one, or the attributes contradict each other.

    Examples
    --------
    >>> KeyPlan(name="issuer/a/zpk", usage="P0", mode="E", algorithm="tdes").roles
    (<Role.ENCRYPT: 'encrypt'>,)
    """

    name: str
    usage: Usage
    mode: Mode
    algorithm: Algorithm
    length: int = 16
    mac_padding: int = 1
    version: int = 1
    is_test: bool = False
    is_exportable: bool = False

    def __post_init__(self) -> None:
        for problem, is_wrong in {
            "its name is not made of A-Z, a-z, 0-9 and /_.-": not _NAME.fullmatch(
                self.name
            ),
            "its mode does not go with its usage": self.mode not in _ROLES[self.usage],
            "its algorithm does not go with its usage": (
                self.algorithm not in _ALGORITHMS[self.usage]
            ),
            "its length does not go with its algorithm": (
                self.length not in _LENGTHS[self.algorithm]
            ),
            "a retail MAC key has 16 bytes": (
                self.usage is Usage.MAC_ALGORITHM_3 and self.length != 16
            ),
            "its padding method is neither 1 nor 2": self.mac_padding not in {1, 2},
        }.items():
            if is_wrong:
                raise KeyRefused(f"key {self.name}: {problem}")

    @property
    def roles(self) -> tuple[Role, ...]:
        """The objects that the key becomes in the engine."""
        return _ROLES[self.usage][self.mode]

    def header(self, role: Role) -> bytes:
        """The bytes that the wrapped object of this role is bound to."""
        attributes = (
            "isoswitch-key/1",
            self.name,
            self.version,
            self.usage,
            self.algorithm,
            self.mode,
            self.length,
            self.mac_padding,
            "test" if self.is_test else "-",
            "exportable" if self.is_exportable else "-",
            role,
        )
        return "|".join(map(str, attributes)).encode()

    def describe(self) -> str:
        """Give name, version and attributes in words for an operator."""
        return (
            f"key {self.name} version {self.version} "
            f"({self.usage} {self.mode}, {self.algorithm} {self.length * 8} bits)"
        )

    def may(self, purpose: Purpose) -> bool:
        """Whether usage and mode permit the purpose."""
        permission = PERMISSIONS[purpose]
        return self.usage in permission.usages and self.mode in permission.modes


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A stored key: its plan, check value, state, and one wrapped object per role."""

    plan: KeyPlan
    kcv: str
    state: State = State.ACTIVE
    created: str = ""
    blocks: dict[Role, str]


def uses_of(role: Role) -> frozenset[Use]:
    """Give the uses of the object that plays a role."""
    return _USES[role]


def value_of(role: Role, value: KeyValue) -> KeyValue:
    """Give the value of the object that plays a role; single DES is K1|K1."""
    return KeyValue(value.reveal()[:8] * 2) if role is Role.SINGLE else value


def check_value(engine: Engine, value: KeyValue, algorithm: Algorithm) -> str:
    """Compute a key check value, as hexadecimal digits.

    TDES: the first 3 bytes of an encrypted zero block. AES: the first 5 bytes of the
    CMAC of a zero block (ANSI X9.24-1, annex A). HMAC: the first 3 bytes of the HMAC
    of nothing.

    Examples
    --------
    >>> from isoswitch.hsm.software import SoftwareEngine
    >>> value = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
    >>> check_value(SoftwareEngine(), value, Algorithm.TDES)
    '08D7B4'
    """
    uses = ENCRYPT if algorithm is Algorithm.TDES else MAC
    with Key.load(engine, value, algorithm, uses) as key:
        match algorithm:
            case Algorithm.TDES:
                octets = legacy_kcv(key)
            case Algorithm.AES:
                octets = cmac_kcv(key)
            case Algorithm.HMAC:
                octets = key.hmac(b"")[:3]
    return octets.hex().upper()
