"""An engine over one PKCS#11 token, through python-pkcs11.

One login session lives as long as the process: closing it would log the process out
and make all its session objects disappear.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11 import (
    Attribute,
    KeyType,
    Mechanism,
    MechanismFlag,
    ObjectClass,
)
from pkcs11 import exceptions as faults
from pkcs11.constants import DEFAULT

from isoswitch.codecs.canonical.errors import HsmError, KeyRefused, VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue, Secret
from isoswitch.hsm.engine import Algorithm, Handle, Use
from isoswitch.hsm.pkcs11_library import initialisation_lock, load_library, translating

_ATTRIBUTES: Mapping[Use, Attribute] = {
    Use.ENCRYPT: Attribute.ENCRYPT,
    Use.DECRYPT: Attribute.DECRYPT,
    Use.MAC: Attribute.SIGN,
    Use.DERIVE: Attribute.DERIVE,
    Use.SIGN: Attribute.SIGN,
}
_CAPABILITIES: Mapping[Use, MechanismFlag] = {
    Use.ENCRYPT: MechanismFlag.ENCRYPT,
    Use.DECRYPT: MechanismFlag.DECRYPT,
    Use.MAC: MechanismFlag.SIGN,
    Use.DERIVE: MechanismFlag.DERIVE,
    Use.SIGN: MechanismFlag.SIGN,
}
_KEY_TYPES: Mapping[tuple[Algorithm, int], KeyType] = {
    (Algorithm.TDES, 16): KeyType.DES2,
    (Algorithm.TDES, 24): KeyType.DES3,
    (Algorithm.AES, 16): KeyType.AES,
    (Algorithm.AES, 24): KeyType.AES,
    (Algorithm.AES, 32): KeyType.AES,
}
_HARDENED: dict[Attribute, object] = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    # A copy or a change could switch on what the template switched off.
    Attribute.COPYABLE: False,
    Attribute.MODIFIABLE: False,
}
# A private key may not be asked what only a secret or public one does.
_PRIVATE: dict[Attribute, object] = {
    **_HARDENED,
    Attribute.ENCRYPT: DEFAULT,
    Attribute.VERIFY: DEFAULT,
    Attribute.WRAP: DEFAULT,
}
_PRIVATE_TYPES: Mapping[Algorithm, KeyType] = {
    Algorithm.EC: KeyType.EC,
    Algorithm.RSA: KeyType.RSA,
}
_PSS = (Mechanism.SHA256, pkcs11.MGF.SHA256, 32)
# What says that data or a wrapped key are not what was encrypted.
_NOT_INTACT = (
    faults.EncryptedDataInvalid,
    faults.EncryptedDataLenRange,
    faults.WrappedKeyInvalid,
    faults.WrappedKeyLenRange,
)


@dataclass(frozen=True, slots=True)
class _Cipher:
    block_size: int
    ecb: Mechanism
    cbc: Mechanism
    cmac: Mechanism
    derive: Mechanism


_CIPHERS: Mapping[Algorithm, _Cipher] = {
    Algorithm.TDES: _Cipher(
        block_size=8,
        ecb=Mechanism.DES3_ECB,
        cbc=Mechanism.DES3_CBC,
        cmac=Mechanism.DES3_CMAC,
        derive=Mechanism.DES3_ECB_ENCRYPT_DATA,
    ),
    Algorithm.AES: _Cipher(
        block_size=16,
        ecb=Mechanism.AES_ECB,
        cbc=Mechanism.AES_CBC,
        cmac=Mechanism.AES_CMAC,
        derive=Mechanism.AES_ECB_ENCRYPT_DATA,
    ),
}


@dataclass(frozen=True, slots=True)
class _Loaded:
    key: Any
    algorithm: Algorithm
    uses: frozenset[Use]


class Pkcs11Engine:
    """The engine calls on one token; its keys never leave it.

    Parameters
    ----------
    module
        The PKCS#11 library.
    label
        The label of an initialised token.
    pin
        The user PIN.
    softhsm_conf
        SoftHSM's configuration file, read when the library initialises.

    Raises
    ------
    HsmUnavailable
        No such library or token, or the PIN is wrong.
    """

    @translating
    def __init__(
        self,
        *,
        module: Path,
        label: str,
        pin: Secret[str],
        softhsm_conf: Path | None = None,
    ) -> None:
        with initialisation_lock():
            library = load_library(module, softhsm_conf)
            token = library.get_token(token_label=label)
            try:
                self._session = token.open(rw=True, user_pin=pin.reveal())
            except faults.UserAlreadyLoggedIn:
                # The login is the process's, not the session's.
                self._session = token.open(rw=True)
        self.label = label
        self.objects_created = 0
        self._numbers = count(1)
        self._loaded: dict[Handle, _Loaded] = {}
        self._probe = self.create(
            KeyValue(bytes(16)), Algorithm.AES, frozenset({Use.ENCRYPT, Use.DECRYPT})
        )

    @translating
    def create(
        self, value: KeyValue, algorithm: Algorithm, uses: frozenset[Use]
    ) -> Handle:
        """Load a key value as a session object."""
        template = _template(value, algorithm, uses)
        return self._keep(self._session.create_object(template), algorithm, uses)

    @translating
    def destroy(self, handle: Handle) -> None:
        """Forget a session object."""
        loaded = self._loaded.pop(handle, None)
        if loaded is not None:
            loaded.key.destroy()

    @translating
    def ecb(self, handle: Handle, data: bytes, *, decrypt: bool = False) -> bytes:
        """Run the block cipher over whole blocks."""
        key, cipher = self._cipher(handle, data, decrypt=decrypt)
        operation = key.decrypt if decrypt else key.encrypt
        result: bytes = operation(data, mechanism=cipher.ecb)
        return result

    @translating
    def cbc(
        self, handle: Handle, data: bytes, iv: bytes, *, decrypt: bool = False
    ) -> bytes:
        """Run cipher block chaining over whole blocks, without padding."""
        key, cipher = self._cipher(handle, data, decrypt=decrypt)
        if len(iv) != cipher.block_size:
            raise HsmError("the initial vector is not one block")
        operation = key.decrypt if decrypt else key.encrypt
        result: bytes = operation(data, mechanism=cipher.cbc, mechanism_param=iv)
        return result

    @translating
    def cmac(self, handle: Handle, data: bytes) -> bytes:
        """Give the full-length CMAC (NIST SP 800-38B) of the data."""
        loaded = self._get(handle, Use.MAC)
        cipher = _CIPHERS.get(loaded.algorithm)
        if cipher is None:
            raise KeyRefused("an HMAC key makes no CMAC")
        result: bytes = loaded.key.sign(data, mechanism=cipher.cmac)
        return result

    @translating
    def hmac(self, handle: Handle, data: bytes) -> bytes:
        """Give the HMAC-SHA-256 of the data, 32 bytes."""
        loaded = self._get(handle, Use.MAC)
        if loaded.algorithm is not Algorithm.HMAC:
            raise KeyRefused("a cipher key makes no HMAC")
        result: bytes = loaded.key.sign(data, mechanism=Mechanism.SHA256_HMAC)
        return result

    @translating
    def gcm(
        self,
        handle: Handle,
        data: bytes,
        nonce: bytes,
        context: bytes,
        *,
        decrypt: bool = False,
    ) -> bytes:
        """Seal data with AES-GCM and a 16-byte tag at the end, or open it."""
        loaded = self._get(handle, Use.DECRYPT if decrypt else Use.ENCRYPT)
        if loaded.algorithm is not Algorithm.AES:
            raise KeyRefused("only an AES key seals data")
        if not decrypt:
            return _gcm(loaded.key.encrypt, data, nonce, context)
        opened: bytes = self._open(
            partial(_gcm, loaded.key.decrypt, data, nonce, context),
            VerificationFailed("the sealed data does not open"),
        )
        return opened

    @translating
    def derive(
        self,
        handle: Handle,
        data: bytes,
        algorithm: Algorithm,
        uses: frozenset[Use],
        *,
        length: int = 0,
    ) -> Handle:
        """Make a session key of ECB-encrypted data; ``length`` cuts it, 0 does not."""
        key = self._derive(handle, data, algorithm, _capabilities(uses), length=length)
        return self._keep(key, algorithm, uses)

    @translating
    def sign(self, handle: Handle, data: bytes) -> bytes:
        """Give the signature of the data with SHA-256: ECDSA or RSA-PSS."""
        loaded = self._get(handle, Use.SIGN)
        if loaded.algorithm is Algorithm.EC:
            # SoftHSM has no mechanism that hashes first.
            digest = sha256(data).digest()
            result: bytes = loaded.key.sign(digest, mechanism=Mechanism.ECDSA)
        else:
            result = loaded.key.sign(
                data, mechanism=Mechanism.SHA256_RSA_PKCS_PSS, mechanism_param=_PSS
            )
        return result

    @translating
    def random(self, length: int) -> bytes:
        """Give random bytes of the token's generator."""
        result: bytes = self._session.generate_random(length * 8)
        return result

    @translating
    def find(
        self, label: str, algorithm: Algorithm, uses: frozenset[Use]
    ) -> Handle | None:
        """Find a key that lives in the token by its label.

        Raises
        ------
        KeyRefused
            Several keys carry the label; the token does not keep labels unique.
        """
        template = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: label}
        keys = list(self._session.get_objects(template))
        if len(keys) > 1:
            raise KeyRefused(f"the token holds several keys labelled {label}")
        return self._keep(keys[0], algorithm, uses) if keys else None

    @translating
    def generate_storage_key(self, label: str) -> Handle:
        """Make an AES-256 key in the token that can only derive.

        Raises
        ------
        KeyRefused
            The token holds a key with this label.
        """
        self._check_label_free(label)
        key = self._session.generate_key(
            KeyType.AES,
            256,
            label=label,
            store=True,
            capabilities=MechanismFlag.DERIVE,
            template=_HARDENED,
        )
        return self._keep(key, Algorithm.AES, frozenset({Use.DERIVE}))

    @translating
    def store_storage_key(self, label: str, value: KeyValue) -> Handle:
        """Store a given AES-256 key in the token that can only derive.

        Raises
        ------
        KeyRefused
            The token holds a key with this label.
        """
        self._check_label_free(label)
        derive = frozenset({Use.DERIVE})
        template = _template(value, Algorithm.AES, derive)
        template |= {Attribute.TOKEN: True, Attribute.LABEL: label}
        return self._keep(self._session.create_object(template), Algorithm.AES, derive)

    @translating
    def unwrap(
        self,
        base: Handle,
        context: bytes,
        wrapped: bytes,
        algorithm: Algorithm,
        uses: frozenset[Use],
    ) -> Handle:
        """Load an AES-wrapped key (RFC 3394); its value stays in the token.

        The wrapping key is the one that ``derive(base, context)`` gives.

        Raises
        ------
        KeyRefused
            The wrapped key is not intact, or was wrapped under another context.
        """
        key = self._unwrap(
            base,
            context,
            wrapped,
            algorithm,
            capabilities=_capabilities(uses),
            is_extractable=False,
        )
        return self._keep(key, algorithm, uses)

    @translating
    def rewrap(
        self,
        base: Handle,
        target: Handle,
        context: bytes,
        wrapped: bytes,
        algorithm: Algorithm,
    ) -> bytes:
        """Wrap a wrapped key under another base; its value stays in the token.

        Raises
        ------
        KeyRefused
            The wrapped key is not intact, or was wrapped under another context.
        """
        key = self._unwrap(
            base,
            context,
            wrapped,
            algorithm,
            capabilities=MechanismFlag(0),
            is_extractable=True,
        )
        wrapping = self._derive(target, context, Algorithm.AES, MechanismFlag.WRAP)
        try:
            rewrapped: bytes = wrapping.wrap_key(key, mechanism=Mechanism.AES_KEY_WRAP)
        finally:
            wrapping.destroy()
            key.destroy()
        return rewrapped

    def _unwrap(
        self,
        base: Handle,
        context: bytes,
        wrapped: bytes,
        algorithm: Algorithm,
        *,
        capabilities: MechanismFlag,
        is_extractable: bool,
    ) -> Any:
        kind, template = ObjectClass.SECRET_KEY, _HARDENED
        key_type = _PRIVATE_TYPES.get(algorithm)
        if key_type is None:
            key_type = _key_type(algorithm, len(wrapped) - 8)
        else:
            kind, template = ObjectClass.PRIVATE_KEY, _PRIVATE
        wrapping = self._derive(base, context, Algorithm.AES, MechanismFlag.UNWRAP)
        try:
            return self._open(
                lambda: wrapping.unwrap_key(
                    kind,
                    key_type,
                    wrapped,
                    mechanism=Mechanism.AES_KEY_WRAP,
                    capabilities=capabilities,
                    template={**template, Attribute.EXTRACTABLE: is_extractable},
                ),
                KeyRefused("the key block is damaged or not of this key"),
            )
        finally:
            wrapping.destroy()

    def _open(self, operation: Callable[[], Any], damaged: Exception) -> Any:
        """Open something; raises what is given where it is not intact.

        SoftHSM says CKR_GENERAL_ERROR then, which is also the word for a token that
        fails. So one that works on something else must say it a second time.
        """
        try:
            return operation()
        except _NOT_INTACT as fault:
            raise damaged from fault
        except faults.GeneralError:
            probe = self._loaded[self._probe].key
            sealed = _gcm(probe.encrypt, bytes(16), bytes(12), b"")
            _gcm(probe.decrypt, sealed, bytes(12), b"")
        try:
            return operation()
        except (*_NOT_INTACT, faults.GeneralError) as fault:
            raise damaged from fault

    def _derive(
        self,
        handle: Handle,
        data: bytes,
        algorithm: Algorithm,
        capabilities: MechanismFlag,
        *,
        length: int = 0,
    ) -> Any:
        base = self._get(handle, Use.DERIVE)
        cipher = _CIPHERS[base.algorithm]
        length = length or len(data)
        key_type = _key_type(algorithm, length)
        template = dict(_HARDENED)
        if algorithm is Algorithm.TDES:
            # The length of a DES key follows from its type; a template may not say it.
            template[Attribute.VALUE_LEN] = DEFAULT
        buffer = ctypes.create_string_buffer(data, len(data))
        parameter = data
        if base.algorithm is Algorithm.TDES:
            # python-pkcs11 builds CK_KEY_DERIVATION_STRING_DATA for AES only.
            parameter = struct.pack("@PL", ctypes.addressof(buffer), len(data))
        return base.key.derive_key(
            key_type,
            length * 8,
            capabilities=capabilities,
            mechanism=cipher.derive,
            mechanism_param=parameter,
            template=template,
        )

    def _check_label_free(self, label: str) -> None:
        if self.find(label, Algorithm.AES, frozenset({Use.DERIVE})) is not None:
            raise KeyRefused(f"the token already holds a key labelled {label}")

    def _keep(self, key: Any, algorithm: Algorithm, uses: frozenset[Use]) -> Handle:
        handle = Handle(next(self._numbers))
        self._loaded[handle] = _Loaded(key, algorithm, uses)
        self.objects_created += 1
        return handle

    def _get(self, handle: Handle, use: Use) -> _Loaded:
        loaded = self._loaded.get(handle)
        if loaded is None:
            raise KeyRefused("no such key handle")
        if use not in loaded.uses:
            raise KeyRefused(f"this key may not {use}")
        return loaded

    def _cipher(
        self, handle: Handle, data: bytes, *, decrypt: bool
    ) -> tuple[Any, _Cipher]:
        loaded = self._get(handle, Use.DECRYPT if decrypt else Use.ENCRYPT)
        cipher = _CIPHERS.get(loaded.algorithm)
        if cipher is None:
            raise KeyRefused("an HMAC key does not encrypt")
        if not data or len(data) % cipher.block_size:
            raise HsmError("the data is not a whole number of blocks")
        return loaded.key, cipher


def _gcm(
    operation: Callable[..., bytes], data: bytes, nonce: bytes, context: bytes
) -> bytes:
    parameter = pkcs11.GCMParams(nonce, aad=context, tag_bits=128)
    return operation(data, mechanism=Mechanism.AES_GCM, mechanism_param=parameter)


def _template(
    value: KeyValue, algorithm: Algorithm, uses: frozenset[Use]
) -> dict[Attribute, object]:
    octets = value.reveal()
    return {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: _key_type(algorithm, len(octets)),
        Attribute.TOKEN: False,
        Attribute.VALUE: octets,
        **_HARDENED,
        **dict.fromkeys(_ATTRIBUTES.values(), False),
        **{_ATTRIBUTES[use]: True for use in uses},
    }


def _capabilities(uses: frozenset[Use]) -> MechanismFlag:
    flags = MechanismFlag(0)
    for use in uses:
        flags |= _CAPABILITIES[use]
    return flags


def _key_type(algorithm: Algorithm, length: int) -> KeyType:
    if algorithm is Algorithm.HMAC:
        # SoftHSM takes HMAC-SHA-256 keys of at least the hash's length.
        if length < 32:
            raise KeyRefused("an HMAC key has at least 32 bytes")
        return KeyType.GENERIC_SECRET
    key_type = _KEY_TYPES.get((algorithm, length))
    if key_type is None:
        raise KeyRefused(f"no {algorithm} key has {length} bytes")
    return key_type
