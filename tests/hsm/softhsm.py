"""A SoftHSM token and a key file for tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.keys import KeyPlan, Mode, Usage
from isoswitch.hsm.provision import provision
from isoswitch.hsm.settings import DEFAULT_MODULE, HsmdSettings, TokenSettings

PAN = "4761739001010010"
TDES_KEY = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
OTHER_TDES_KEY = KeyValue(bytes.fromhex("1111111111111111CCCCCCCCCCCCCCCC"))
AES_KEY = KeyValue(bytes.fromhex("2B7E151628AED2A6ABF7158809CF4F3C"))


def plan(
    name: str, usage: str, mode: str, algorithm: str = "tdes", length: int = 16
) -> KeyPlan:
    """Plan a key in one line."""
    return KeyPlan(
        name=name,
        usage=Usage(usage),
        mode=Mode(mode),
        algorithm=Algorithm(algorithm),
        length=length,
    )


PLANS = (
    plan("t/tpk", "P0", "D"),
    plan("t/tak", "M3", "C"),
    plan("n/zpk", "P0", "E"),
    plan("n/zak", "M3", "C"),
    plan("s/zpk", "P0", "E", "aes"),
    plan("s/zak", "M6", "C", "aes"),
    plan("x/alg1", "M1", "C"),
    plan("x/verify-only", "M6", "V", "aes"),
    plan("x/generate-only", "M6", "G", "aes"),
    plan("store/hash", "M7", "G", "hmac", 32),
    plan("store/seal", "D0", "B", "aes", 32),
)
VALUES = {
    "t/tpk": TDES_KEY,
    "t/tak": OTHER_TDES_KEY,
    "n/zpk": OTHER_TDES_KEY,
    "n/zak": TDES_KEY,
    "s/zpk": AES_KEY,
    "s/zak": AES_KEY,
    "x/alg1": TDES_KEY,
    "x/verify-only": AES_KEY,
    "x/generate-only": AES_KEY,
    "store/hash": KeyValue(bytes(range(32))),
    "store/seal": KeyValue(bytes(range(32, 64))),
}


def require_softhsm() -> None:
    """Skip with the reason where SoftHSM is not installed."""
    if not DEFAULT_MODULE.exists():
        pytest.skip("softhsm2 is not installed")


def token_settings(folder: Path, label: str = "test") -> TokenSettings:
    """Describe a token in a folder of its own."""
    return TokenSettings(
        label=label,
        pin_file=folder / f"{label}.pin",
        softhsm_conf=folder / f"{label}.conf",
    )


def provisioned(folder: Path, *, tokens: int = 1) -> HsmdSettings:
    """Make tokens and a key file with the keys of ``VALUES``."""
    require_softhsm()
    settings = HsmdSettings(
        socket=folder / "hsmd.sock",
        keys_file=folder / "keys.json",
        tokens=tuple(
            token_settings(folder / f"{number}", f"token{number}")
            for number in range(tokens)
        ),
    )
    for token in settings.tokens:
        token.pin_file.parent.mkdir()
    provision(settings, PLANS, test_values=VALUES)
    return settings
