"""Which function runs which payment command."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from isoswitch.hsm import port
from isoswitch.hsm.handlers import card, chip, data, mac, pin, signature
from isoswitch.hsm.keytable import KeyTable

Handler = Callable[[KeyTable, Any, bytes], bytes]

HANDLERS: Mapping[type, Handler] = {
    port.VerifyMac: mac.verify_mac,
    port.GenerateMac: mac.generate_mac,
    port.TranslatePin: pin.translate_pin,
    port.VerifyPvv: pin.verify_pin_by_pvv,
    port.VerifyOffset: pin.verify_pin_by_offset,
    port.VerifyCardValue: card.verify_card_value,
    port.VerifyDynamicCvv: card.verify_dynamic_cvv,
    port.VerifyCvc3: card.verify_dynamic_cvc,
    port.VerifyCryptogram: chip.verify_cryptogram,
    port.GenerateScriptMac: chip.generate_script_mac,
    port.EncryptData: data.encrypt_data,
    port.DecryptData: data.decrypt_data,
    port.HashData: data.hash_data,
    port.Random: data.random,
    port.Sign: signature.sign,
    port.ReadPublicKey: signature.read_public_key,
    port.VerifySignature: signature.verify_signature,
}
"""Each takes the loaded keys, the command and the result of the command before."""
