"""An engine over one PKCS#11 token, through python-pkcs11.

python-pkcs11 initialises the library without OS locking although it releases the GIL
around every call, so that two threads crash SoftHSM; ``LockingLib`` initialises it
with locking. SoftHSM also fails now and then when several processes initialise it at
once on one token folder, so that a file lock stands around initialisation and login.

One login session lives as long as the process: closing it would log the process out
and make all its session objects disappear.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from itertools import count
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pkcs11
import pkcs11._pkcs11
from pkcs11 import (
    Attribute,
    KeyType,
    Mechanism,
    MechanismFlag,
    ObjectClass,
    PKCS11Error,
)
from pkcs11 import exceptions as faults
from pkcs11.constants import DEFAULT

from isoswitch.codecs.canonical.errors import (
    HsmError,
    HsmUnavailable,
    KeyRefused,
    VerificationFailed,
)
from isoswitch.codecs.canonical.secrets import KeyValue, Secret
from isoswitch.hsm.engine import Algorithm, Handle, Use

P = ParamSpec("P")
R = TypeVar("R")

_CKF_OS_LOCKING_OK = 2
_CKR_OK = 0
_CKR_CRYPTOKI_ALREADY_INITIALIZED = 0x191

_UNAVAILABLE = (
    faults.DeviceError,
    faults.DeviceMemory,
    faults.DeviceRemoved,
    faults.FunctionFailed,
    faults.GeneralError,
    faults.HostMemory,
    faults.KeyHandleInvalid,
    faults.NoSuchToken,
    faults.ObjectHandleInvalid,
    faults.SessionClosed,
    faults.SessionHandleInvalid,
    faults.TokenNotPresent,
    faults.TokenNotRecognised,
    faults.UserNotLoggedIn,
)
_REFUSED = (
    faults.KeySizeRange,
    faults.KeyTypeInconsistent,
    faults.MechanismInvalid,
    faults.NoSuchKey,
)

_ATTRIBUTES: Mapping[Use, Attribute] = {
    Use.ENCRYPT: Attribute.ENCRYPT,
    Use.DECRYPT: Attribute.DECRYPT,
    Use.MAC: Attribute.SIGN,
    Use.DERIVE: Attribute.DERIVE,
}
_CAPABILITIES: Mapping[Use, MechanismFlag] = {
    Use.ENCRYPT: MechanismFlag.ENCRYPT,
    Use.DECRYPT: MechanismFlag.DECRYPT,
    Use.MAC: MechanismFlag.SIGN,
    Use.DERIVE: MechanismFlag.DERIVE,
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
# What SoftHSM answers when a tag does not verify.
_TAG_FAULTS = (faults.EncryptedDataInvalid, faults.GeneralError)


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


def _translating(call: Callable[P, R]) -> Callable[P, R]:
    """Turn the library's errors into ours; they never carry data."""

    @wraps(call)
    def translated(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except PKCS11Error as fault:
            raise _translate(fault) from fault

    return translated


class LockingLib(pkcs11._pkcs11.lib):
    """A PKCS#11 library initialised so that threads do not crash it."""

    def initialize(self) -> None:
        """Initialise with OS locking; a library already initialised is fine."""
        library = ctypes.CDLL(self.so)
        rv = library.C_Initialize(ctypes.byref(_InitializeArgs()))
        if rv not in {_CKR_OK, _CKR_CRYPTOKI_ALREADY_INITIALIZED}:
            msg = f"the PKCS#11 library does not initialise (0x{rv:x})"
            raise HsmUnavailable(msg)


class _InitializeArgs(ctypes.Structure):
    _fields_ = (
        ("create_mutex", ctypes.c_void_p),
        ("destroy_mutex", ctypes.c_void_p),
        ("lock_mutex", ctypes.c_void_p),
        ("unlock_mutex", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("reserved", ctypes.c_void_p),
    )

    def __init__(self) -> None:
        super().__init__(flags=_CKF_OS_LOCKING_OK)


@dataclass(frozen=True, slots=True)
class _Loaded:
    key: Any
    algorithm: Algorithm
    uses: frozenset[Use]


class Pkcs11Engine:
    """The eight engine calls on one token; its keys never leave it.

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

    @_translating
    def __init__(
        self,
        *,
        module: Path,
        label: str,
        pin: Secret[str],
        softhsm_conf: Path | None = None,
    ) -> None:
        with _initialisation_lock():
            library = _load_library(module, softhsm_conf)
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

    @_translating
    def create(
        self, value: KeyValue, algorithm: Algorithm, uses: frozenset[Use]
    ) -> Handle:
        """Load a key value as a session object."""
        template = _template(value, algorithm, uses)
        return self._keep(self._session.create_object(template), algorithm, uses)

    @_translating
    def destroy(self, handle: Handle) -> None:
        """Forget a session object."""
        loaded = self._loaded.pop(handle, None)
        if loaded is not None:
            loaded.key.destroy()

    @_translating
    def ecb(self, handle: Handle, data: bytes, *, decrypt: bool = False) -> bytes:
        """Run the block cipher over whole blocks."""
        key, cipher = self._cipher(handle, data, decrypt=decrypt)
        operation = key.decrypt if decrypt else key.encrypt
        result: bytes = operation(data, mechanism=cipher.ecb)
        return result

    @_translating
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

    @_translating
    def cmac(self, handle: Handle, data: bytes) -> bytes:
        """Give the full-length CMAC (NIST SP 800-38B) of the data."""
        loaded = self._get(handle, Use.MAC)
        cipher = _CIPHERS.get(loaded.algorithm)
        if cipher is None:
            raise KeyRefused("an HMAC key makes no CMAC")
        result: bytes = loaded.key.sign(data, mechanism=cipher.cmac)
        return result

    @_translating
    def hmac(self, handle: Handle, data: bytes) -> bytes:
        """Give the HMAC-SHA-256 of the data, 32 bytes."""
        loaded = self._get(handle, Use.MAC)
        if loaded.algorithm is not Algorithm.HMAC:
            raise KeyRefused("a cipher key makes no HMAC")
        result: bytes = loaded.key.sign(data, mechanism=Mechanism.SHA256_HMAC)
        return result

    @_translating
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
        parameter = pkcs11.GCMParams(nonce, aad=context, tag_bits=128)
        operation = loaded.key.decrypt if decrypt else loaded.key.encrypt
        try:
            result: bytes = operation(
                data, mechanism=Mechanism.AES_GCM, mechanism_param=parameter
            )
        except _TAG_FAULTS as fault:
            raise VerificationFailed("the sealed data does not open") from fault
        return result

    @_translating
    def derive(
        self, handle: Handle, data: bytes, algorithm: Algorithm, uses: frozenset[Use]
    ) -> Handle:
        """Make a session key of ECB-encrypted data; its length is the data's."""
        key = self._derive(handle, data, algorithm, _capabilities(uses))
        return self._keep(key, algorithm, uses)

    @_translating
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

    @_translating
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

    @_translating
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

    @_translating
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
            template=_HARDENED,
        )
        return self._keep(key, algorithm, uses)

    @_translating
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
        extractable = {**_HARDENED, Attribute.EXTRACTABLE: True}
        key = self._unwrap(
            base,
            context,
            wrapped,
            algorithm,
            capabilities=MechanismFlag(0),
            template=extractable,
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
        template: dict[Attribute, object],
    ) -> Any:
        wrapping = self._derive(base, context, Algorithm.AES, MechanismFlag.UNWRAP)
        try:
            return wrapping.unwrap_key(
                ObjectClass.SECRET_KEY,
                _key_type(algorithm, len(wrapped) - 8),
                wrapped,
                mechanism=Mechanism.AES_KEY_WRAP,
                capabilities=capabilities,
                template=template,
            )
        except PKCS11Error as fault:
            # SoftHSM answers CKR_GENERAL_ERROR to a failed integrity check.
            raise KeyRefused("the key block is damaged or not of this key") from fault
        finally:
            wrapping.destroy()

    def _derive(
        self,
        handle: Handle,
        data: bytes,
        algorithm: Algorithm,
        capabilities: MechanismFlag,
    ) -> Any:
        base = self._get(handle, Use.DERIVE)
        cipher = _CIPHERS[base.algorithm]
        key_type = _key_type(algorithm, len(data))
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
            len(data) * 8,
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


_LIBRARIES: dict[tuple[Path, Path | None], LockingLib] = {}


def _load_library(module: Path, softhsm_conf: Path | None) -> LockingLib:
    """Load and initialise a library, once per process and configuration.

    SoftHSM reads its configuration when it initialises. Another configuration needs
    another instance, which the loader makes of a copy of the file.
    """
    library = _LIBRARIES.get((module, softhsm_conf))
    if library is not None:
        return library
    if softhsm_conf is not None:
        os.environ["SOFTHSM2_CONF"] = str(softhsm_conf)
    if any(loaded == module for loaded, _ in _LIBRARIES):
        with tempfile.NamedTemporaryFile(suffix=".so") as copy:
            copy.write(module.read_bytes())
            copy.flush()
            library = LockingLib(copy.name)
    else:
        library = LockingLib(str(module))
    _LIBRARIES[module, softhsm_conf] = library
    return library


@contextmanager
def _initialisation_lock() -> Iterator[None]:
    """Let one process of this user at a time initialise a PKCS#11 library."""
    path = Path(tempfile.gettempdir()) / f"isoswitch-pkcs11-{os.getuid()}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _translate(fault: PKCS11Error) -> HsmError:
    condition = str(fault) or type(fault).__name__
    if isinstance(fault, faults.PinIncorrect | faults.PinLocked):
        return HsmUnavailable("the token refuses the PIN of its pin_file")
    if isinstance(fault, _REFUSED) or "0x68" in condition or "0x1b" in condition:
        return KeyRefused(f"the token refuses this use of the key: {condition}")
    # A bare PKCS11Error means a library that is not initialised or does not load.
    if isinstance(fault, _UNAVAILABLE) or type(fault) is PKCS11Error:
        return HsmUnavailable(f"the token does not answer: {condition}")
    return HsmError(f"the token refuses the command: {condition}")


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
        **{attribute: use in uses for use, attribute in _ATTRIBUTES.items()},
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
