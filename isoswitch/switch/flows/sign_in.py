"""A terminal signs in and gets working keys under its master key.

The new keys are pending until the first message that one of them authenticates: a
terminal that never got the answer goes on with its old keys, and signs in again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.errors import HsmUnavailable, KeyRefused
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.dialects.dialect import Dialect
from isoswitch.codecs.dialects.key_change import (
    TERMINAL_CHECK_BYTES,
    TransportedKey,
    read_sign_in,
    write_terminal_keys,
)
from isoswitch.hsm.keychange import SINGLE_LENGTH
from isoswitch.hsm.port import ActivateKey, OfferKey, WorkingKey
from isoswitch.switch.flows.network import APPROVED
from isoswitch.switch.keyjournal import KeyEvent, note_key, read_story
from isoswitch.switch.services import Services
from isoswitch.switch.settings import TerminalSettings

NO_KEYS = Outcome.declined(
    ResponseCode.SECURITY_VIOLATION, "the terminal's keys are not for a sign-in"
)
NO_TRACK_KEY = Outcome.declined(
    ResponseCode.INVALID_TRANSACTION, "this switch gives no track keys"
)
OTHER_LENGTH = Outcome.declined(
    ResponseCode.INVALID_TRANSACTION,
    "the terminal's profile wants keys of another length",
)
NO_CRYPTO = Outcome.declined(
    ResponseCode.SYSTEM_MALFUNCTION, "the crypto service cannot make keys now"
)
PIN_AND_MAC = 2

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """The answer to a sign-in: its outcome, and the fields that bring the keys."""

    outcome: Outcome
    fields: Mapping[int, str | bytes]


async def sign_in(
    services: Services, terminal: TerminalSettings, dialect: Dialect, code: str
) -> SignedIn:
    """Give a terminal new working keys, if it has a master key."""
    if not terminal.tmk:
        return SignedIn(outcome=APPROVED, fields={})
    wish = read_sign_in(dialect, code)
    if wish.count > PIN_AND_MAC:
        return SignedIn(outcome=NO_TRACK_KEY, fields={})
    # Whoever asks is not known yet: the profile says what the keys are.
    length = SINGLE_LENGTH if terminal.has_single_length else 0
    if wish.length not in {None, length}:
        return SignedIn(outcome=OTHER_LENGTH, fields={})
    names = (terminal.tpk, terminal.tak)
    try:
        results = await services.hsm.run(
            *(
                OfferKey(
                    name=name,
                    under=terminal.tmk,
                    length=length,
                    check_bytes=TERMINAL_CHECK_BYTES,
                    is_legacy=terminal.is_legacy,
                    cause=f"terminal {terminal.id}",
                )
                for name in names
            )
        )
    except HsmUnavailable:
        return SignedIn(outcome=NO_CRYPTO, fields={})
    except KeyRefused as error:
        log.error("sign_in_refused", terminal=terminal.id, reason=str(error))
        return SignedIn(outcome=NO_KEYS, fields={})
    keys = [WorkingKey.decode(result) for result in results]
    for name, key in zip(names, keys, strict=True):
        await note_key(
            services,
            name,
            KeyEvent.OFFERED,
            terminal=terminal.id,
            version=key.version,
            check_value=key.check_value.hex().upper(),
        )
    transported = [
        TransportedKey(
            payload=key.payload,
            check_value=key.check_value,
            is_block=not terminal.is_legacy,
        )
        for key in keys
    ]
    return SignedIn(outcome=APPROVED, fields=write_terminal_keys(dialect, transported))


async def confirm_keys(services: Services, terminal: TerminalSettings) -> None:
    """Use the keys of the last sign-in: the terminal does.

    Raises
    ------
    HsmError, StoreUnavailable
        They stay pending until the terminal's next message.
    """
    for name in (terminal.tak, terminal.tpk):
        story = await read_story(services.store, name)
        if story.event is not KeyEvent.OFFERED:
            continue
        command = ActivateKey(
            name=name,
            version=story.key.version,
            check_value=story.key.check_value,
            overlap_s=terminal.key_overlap_s,
            cause=f"terminal {terminal.id}",
        )
        await services.hsm.run(command)
        await note_key(services, name, KeyEvent.ACTIVATED, version=story.key.version)
        log.info("key_activated", key=name, version=story.key.version)
