"""Loads PKCS#11 libraries so that threads and processes do not crash them.

python-pkcs11 initialises the library without OS locking although it releases the GIL
around every call, so that two threads crash SoftHSM; ``LockingLib`` initialises it
with locking. SoftHSM also fails now and then when several processes initialise it at
once on one token folder, so that a file lock stands around initialisation and login.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import pkcs11._pkcs11
from pkcs11 import PKCS11Error, Slot, TokenFlag
from pkcs11 import exceptions as faults

from isoswitch.codecs.canonical.errors import (
    HsmError,
    HsmUnavailable,
    KeyRefused,
    NotSupported,
)
from isoswitch.codecs.canonical.secrets import Secret

P = ParamSpec("P")
R = TypeVar("R")

_CKF_OS_LOCKING_OK = 2
_CKR_OK = 0
_LABEL_BYTES = 32
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
    faults.NoSuchKey,
)
_LACKING = (
    faults.FunctionNotSupported,
    faults.MechanismInvalid,
    faults.MechanismParamInvalid,
)


class LockingLib(pkcs11._pkcs11.lib):
    """A PKCS#11 library initialised so that threads do not crash it."""

    def initialize(self) -> None:
        """Initialise with OS locking; a library already initialised is fine."""
        library = ctypes.CDLL(self.so)
        rv = library.C_Initialize(ctypes.byref(_InitializeArgs()))
        if rv not in {_CKR_OK, _CKR_CRYPTOKI_ALREADY_INITIALIZED}:
            msg = f"the PKCS#11 library does not initialise (0x{rv:x})"
            raise HsmUnavailable(msg)

    def initialise_token(
        self, label: str, *, officer_pin: Secret[str], user_pin: Secret[str]
    ) -> None:
        """Make a token in the first slot that has none yet, and set both PINs.

        python-pkcs11 has no call for it; a tool would show the PINs to whoever lists
        the processes.

        Raises
        ------
        HsmError
            There is no such slot, or the library refuses.
        """
        slot = next(
            (slot for slot in self.get_slots() if not _is_initialised(slot)), None
        )
        if slot is None:
            raise HsmUnavailable("the library has no slot for another token")
        pin = officer_pin.reveal().encode()
        padded = label.encode().ljust(_LABEL_BYTES)
        rv = ctypes.CDLL(self.so).C_InitToken(
            ctypes.c_ulong(slot.slot_id), pin, ctypes.c_ulong(len(pin)), padded
        )
        if rv != _CKR_OK:
            raise HsmError(f"the library makes no token (0x{rv:x})")
        with slot.get_token().open(rw=True, so_pin=officer_pin.reveal()) as session:
            session.init_pin(user_pin.reveal())


def _is_initialised(slot: Slot) -> bool:
    return bool(slot.get_token().flags & TokenFlag.TOKEN_INITIALIZED)


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


_LIBRARIES: dict[tuple[Path, Path | None], LockingLib] = {}


def load_library(module: Path, softhsm_conf: Path | None) -> LockingLib:
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
def initialisation_lock() -> Iterator[None]:
    """Let one process of this user at a time initialise a PKCS#11 library."""
    path = Path(tempfile.gettempdir()) / f"isoswitch-pkcs11-{os.getuid()}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def translating(call: Callable[P, R]) -> Callable[P, R]:
    """Turn the library's errors into ours; they never carry data."""

    @wraps(call)
    def translated(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except PKCS11Error as fault:
            raise _translate(fault) from fault

    return translated


def _translate(fault: PKCS11Error) -> HsmError:
    condition = str(fault) or type(fault).__name__
    if isinstance(fault, faults.PinIncorrect | faults.PinLocked):
        return HsmUnavailable("the token refuses the PIN of its pin_file")
    if isinstance(fault, _LACKING):
        return NotSupported(
            f"the token has no means for it: {condition}; see `isoswitch hsm selftest`"
        )
    if isinstance(fault, _REFUSED) or "0x68" in condition or "0x1b" in condition:
        return KeyRefused(f"the token refuses this use of the key: {condition}")
    # A bare PKCS11Error means a library that is not initialised or does not load.
    if isinstance(fault, _UNAVAILABLE) or type(fault) is PKCS11Error:
        return HsmUnavailable(f"the token does not answer: {condition}")
    return HsmError(f"the token refuses the command: {condition}")
