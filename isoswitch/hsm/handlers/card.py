"""Card verification values, static and dynamic."""

from __future__ import annotations

from isoswitch.codecs.canonical.secrets import Secret
from isoswitch.hsm.functions.cvv import (
    static_cvc3,
    verify_cvc3,
    verify_cvv,
    verify_dcvv,
)
from isoswitch.hsm.functions.emv import derive_card_key
from isoswitch.hsm.functions.key import Key, KeyPair
from isoswitch.hsm.handlers.arguments import (
    check_counter,
    check_digits,
    check_length,
    pan_of,
)
from isoswitch.hsm.handlers.versions import try_each
from isoswitch.hsm.keys import Purpose
from isoswitch.hsm.keytable import KeyTable
from isoswitch.hsm.port import VerifyCardValue, VerifyCvc3, VerifyDynamicCvv

_STATIC_CVC3_BYTES = 2


def verify_card_value(keys: KeyTable, command: VerifyCardValue, _last: bytes) -> bytes:
    """Check a static CVV or CVC, CVV2 or iCVV."""
    cvks = keys.get_mac_pairs(command.key, Purpose.VERIFY_CARD_VALUE)
    pan = pan_of(command.pan)
    check_digits(command.expiry, 4, "expiry date")
    check_digits(command.service_code, 3, "service code")

    def verify(cvk: KeyPair) -> bytes:
        verify_cvv(
            cvk,
            pan,
            expiry=command.expiry,
            service_code=command.service_code,
            cvv=Secret(command.value),
        )
        return b""

    return try_each(cvks, verify)


def verify_dynamic_cvv(
    keys: KeyTable, command: VerifyDynamicCvv, _last: bytes
) -> bytes:
    """Check Visa's dynamic CVV."""
    masters = keys.get_objects(command.key, Purpose.VERIFY_DYNAMIC_NUMBER)
    pan = pan_of(command.pan)
    check_digits(command.expiry, 4, "expiry date")
    check_digits(command.service_code, 3, "service code")
    check_digits(command.sequence, 2, "PAN sequence number")
    check_counter(command.atc)

    def verify(master: Key) -> bytes:
        with derive_card_key(master, pan, sequence=command.sequence) as card_key:
            verify_dcvv(
                card_key,
                pan,
                expiry=command.expiry,
                service_code=command.service_code,
                atc=command.atc,
                dcvv=Secret(command.value),
            )
        return b""

    return try_each(masters, verify)


def verify_dynamic_cvc(keys: KeyTable, command: VerifyCvc3, _last: bytes) -> bytes:
    """Check Mastercard's CVC3."""
    masters = keys.get_objects(command.key, Purpose.VERIFY_DYNAMIC_NUMBER)
    pan = pan_of(command.pan)
    check_digits(command.sequence, 2, "PAN sequence number")
    check_length(command.unpredictable, 4, "unpredictable number")
    check_counter(command.atc)

    def verify(master: Key) -> bytes:
        with derive_card_key(master, pan, sequence=command.sequence) as card_key:
            static = command.track
            if len(static) != _STATIC_CVC3_BYTES:
                static = static_cvc3(card_key, Secret(static))
            verify_cvc3(
                card_key,
                static=static,
                unpredictable=command.unpredictable,
                atc=command.atc,
                cvc3=Secret(command.value),
            )
        return b""

    return try_each(masters, verify)
