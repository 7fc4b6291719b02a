"""Opens what the crypto process works with: a token, its vault, the stored keys."""

from __future__ import annotations

from pathlib import Path

from isoswitch.codecs.canonical.errors import ConfigError, HsmUnavailable
from isoswitch.codecs.canonical.secrets import Secret
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions.key import DERIVE
from isoswitch.hsm.keyplane import KeyPlane
from isoswitch.hsm.knownanswers import KnownAnswers
from isoswitch.hsm.pkcs11_engine import Pkcs11Engine
from isoswitch.hsm.service import CryptoService
from isoswitch.hsm.settings import Environment, TokenSettings
from isoswitch.hsm.vault import Vault


def open_engine(token: TokenSettings) -> Pkcs11Engine:
    """Log in to a token.

    Raises
    ------
    ConfigError
        The PIN file is missing or others can read it.
    HsmUnavailable
        The token does not open.
    """
    return Pkcs11Engine(
        module=token.module,
        label=token.label,
        pin=read_pin(token.pin_file),
        softhsm_conf=token.softhsm_conf,
    )


def open_vault(engine: Pkcs11Engine, storage_key: str) -> Vault:
    """Find the storage master key in a token.

    Raises
    ------
    HsmUnavailable
        The token does not hold it.
    """
    handle = engine.find(storage_key, Algorithm.AES, DERIVE)
    if handle is None:
        msg = f"token {engine.label} holds no storage master key {storage_key}"
        raise HsmUnavailable(msg)
    return Vault(engine, handle, unwrapper=engine)


def open_service(
    engine: Pkcs11Engine, keys_file: Path, environment: Environment
) -> CryptoService:
    """Test an engine, load the stored keys into it, and give what serves them.

    Raises
    ------
    ConfigError
        The key file is not usable, or holds a test key in production.
    HsmError
        The token computes wrongly, or refuses a key.
    """
    known_answers = KnownAnswers(engine)
    known_answers.check_all()
    plane = KeyPlane(
        keys_file,
        open_vault=lambda label: open_vault(engine, label),
        environment=environment,
    )
    return CryptoService(plane.table, known_answers, plane=plane)


def read_pin(path: Path) -> Secret[str]:
    """Read a token's user PIN from a file that only its owner can read.

    Raises
    ------
    ConfigError
        There is no such file, or others can read it.
    """
    try:
        mode = path.stat().st_mode
        pin = path.read_text(encoding="utf-8").strip()
    except OSError as fault:
        msg = f"the PIN file {path} cannot be read: {fault.strerror}"
        raise ConfigError(msg) from None
    if mode & 0o077:
        msg = f"others can read the PIN file {path}; run: chmod 600 {path}"
        raise ConfigError(msg)
    return Secret(pin)
