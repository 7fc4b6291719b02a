"""The keys of the commands' tests: published ones, each under the name of its use."""

from __future__ import annotations

from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.functions.ibm3624 import Ibm3624Rule
from isoswitch.hsm.keys import KeyPlan
from isoswitch.hsm.keytable import KeyTable, form_record
from isoswitch.hsm.knownanswers import KnownAnswers
from isoswitch.hsm.service import CryptoService
from isoswitch.hsm.vault import Vault
from tests.hsm.softhsm import plan

KNOWN = "0123456789ABCDEFFEDCBA9876543210"
ZONE = "89E88CF7931444F334BD7547FC3F380C"
# The base key of the test vectors of ANSI X9.24-3.
AES_BASE = "FEDCBA9876543210F1F1F1F1F1F1F1F1"
# The initial keys of FFFF9876543210E and 1234567890123456 under these base keys.
IPEK = "6AC292FAA1315B4D858AB3A3D7D5933A"
AES_IK = "1273671EA26AC29AFA4D1084127652A1"
RULE = Ibm3624Rule(table="1234567890123456")

_SIGNING = ec.derive_private_key(4_761_739, ec.SECP256R1())

KEYS: tuple[tuple[KeyPlan, str], ...] = (
    (plan("zone/in", "P0", "D"), ZONE),
    (plan("zone/out", "P0", "E"), ZONE),
    (plan("zone/aes-in", "P0", "D", "aes"), AES_BASE),
    (plan("zone/aes-out", "P0", "E", "aes"), AES_BASE),
    (plan("terminal/bdk", "B0", "X"), KNOWN),
    (plan("terminal/aes-bdk", "B0", "X", "aes"), AES_BASE),
    (plan("terminal/aes-256-bdk", "B0", "X", "aes", 32), AES_BASE * 2),
    (plan("terminal/ipek", "B1", "X"), IPEK),
    (plan("terminal/aes-ik", "B1", "X", "aes"), AES_IK),
    (plan("terminal/aes-192-bdk", "B0", "X", "aes", 24), KNOWN + KNOWN[:16]),
    (plan("issuer/pvk", "V2", "V"), KNOWN),
    (plan("issuer/offset", "V1", "V"), KNOWN),
    (msgspec.structs.replace(plan("issuer/rule", "V1", "V"), pin_rule=RULE), KNOWN),
    (plan("issuer/cvk", "C0", "V"), KNOWN),
    (plan("issuer/ac", "E0", "X"), KNOWN),
    (plan("issuer/smi", "E2", "X"), KNOWN),
    (plan("issuer/dcvv", "E4", "X"), "1234567812345678" * 2),
    (plan("link/unionpay", "10", "C"), "22" * 16),
    (plan("link/cmac", "M6", "C"), KNOWN),
    (plan("link/hmac", "M7", "C", "hmac", 32), KNOWN * 2),
    (plan("link/retail", "M3", "C"), KNOWN),
    (plan("store/seal", "D0", "B", "aes", 32), KNOWN * 2),
    (
        plan("own/sign", "S0", "S", "ec", 32),
        _SIGNING.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()).hex(),
    ),
)


def payments_on(vault: Vault) -> CryptoService:
    """Give a service with all these keys."""
    records = [
        form_record(vault, each, KeyValue(bytes.fromhex(value)), created="")
        for each, value in KEYS
    ]
    return CryptoService(KeyTable(vault, records), KnownAnswers(vault.engine))


def changed(command: Any, **changes: Any) -> Any:
    """Give a command with other arguments."""
    return msgspec.structs.replace(command, **changes)
