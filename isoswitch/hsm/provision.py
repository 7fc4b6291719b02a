"""Makes what the crypto process needs: a SoftHSM token, a storage master key, keys.

Every step looks first whether its result is there, so that running it again changes
nothing. A hardware token is initialised with its vendor's tools instead; the storage
master key and the key file are made here for it as well.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from isoswitch.codecs.canonical.errors import ConfigError, HsmError, KeyRefused
from isoswitch.codecs.canonical.secrets import KeyValue, Secret
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions.key import DERIVE
from isoswitch.hsm.keyfile import (
    KeyFile,
    locked,
    read_key_file,
    read_storage_key,
    write_key_file,
)
from isoswitch.hsm.keys import KeyPlan
from isoswitch.hsm.keytable import form_record, random_value
from isoswitch.hsm.pkcs11_library import (
    initialisation_lock,
    load_library,
    translating,
)
from isoswitch.hsm.settings import Environment, HsmdSettings, TokenSettings
from isoswitch.hsm.token import open_engine, open_vault


def provision(
    settings: HsmdSettings,
    plans: Iterable[KeyPlan],
    *,
    test_values: Mapping[str, KeyValue],
) -> list[str]:
    """Make the token, its storage master key and the planned keys that are missing.

    Parameters
    ----------
    settings
        What the crypto process will be told.
    plans
        The keys that shall exist; those that do are left alone.
    test_values
        The values of keys that simulators share, by name; all others are random and
        known to nobody.

    Returns
    -------
    list
        The names of the keys that were made.

    Raises
    ------
    ConfigError
        Test values in production, or the token cannot be made.
    HsmError
        The token does not open or refuses a key.
    """
    if test_values and settings.environment is not Environment.TEST:
        msg = 'keys are formed from test values only when environment = "test"'
        raise ConfigError(msg)
    for token in settings.tokens:
        make_token(token)
    path = settings.keys_file
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path):
        label = settings.tokens[0].storage_key
        if path.exists():
            label = read_storage_key(path)
        else:
            _make_storage_key(settings.tokens, label)
        vault = open_vault(open_engine(settings.tokens[0]), label)
        file = KeyFile(storage_key=label, records=[])
        if path.exists():
            file = read_key_file(path, vault)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        present = {record.plan.name for record in file.records}
        made = [
            form_record(vault, *_with_value(plan, test_values), created=created)
            for plan in plans
            if plan.name not in present
        ]
        if made or not path.exists():
            records = [*file.records, *made]
            file = msgspec.structs.replace(file, records=records)
            write_key_file(path, file, vault)
    return [record.plan.name for record in made]


def read_public_key(settings: HsmdSettings, name: str) -> bytes:
    """Read the public key to a stored signature key (SubjectPublicKeyInfo, DER).

    Raises
    ------
    ConfigError
        There is no key of this name, or the key file is not what it was.
    HsmError
        The token does not open.
    """
    label = read_storage_key(settings.keys_file)
    vault = open_vault(open_engine(settings.tokens[0]), label)
    for record in read_key_file(settings.keys_file, vault).records:
        if record.plan.name == name and record.public:
            return bytes.fromhex(record.public)
    msg = f"{settings.keys_file} has no signature key {name}"
    raise ConfigError(msg)


def make_token(token: TokenSettings) -> None:
    """Initialise a SoftHSM token with a random PIN unless its PIN file is there.

    No other program is started: its arguments would show the PINs to everybody.

    Raises
    ------
    ConfigError
        No SoftHSM is installed, or it refuses.
    """
    if token.softhsm_conf is None or token.pin_file.exists():
        return
    if not token.module.exists():
        msg = "SoftHSM is not installed; run: apt-get install softhsm2"
        raise ConfigError(msg)
    _write_configuration(token.softhsm_conf)
    pin = Secret(secrets.token_hex(8))
    try:
        # The security officer's PIN is forgotten: a test token is made anew.
        _initialise(token, officer_pin=Secret(secrets.token_hex(8)), user_pin=pin)
    except HsmError as fault:
        msg = f"SoftHSM makes no token: {fault}"
        raise ConfigError(msg) from None
    token.pin_file.touch(mode=0o600)
    token.pin_file.write_text(pin.reveal() + "\n", encoding="utf-8")


@translating
def _initialise(
    token: TokenSettings, *, officer_pin: Secret[str], user_pin: Secret[str]
) -> None:
    with initialisation_lock():
        library = load_library(token.module, token.softhsm_conf)
        library.initialise_token(
            token.label, officer_pin=officer_pin, user_pin=user_pin
        )


def _make_storage_key(tokens: Sequence[TokenSettings], label: str) -> None:
    """Make the storage master key where it is missing, the same in every token.

    In a single token it is generated. Several tokens share one that is here for a
    moment; components entered by different people are the way in production.
    """
    engines = [open_engine(token) for token in tokens]
    if all(engine.find(label, Algorithm.AES, DERIVE) for engine in engines):
        return
    if len(engines) == 1:
        engines[0].generate_storage_key(label)
        return
    value = KeyValue(secrets.token_bytes(32))
    for engine in engines:
        engine.store_storage_key(label, value)


def _write_configuration(path: Path) -> None:
    tokens = path.parent / "tokens"
    tokens.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(
        f"directories.tokendir = {tokens.resolve()}\n"
        "objectstore.backend = file\n"
        "log.level = ERROR\n"
        "slots.removable = false\n",
        encoding="utf-8",
    )


def _with_value(
    plan: KeyPlan, test_values: Mapping[str, KeyValue]
) -> tuple[KeyPlan, KeyValue]:
    value = test_values.get(plan.name)
    if value is None:
        return plan, random_value(plan)
    if len(value.reveal()) != plan.length:
        msg = f"key {plan.name}: its test value has not {plan.length} bytes"
        raise KeyRefused(msg)
    return msgspec.structs.replace(plan, is_test=True), value
