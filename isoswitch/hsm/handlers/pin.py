"""PIN translation and verification.

Whatever is wrong with a block or a PIN, the error is the same, and the engine has run
as often as for a valid one: nobody learns which part it was.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from isoswitch.codecs.canonical.errors import (
    DecodeError,
    HsmError,
    PinBlockInvalid,
    VerificationFailed,
)
from isoswitch.codecs.canonical.secrets import Pan, Pin, PinBlock
from isoswitch.hsm.functions import pin
from isoswitch.hsm.functions.ibm3624 import verify_offset
from isoswitch.hsm.functions.pin import PinKey
from isoswitch.hsm.functions.pvv import verify_pvv
from isoswitch.hsm.handlers.arguments import pan_of
from isoswitch.hsm.handlers.versions import try_each
from isoswitch.hsm.keys import STANDARD_RULE, Purpose
from isoswitch.hsm.keytable import KeyTable, pin_format_of
from isoswitch.hsm.port import TranslatePin, VerifyOffset, VerifyPvv
from isoswitch.hsm.terminals import TerminalKeys

Source = TranslatePin | VerifyPvv | VerifyOffset

_ANY_PIN = Pin("0000")


def translate_pin(keys: KeyTable, command: TranslatePin, _last: bytes) -> bytes:
    """Re-encrypt a PIN block for the next zone."""
    target = keys.get_pin_keys(
        command.target, Purpose.ENCRYPT_PIN, command.target_format
    )[0]
    pan, block = pan_of(command.pan), PinBlock(command.block)

    def translate(source: PinKey) -> bytes:
        return pin.translate(block, pan, source=source, target=target).reveal()

    try:
        return _with_source(keys, command, translate)
    except VerificationFailed:
        pin.encrypt(_ANY_PIN, pan, target)
        raise


def verify_pin_by_pvv(keys: KeyTable, command: VerifyPvv, _last: bytes) -> bytes:
    """Check the PIN in a block against a PVV."""
    pvks = keys.get_objects(command.key, Purpose.VERIFY_PVV)
    pan, index, pvv = pan_of(command.pan), command.index, command.pvv
    if not 0 <= index <= 9:
        raise HsmError("the index of a PIN verification key is 0 to 9")

    def check(clear: Pin) -> None:
        try_each(pvks, lambda pvk: verify_pvv(pvk, clear, pan, index=index, pvv=pvv))

    return _verify_pin(keys, command, pan, check)


def verify_pin_by_offset(keys: KeyTable, command: VerifyOffset, _last: bytes) -> bytes:
    """Check the PIN in a block against an IBM 3624 offset, by the key's rule."""
    purpose = Purpose.VERIFY_OFFSET
    records = keys.get_records(command.key, purpose)
    rules = [record.plan.pin_rule or STANDARD_RULE for record in records]
    pvks = list(zip(keys.get_objects(command.key, purpose), rules, strict=True))
    pan, offset = pan_of(command.pan), command.offset

    def check(clear: Pin) -> None:
        try_each(
            pvks, lambda pvk: verify_offset(pvk[0], clear, pan, pvk[1], offset=offset)
        )

    return _verify_pin(keys, command, pan, check)


def _verify_pin(
    keys: KeyTable, command: Source, pan: Pan, check: Callable[[Pin], None]
) -> bytes:
    block = PinBlock(command.block)

    def verify(source: PinKey) -> bytes:
        check(pin.decrypt(block, pan, source))
        return b""

    try:
        return _with_source(keys, command, verify)
    except PinBlockInvalid:
        with suppress(VerificationFailed):
            check(_ANY_PIN)
        raise VerificationFailed("the PIN does not verify") from None


def _with_source(
    keys: KeyTable, command: Source, use: Callable[[PinKey], bytes]
) -> bytes:
    """Use the zone's key or the terminal's, whichever version the block is under."""
    pin_format = command.source_format
    if not command.ksn:
        zone = keys.get_pin_keys(command.source, Purpose.DECRYPT_PIN, pin_format)
        return try_each(zone, use)

    def use_of_terminal(terminals: TerminalKeys) -> bytes:
        try:
            source = terminals.derive_pin_key(command.ksn, pin_format_of(pin_format))
        except DecodeError:
            raise PinBlockInvalid("the PIN block is not valid") from None
        with source.key:
            return use(source)

    terminals = list(keys.get_terminal_keys(command.source).values())
    return try_each(terminals, use_of_terminal)
