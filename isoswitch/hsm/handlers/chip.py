"""Chip cryptograms: verifying a card's, answering it, authenticating issuer scripts."""

from __future__ import annotations

from isoswitch.codecs.canonical.errors import HsmError
from isoswitch.hsm.functions.emv import (
    ArpcMethod,
    derive_card_key,
    make_arpc,
    make_script_mac,
    verify_arqc,
)
from isoswitch.hsm.functions.key import Key
from isoswitch.hsm.handlers.arguments import (
    check_digits,
    check_length,
    option_of,
    pan_of,
    version_of,
)
from isoswitch.hsm.handlers.versions import try_each
from isoswitch.hsm.keys import Purpose
from isoswitch.hsm.keytable import KeyTable
from isoswitch.hsm.port import GenerateScriptMac, VerifyCryptogram

# A response code; a card status update and up to eight bytes of the issuer's own.
_ANSWER_BYTES = {
    ArpcMethod.ENCRYPTED: range(2, 3),
    ArpcMethod.AUTHENTICATED: range(4, 13),
}


def verify_cryptogram(keys: KeyTable, command: VerifyCryptogram, _last: bytes) -> bytes:
    """Check an ARQC; with an answer, make the ARPC."""
    masters = keys.get_objects(command.key, Purpose.VERIFY_CRYPTOGRAM)
    version = version_of(command.version)
    pan, option = pan_of(command.pan), option_of(command.option)
    check_digits(command.sequence, 2, "PAN sequence number")
    answer = command.answer
    if answer and len(answer) not in _ANSWER_BYTES[version.arpc]:
        raise HsmError("this cryptogram version has no answer of this length")
    transaction = {
        "atc": command.atc,
        "unpredictable": command.unpredictable,
        "arqc": command.arqc,
    }

    def verify(master: Key) -> bytes:
        with derive_card_key(
            master, pan, sequence=command.sequence, option=option
        ) as card_key:
            verify_arqc(card_key, version, command.data, **transaction)
            if not answer:
                return b""
            return make_arpc(card_key, version, answer=answer, **transaction)

    return try_each(masters, verify)


def generate_script_mac(
    keys: KeyTable, command: GenerateScriptMac, _last: bytes
) -> bytes:
    """Authenticate an issuer script command."""
    master = keys.get_objects(command.key, Purpose.AUTHENTICATE_SCRIPT)[0]
    version = version_of(command.version)
    pan, option = pan_of(command.pan), option_of(command.option)
    check_digits(command.sequence, 2, "PAN sequence number")
    check_length(command.atc, 2, "transaction counter")
    check_length(command.arqc, 8, "application cryptogram")
    if not 4 <= command.length <= 8:
        raise HsmError("a script MAC has 4 to 8 bytes")
    return make_script_mac(
        master,
        version,
        pan,
        command.data,
        atc=command.atc,
        arqc=command.arqc,
        sequence=command.sequence,
        option=option,
    )[: command.length]
