"""What a token can do, found out by doing it, and what follows for each function.

PKCS#11 lists mechanisms, but not whether a token takes K1|K1 as a TDES key or derives
a key that it then lets us use. So every capability is tried with keys of this session.
What the tokens of this class can never do passes through the memory of the crypto
process, and the report says what that is and why.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from isoswitch.codecs.canonical.errors import HsmError, VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Engine, Use
from isoswitch.hsm.functions.kcv import legacy_kcv
from isoswitch.hsm.functions.key import DERIVE, ENCRYPT, MAC, Key
from isoswitch.hsm.functions.signature import (
    public_of,
    random_private,
    verify_signature,
)
from isoswitch.hsm.keys import Role, uses_of, value_of
from isoswitch.hsm.pkcs11_engine import Pkcs11Engine
from isoswitch.hsm.vault import Vault

_BOTH = frozenset({Use.ENCRYPT, Use.DECRYPT})
_TDES = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
_SINGLE = KeyValue(bytes.fromhex("0123456789ABCDEF"))
_AES = KeyValue(bytes(range(16)))
_HEADER = b"isoswitch-probe"


class Capability(StrEnum):
    """What a payment function may need of a token."""

    SINGLE_DES = "single_des_as_k1k1"
    DERIVE_TDES = "derive_encrypt_data_tdes"
    DERIVE_AES = "derive_encrypt_data_aes"
    KEY_UNWRAP = "aes_kw_unwrap"
    TDES_CMAC = "tdes_cmac"
    AES_CMAC = "aes_cmac"
    HMAC = "hmac_sha256"
    SHORT_HMAC = "hmac_short_keys"
    GCM = "aes_gcm"
    ECDSA = "ecdsa_p256"
    RSA_PSS = "rsa_pss"
    RANDOM = "random"


class Place(StrEnum):
    """Where a function's secrets are while it runs."""

    TOKEN = "token"  # noqa: S105 a place
    MEMORY = "memory"
    NOWHERE = "unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A payment function: what it needs, and what it has in memory, and why."""

    name: str
    needs: tuple[Capability, ...] = ()
    in_memory: str = "nothing"
    why: str = ""

    def place(self, capabilities: Mapping[Capability, bool]) -> Place:
        """Give where its secrets are on a token with these capabilities."""
        if not all(capabilities[need] for need in self.needs):
            return Place.NOWHERE
        return Place.MEMORY if self.why else Place.TOKEN


FUNCTIONS: tuple[Function, ...] = (
    Function(
        name="loading stored keys",
        needs=(Capability.KEY_UNWRAP,),
    ),
    Function(
        name="making keys, importing and exporting key blocks",
        in_memory="the key, while it is made, opened or sealed",
        why="tokens know neither our header-bound blocks nor TR-31",
    ),
    Function(
        name="working keys under a zone master key (ECB)",
        in_memory="the new working key",
        why="tokens unwrap no TDES key in ECB mode",
    ),
    Function(
        name="retail MAC, MAC algorithm 1, UnionPay MAC",
        needs=(Capability.SINGLE_DES,),
        in_memory="chaining values",
    ),
    Function(
        name="CMAC and HMAC",
        needs=(Capability.TDES_CMAC, Capability.AES_CMAC, Capability.HMAC),
    ),
    Function(
        name="PIN translation",
        in_memory="the clear PIN",
        why="PKCS#11 has no PIN block: decrypted blocks come out of the token",
    ),
    Function(
        name="PIN verification by PVV or offset",
        in_memory="the clear PIN and its verification value",
        why="PKCS#11 has no PIN block: decrypted blocks come out of the token",
    ),
    Function(
        name="TDES DUKPT",
        in_memory="the initial and transaction keys of terminals, not the base key",
        why="each step adds a constant to key bits, which no token does",
    ),
    Function(name="AES DUKPT", needs=(Capability.DERIVE_AES,)),
    Function(
        name="CVV, CVC, CVV2, iCVV",
        needs=(Capability.SINGLE_DES,),
        in_memory="the right card value",
    ),
    Function(
        name="dCVV, CVC3, ARQC and ARPC",
        needs=(Capability.SINGLE_DES, Capability.DERIVE_TDES),
        in_memory="the right card value or cryptogram",
    ),
    Function(
        name="issuer scripts: M/Chip, Visa CVN 22",
        needs=(Capability.SINGLE_DES, Capability.DERIVE_TDES),
    ),
    Function(
        name="issuer scripts: Visa CVN 10 and 18",
        in_memory="the key of one card",
        why="the session key is the card key plus a counter, which no token adds",
    ),
    Function(name="sealing and hashing data", needs=(Capability.GCM, Capability.HMAC)),
    Function(
        name="signatures",
        needs=(Capability.KEY_UNWRAP, Capability.ECDSA, Capability.RSA_PSS),
    ),
    Function(name="random bytes for partners", needs=(Capability.RANDOM,)),
)
"""What each payment function keeps in the token, in the order of a report."""


def probe(engine: Engine) -> dict[Capability, bool]:
    """Find out what an engine can do, with keys of this session."""
    return {each: _can(engine, attempt) for each, attempt in _ATTEMPTS.items()}


def _can(engine: Engine, attempt: Callable[[Engine], bool]) -> bool:
    try:
        return attempt(engine)
    except (HsmError, VerificationFailed):
        return False


def _single_des(engine: Engine) -> bool:
    with Key.load(engine, _SINGLE, Algorithm.TDES, ENCRYPT) as key:
        # FIPS 46-3: the zero block under 0123456789ABCDEF.
        return legacy_kcv(key).hex() == "d5d44f"


def _derives(value: KeyValue, algorithm: Algorithm) -> Callable[[Engine], bool]:
    """Derive a key and compare it with the value that derivation is defined by."""

    def attempt(engine: Engine) -> bool:
        data = bytes(range(16))
        with (
            Key.load(engine, value, algorithm, DERIVE | ENCRYPT) as base,
            base.derive(data, algorithm, ENCRYPT) as derived,
            Key.load(engine, KeyValue(base.ecb(data)), algorithm, ENCRYPT) as same,
        ):
            return derived.ecb(data) == same.ecb(data)

    return attempt


def _unwraps(engine: Engine) -> bool:
    vault = _session_vault(engine)
    wrapped = vault.wrap(_TDES, _HEADER)
    with vault.unwrap(wrapped, _HEADER, Algorithm.TDES, ENCRYPT) as key:
        return legacy_kcv(key).hex() == "08d7b4"


def _cmacs(value: KeyValue, algorithm: Algorithm) -> Callable[[Engine], bool]:
    def attempt(engine: Engine) -> bool:
        with Key.load(engine, value, algorithm, MAC) as key:
            return len(key.cmac(b"")) == key.block_size

    return attempt


def _hmacs(engine: Engine) -> bool:
    with Key.load(engine, KeyValue(bytes(32)), Algorithm.HMAC, MAC) as key:
        return key.hmac(b"")[:3].hex() == "b61367"


def _derives_short_hmac(engine: Engine) -> bool:
    with (
        Key.load(engine, _AES, Algorithm.AES, DERIVE) as base,
        base.derive(bytes(16), Algorithm.HMAC, MAC) as key,
    ):
        return len(key.hmac(b"")) == 32


def _seals(engine: Engine) -> bool:
    with Key.load(engine, _AES, Algorithm.AES, _BOTH) as key:
        sealed = key.gcm(b"data", bytes(12), b"context")
        return key.gcm(sealed, bytes(12), b"context", decrypt=True) == b"data"


def _signs(algorithm: Algorithm, length: int) -> Callable[[Engine], bool]:
    def attempt(engine: Engine) -> bool:
        private = random_private(algorithm, length)
        vault = _session_vault(engine)
        wrapped = vault.wrap(value_of(Role.SIGN, private), _HEADER)
        with vault.unwrap(wrapped, _HEADER, algorithm, uses_of(Role.SIGN)) as key:
            verify_signature(public_of(private), b"data", key.sign(b"data"))
        return True

    return attempt


def _gives_random(engine: Engine) -> bool:
    return engine.random(16) != engine.random(16)


def _session_vault(engine: Engine) -> Vault:
    """Open a vault whose storage key lives as long as the session."""
    storage = engine.create(KeyValue(secrets.token_bytes(32)), Algorithm.AES, DERIVE)
    unwrapper = engine if isinstance(engine, Pkcs11Engine) else None
    return Vault(engine, storage, unwrapper=unwrapper)


_ATTEMPTS: Mapping[Capability, Callable[[Engine], bool]] = {
    Capability.SINGLE_DES: _single_des,
    Capability.DERIVE_TDES: _derives(_TDES, Algorithm.TDES),
    Capability.DERIVE_AES: _derives(_AES, Algorithm.AES),
    Capability.KEY_UNWRAP: _unwraps,
    Capability.TDES_CMAC: _cmacs(_TDES, Algorithm.TDES),
    Capability.AES_CMAC: _cmacs(_AES, Algorithm.AES),
    Capability.HMAC: _hmacs,
    Capability.SHORT_HMAC: _derives_short_hmac,
    Capability.GCM: _seals,
    Capability.ECDSA: _signs(Algorithm.EC, 32),
    Capability.RSA_PSS: _signs(Algorithm.RSA, 256),
    Capability.RANDOM: _gives_random,
}
