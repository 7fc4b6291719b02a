"""What a stored key is: its name, its TR-31 usage and mode, and what that permits.

A key becomes one or more objects in the engine, each with the fewest uses: the two
forms of a retail MAC key, one object per direction of a PIN key. The objects are
wrapped one by one under a key that is derived from the record's header, so that a
block moved to another name, usage or role does not load. A header reads::

    isoswitch-key/1|terminal/70000001/tpk|1|P0|tdes|D|16|1|-|-|decrypt

the name, version, usage, algorithm, mode, length, MAC padding, ``test`` and
``exportable`` where they hold, the role of the object, and the rule of a PIN offset
key, as ``0123456789012345|0|16|F``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

import msgspec

from isoswitch.codecs.canonical.errors import KeyRefused
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Engine, Use
from isoswitch.hsm.functions.dukpt_tdes import variant_of
from isoswitch.hsm.functions.ibm3624 import Ibm3624Rule
from isoswitch.hsm.functions.kcv import cmac_kcv, legacy_kcv
from isoswitch.hsm.functions.key import DECRYPT, DERIVE, ENCRYPT, MAC, Key
from isoswitch.hsm.functions.mac import MacAlgorithm
from isoswitch.hsm.functions.signature import public_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9/_.-]{0,63}")


class Usage(StrEnum):
    """What a key is for, by its TR-31 code (ANSI X9.143, table 6).

    Digits are left to agreement; no code of the standard means UnionPay's MAC.
    """

    DUKPT_BASE = "B0"
    DUKPT_INITIAL = "B1"
    CARD_VERIFICATION = "C0"
    DATA = "D0"
    EMV_CRYPTOGRAM = "E0"
    EMV_CONFIDENTIALITY = "E1"
    EMV_INTEGRITY = "E2"
    EMV_DYNAMIC_NUMBERS = "E4"
    KEY_ENCRYPTION = "K0"
    KEY_BLOCK_PROTECTION = "K1"
    MAC_ALGORITHM_1 = "M1"
    MAC_ALGORITHM_3 = "M3"
    CMAC = "M6"
    HMAC = "M7"
    PIN = "P0"
    SIGNATURE = "S0"
    IBM_OFFSET = "V1"
    PVV = "V2"
    UNIONPAY_MAC = "10"


class Mode(StrEnum):
    """In which direction a key may be used, by its TR-31 code (table 8)."""

    BOTH = "B"
    GENERATE_AND_VERIFY = "C"
    DECRYPT = "D"
    ENCRYPT = "E"
    GENERATE = "G"
    SIGN = "S"
    VERIFY = "V"
    DERIVE_KEYS = "X"


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
    VARIANT = "variant"
    MAC = "mac"
    DERIVE = "derive"
    MASTER = "master"
    SIGN = "sign"


class Purpose(StrEnum):
    """What a command wants of a key."""

    GENERATE_MAC = "generate a MAC"
    VERIFY_MAC = "verify a MAC"
    DECRYPT_PIN = "decrypt a PIN block"
    ENCRYPT_PIN = "encrypt a PIN block"
    SEAL = "encrypt data"
    OPEN = "decrypt data"
    WRAP_KEY = "protect a key"
    UNWRAP_KEY = "open a protected key"
    HASH = "hash data"
    DERIVE_TRANSACTION_KEYS = "derive keys of transactions"
    VERIFY_CARD_VALUE = "verify card values"
    VERIFY_CRYPTOGRAM = "verify cryptograms"
    VERIFY_DYNAMIC_NUMBER = "verify dynamic card values"
    AUTHENTICATE_SCRIPT = "authenticate issuer scripts"
    VERIFY_OFFSET = "verify a PIN by its offset"
    VERIFY_PVV = "verify a PIN by its PVV"
    SIGN = "sign"


@dataclass(frozen=True, slots=True)
class Permission:
    """Which keys serve a purpose, and whether the partner chose the key's version."""

    usages: frozenset[Usage]
    modes: frozenset[Mode]
    is_incoming: bool


_MACS = frozenset(
    {
        Usage.MAC_ALGORITHM_1,
        Usage.MAC_ALGORITHM_3,
        Usage.CMAC,
        Usage.HMAC,
        Usage.UNIONPAY_MAC,
    }
)
_KEYS = frozenset({Usage.KEY_ENCRYPTION, Usage.KEY_BLOCK_PROTECTION})
_DECRYPTING = frozenset({Mode.DECRYPT, Mode.BOTH})
_ENCRYPTING = frozenset({Mode.ENCRYPT, Mode.BOTH})
_GENERATING = frozenset({Mode.GENERATE, Mode.GENERATE_AND_VERIFY})
_VERIFYING = frozenset({Mode.VERIFY, Mode.GENERATE_AND_VERIFY})
_DERIVING = frozenset({Mode.DERIVE_KEYS})


def _incoming(usage: Usage, modes: frozenset[Mode]) -> Permission:
    return Permission(frozenset({usage}), modes, is_incoming=True)


def _outgoing(usage: Usage, modes: frozenset[Mode]) -> Permission:
    return Permission(frozenset({usage}), modes, is_incoming=False)


PERMISSIONS: Mapping[Purpose, Permission] = {
    Purpose.GENERATE_MAC: Permission(_MACS, _GENERATING, is_incoming=False),
    Purpose.VERIFY_MAC: Permission(_MACS, _VERIFYING, is_incoming=True),
    Purpose.DECRYPT_PIN: _incoming(Usage.PIN, _DECRYPTING),
    Purpose.ENCRYPT_PIN: _outgoing(Usage.PIN, _ENCRYPTING),
    Purpose.SEAL: _outgoing(Usage.DATA, _ENCRYPTING),
    Purpose.OPEN: _incoming(Usage.DATA, _DECRYPTING),
    Purpose.WRAP_KEY: Permission(_KEYS, _ENCRYPTING, is_incoming=False),
    Purpose.UNWRAP_KEY: Permission(_KEYS, _DECRYPTING, is_incoming=False),
    Purpose.HASH: _outgoing(Usage.HMAC, _GENERATING),
    Purpose.DERIVE_TRANSACTION_KEYS: Permission(
        frozenset({Usage.DUKPT_BASE, Usage.DUKPT_INITIAL}), _DERIVING, is_incoming=True
    ),
    Purpose.VERIFY_CARD_VALUE: _incoming(Usage.CARD_VERIFICATION, _VERIFYING),
    Purpose.VERIFY_CRYPTOGRAM: _incoming(Usage.EMV_CRYPTOGRAM, _DERIVING),
    Purpose.VERIFY_DYNAMIC_NUMBER: _incoming(Usage.EMV_DYNAMIC_NUMBERS, _DERIVING),
    Purpose.AUTHENTICATE_SCRIPT: _outgoing(Usage.EMV_INTEGRITY, _DERIVING),
    Purpose.VERIFY_OFFSET: _incoming(Usage.IBM_OFFSET, _VERIFYING),
    Purpose.VERIFY_PVV: _incoming(Usage.PVV, _VERIFYING),
    Purpose.SIGN: _outgoing(Usage.SIGNATURE, frozenset({Mode.SIGN})),
}

MAC_ALGORITHMS: Mapping[Usage, MacAlgorithm] = {
    Usage.MAC_ALGORITHM_1: MacAlgorithm.ALG1,
    Usage.MAC_ALGORITHM_3: MacAlgorithm.ALG3,
    Usage.CMAC: MacAlgorithm.CMAC,
    Usage.HMAC: MacAlgorithm.HMAC,
    Usage.UNIONPAY_MAC: MacAlgorithm.UNIONPAY,
}

_USES: Mapping[Role, frozenset[Use]] = {
    Role.DECRYPT: DECRYPT,
    Role.ENCRYPT: ENCRYPT,
    Role.SINGLE: ENCRYPT,
    Role.VARIANT: ENCRYPT,
    Role.MAC: MAC,
    Role.DERIVE: DERIVE,
    Role.MASTER: frozenset({Use.DERIVE, Use.ENCRYPT}),
    Role.SIGN: frozenset({Use.SIGN}),
}

Roles = Mapping[Mode, tuple[Role, ...]]
_CIPHER: Roles = {
    Mode.BOTH: (Role.DECRYPT, Role.ENCRYPT),
    Mode.DECRYPT: (Role.DECRYPT,),
    Mode.ENCRYPT: (Role.ENCRYPT,),
}
_KEY_BLOCK: Roles = {
    Mode.BOTH: (Role.DECRYPT, Role.ENCRYPT, Role.MAC),
    Mode.DECRYPT: (Role.DECRYPT, Role.MAC),
    Mode.ENCRYPT: (Role.ENCRYPT, Role.MAC),
}
_MAC_MODES = (Mode.GENERATE_AND_VERIFY, Mode.GENERATE, Mode.VERIFY)
_BLOCK_MAC: Roles = dict.fromkeys(_MAC_MODES, (Role.ENCRYPT,))
_RETAIL_MAC: Roles = dict.fromkeys(_MAC_MODES, (Role.SINGLE, Role.ENCRYPT))
_WHOLE_MAC: Roles = dict.fromkeys(_MAC_MODES, (Role.MAC,))
_DERIVATION: Roles = {Mode.DERIVE_KEYS: (Role.DERIVE,)}
_SIGNATURE: Roles = {Mode.SIGN: (Role.SIGN,)}

_ROLES: Mapping[Usage, Mapping[Algorithm, Roles]] = {
    Usage.DUKPT_BASE: {
        Algorithm.TDES: {Mode.DERIVE_KEYS: (Role.ENCRYPT, Role.VARIANT)},
        Algorithm.AES: _DERIVATION,
    },
    Usage.DUKPT_INITIAL: {Algorithm.TDES: _DERIVATION, Algorithm.AES: _DERIVATION},
    Usage.CARD_VERIFICATION: {Algorithm.TDES: _RETAIL_MAC},
    Usage.DATA: {Algorithm.AES: _CIPHER},
    Usage.EMV_CRYPTOGRAM: {Algorithm.TDES: _DERIVATION},
    Usage.EMV_CONFIDENTIALITY: {Algorithm.TDES: _DERIVATION},
    Usage.EMV_INTEGRITY: {Algorithm.TDES: {Mode.DERIVE_KEYS: (Role.MASTER,)}},
    Usage.EMV_DYNAMIC_NUMBERS: {Algorithm.TDES: _DERIVATION},
    Usage.KEY_ENCRYPTION: {Algorithm.TDES: _CIPHER, Algorithm.AES: _CIPHER},
    Usage.KEY_BLOCK_PROTECTION: {Algorithm.TDES: _KEY_BLOCK, Algorithm.AES: _KEY_BLOCK},
    Usage.MAC_ALGORITHM_1: {Algorithm.TDES: _BLOCK_MAC, Algorithm.AES: _BLOCK_MAC},
    Usage.MAC_ALGORITHM_3: {Algorithm.TDES: _RETAIL_MAC},
    Usage.CMAC: {Algorithm.TDES: _WHOLE_MAC, Algorithm.AES: _WHOLE_MAC},
    Usage.HMAC: {Algorithm.HMAC: _WHOLE_MAC},
    Usage.PIN: {Algorithm.TDES: _CIPHER, Algorithm.AES: _CIPHER},
    Usage.SIGNATURE: {Algorithm.EC: _SIGNATURE, Algorithm.RSA: _SIGNATURE},
    Usage.IBM_OFFSET: {Algorithm.TDES: _BLOCK_MAC},
    Usage.PVV: {Algorithm.TDES: _BLOCK_MAC},
    Usage.UNIONPAY_MAC: {Algorithm.TDES: _BLOCK_MAC},
}
"""The algorithms and modes of each usage, and the objects that such a key becomes."""

_LENGTHS: Mapping[Algorithm, frozenset[int]] = {
    Algorithm.TDES: frozenset({16, 24}),
    Algorithm.AES: frozenset({16, 24, 32}),
    # SoftHSM takes no HMAC key shorter than the hash.
    Algorithm.HMAC: frozenset({32, 48, 64}),
    Algorithm.EC: frozenset({32}),
    Algorithm.RSA: frozenset({256, 384, 512}),
}
_DOUBLE_LENGTH = frozenset(
    {
        Usage.DUKPT_BASE,
        Usage.DUKPT_INITIAL,
        Usage.CARD_VERIFICATION,
        Usage.EMV_CRYPTOGRAM,
        Usage.EMV_CONFIDENTIALITY,
        Usage.EMV_INTEGRITY,
        Usage.EMV_DYNAMIC_NUMBERS,
        Usage.MAC_ALGORITHM_3,
        Usage.UNIONPAY_MAC,
    }
)
"""Where a TDES key has two parts, whatever else TDES allows."""

STANDARD_RULE = Ibm3624Rule(table="0123456789012345")
"""The rule of PIN offsets where the issuer names no other."""


class KeyPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a key shall be, before it has a value.

    ``length`` counts bytes, of RSA those of the modulus; ``mac_padding`` is the method
    of ISO 9797-1 for the MACs that need one; ``pin_rule`` is for PIN offsets only, so
    that no client chooses it. A key with ``is_test`` is refused in production, one
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
    pin_rule: Ibm3624Rule | None = None

    def __post_init__(self) -> None:
        algorithms = _ROLES[self.usage]
        is_double = self.algorithm is Algorithm.TDES and self.usage in _DOUBLE_LENGTH
        for problem, is_wrong in {
            "its name is not made of A-Z, a-z, 0-9 and /_.-": not _NAME.fullmatch(
                self.name
            ),
            "its algorithm does not go with its usage": self.algorithm
            not in algorithms,
            "its mode does not go with its usage": self.mode
            not in algorithms.get(self.algorithm, {}),
            "its length does not go with its algorithm": self.length
            not in _LENGTHS[self.algorithm],
            "a key of this usage has 16 bytes": is_double and self.length != 16,
            "its padding method is neither 1 nor 2": self.mac_padding not in {1, 2},
            "only a PIN offset key has a rule": self.pin_rule is not None
            and self.usage is not Usage.IBM_OFFSET,
            "a signature key is not exportable": self.is_exportable
            and self.usage is Usage.SIGNATURE,
        }.items():
            if is_wrong:
                raise KeyRefused(f"key {self.name}: {problem}")

    @property
    def roles(self) -> tuple[Role, ...]:
        """The objects that the key becomes in the engine."""
        return _ROLES[self.usage][self.algorithm][self.mode]

    def header(self, role: Role) -> bytes:
        """The bytes that the wrapped object of this role is bound to."""
        rule = self.pin_rule
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
            *((rule.table, rule.start, rule.length, rule.pad) if rule else ()),
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
    """A stored key: its plan, check value, state, and one wrapped object per role.

    ``accepted_until`` ends, in UTC epoch seconds, what a retired key is still good
    for; 0 has no end. ``offered_under`` names the key under which a pending one was
    given to the partner, and may be given again. ``is_agreed`` holds for a pending one
    that the partner sent and is told we took. ``newest_removed`` is the highest version
    of this name that was removed: no number is given twice. ``public`` is the public
    key of a signature key, hexadecimal SubjectPublicKeyInfo.
    """

    plan: KeyPlan
    kcv: str
    state: State = State.ACTIVE
    created: str = ""
    accepted_until: float = 0.0
    offered_under: str = ""
    is_agreed: bool = False
    newest_removed: int = 0
    blocks: dict[Role, str]
    public: str = ""


def uses_of(role: Role) -> frozenset[Use]:
    """Give the uses of the object that plays a role."""
    return _USES[role]


def value_of(role: Role, value: KeyValue) -> KeyValue:
    """Give the value of the object that plays a role; single DES is K1|K1."""
    match role:
        case Role.SINGLE:
            return KeyValue(value.reveal()[:8] * 2)
        case Role.VARIANT:
            return variant_of(value)
        case Role.SIGN:
            # Key wrap takes whole blocks; the zeros after the key mean nothing.
            return KeyValue(value.reveal() + bytes(-len(value.reveal()) % 8))
        case _:
            return value


def check_value(engine: Engine, value: KeyValue, algorithm: Algorithm) -> str:
    """Compute a key check value, as hexadecimal digits.

    TDES: the first 3 bytes of an encrypted zero block. AES: the first 5 bytes of the
    CMAC of a zero block (ANSI X9.24-1, annex A). HMAC: the first 3 bytes of the HMAC
    of nothing. Signature keys: the first 5 bytes of the SHA-256 of the public key.

    Examples
    --------
    >>> from isoswitch.hsm.software import SoftwareEngine
    >>> value = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
    >>> check_value(SoftwareEngine(), value, Algorithm.TDES)
    '08D7B4'
    """
    if algorithm in {Algorithm.EC, Algorithm.RSA}:
        return sha256(public_of(value)).digest()[:5].hex().upper()
    uses = ENCRYPT if algorithm is Algorithm.TDES else MAC
    with Key.load(engine, value, algorithm, uses) as key:
        return _CHECK_VALUES[algorithm](key).hex().upper()


_CHECK_VALUES: Mapping[Algorithm, Callable[[Key], bytes]] = {
    Algorithm.TDES: legacy_kcv,
    Algorithm.AES: cmac_kcv,
    Algorithm.HMAC: lambda key: key.hmac(b"")[:3],
}
