"""``isoswitch setup``: token, keys and certificates of a test network, in ``var/``.

Every step looks first whether its result is there. What the simulators share with the
switch gets values of its own in every folder; they are kept in clear in the keyring of
the simulators, which is why production refuses them.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from isoswitch.codecs.canonical.errors import HsmError
from isoswitch.commands.certificates import TestAuthority
from isoswitch.commands.console import Failure, stdout
from isoswitch.commands.housekeys import (
    ensure_house_keys,
    ensure_our_public_keys,
    signature_plans,
)
from isoswitch.config.load import LoadedNetwork, load_network
from isoswitch.config.settings import hsmd_settings, switch_settings, tls_files
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.keys import KeyPlan, Mode, Usage
from isoswitch.hsm.keytable import random_value
from isoswitch.hsm.payshield.keys import read_unit_keys, write_unit_keys
from isoswitch.hsm.payshield.layouts import KeyKind
from isoswitch.hsm.provision import provision
from isoswitch.simulators.keyring import Keyring, read_keyring, write_keyring
from isoswitch.simulators.payshield_keys import wrap_test_key
from isoswitch.switch.settings import SwitchSettings

SECRET_BYTES = 32


def setup(config: Path | None) -> None:
    """Make what is missing and say what was made.

    Raises
    ------
    Failure
        The configuration is not one for tests.
    """
    loaded = load_network(config)
    console = stdout()
    for line in ensure(loaded):
        console.print(f"made {line}")


def ensure(loaded: LoadedNetwork) -> list[str]:
    """Make what is missing; give a line for each thing made."""
    simulators = loaded.network.simulators
    if simulators is None:
        raise Failure(
            f"{loaded.path} describes no test network: it has no [simulators]",
            fix="real keys are loaded with `isoswitch keys`",
        )
    made = [str(path) for path in _ensure_certificates(loaded)]
    made += [str(path) for path in _ensure_secrets(loaded)]
    made += [str(path) for path in ensure_house_keys(loaded)]
    shared = list(_shared_plans(loaded))
    keyring_path = loaded.file(simulators.keyring)
    values = _read_values(keyring_path)
    drawn = {plan.name: _draw_value(plan) for plan in shared if plan.name not in values}
    values |= drawn
    new_keys = _ensure_keys(loaded, shared, Keyring(values))
    lost = sorted(drawn.keys() - set(new_keys))
    if lost:
        raise Failure(
            f"{keyring_path} lacks {len(lost)} keys that the token has, "
            f"such as {lost[0]}",
            fix=_fresh_start(loaded),
        )
    if drawn:
        write_keyring(keyring_path, values)
        made.append(f"{simulators.keyring}: {len(drawn)} test keys")
    if new_keys:
        keys_file = loaded.network.hsm.keys_file
        made.append(f"{keys_file}: {len(new_keys)} keys, under the token's own")
    made += [str(path) for path in ensure_our_public_keys(loaded)]
    return made


def _ensure_keys(
    loaded: LoadedNetwork, shared: Sequence[KeyPlan], keyring: Keyring
) -> list[str]:
    """Make the token and the keys that are missing; give the names of these."""
    plans = [*_own_plans(switch_settings(loaded)), *signature_plans(loaded)]
    units, made = loaded.network.hsm.payshield, []
    if units is None:
        plans += shared
    else:
        made = _ensure_unit_keys(loaded, loaded.file(units.keys_file), shared, keyring)
    values = {
        plan.name: keyring.get_key(plan.name).value for plan in plans if plan in shared
    }
    try:
        return made + provision(hsmd_settings(loaded), plans, test_values=values)
    except HsmError as fault:
        raise Failure(
            f"the token does not open: {fault}", fix=_fresh_start(loaded)
        ) from None


def _ensure_unit_keys(
    loaded: LoadedNetwork, path: Path, shared: Sequence[KeyPlan], keyring: Keyring
) -> list[str]:
    """Give the simulated payment HSM the keys that are missing; give their names.

    They are in no token then.
    """
    present = read_unit_keys(path) if path.exists() else []
    names = {key.plan.name for key in present}
    endpoints = loaded.network.endpoints.values()
    zone = {name for endpoint in endpoints for name in (endpoint.zpk, endpoint.zak)}
    made = [
        wrap_test_key(plan, _kind_of(plan, zone), keyring.get_key(plan.name).value)
        for plan in shared
        if plan.name not in names
    ]
    if made:
        write_unit_keys(path, [*present, *made])
    return [key.plan.name for key in made]


def _kind_of(plan: KeyPlan, zone: Collection[str]) -> KeyKind:
    """Give what a unit calls the key of a terminal, or one of the ``zone``."""
    if plan.usage is Usage.PIN:
        return KeyKind.ZPK if plan.name in zone else KeyKind.TPK
    return KeyKind.ZAK if plan.name in zone else KeyKind.TAK


def _fresh_start(loaded: LoadedNetwork) -> str:
    folder = loaded.file(loaded.network.hsm.keys_file).parent
    return f"rm -r {folder} && isoswitch setup (new token, new keys, empty store)"


def _own_plans(settings: SwitchSettings) -> tuple[KeyPlan, ...]:
    """Plan the keys that the switch shares with nobody."""
    return (
        KeyPlan(
            name=settings.pan_hash_key,
            usage=Usage.HMAC,
            mode=Mode.GENERATE_AND_VERIFY,
            algorithm=Algorithm.HMAC,
            length=32,
        ),
        KeyPlan(
            name=settings.seal_key,
            usage=Usage.DATA,
            mode=Mode.BOTH,
            algorithm=Algorithm.AES,
            length=32,
        ),
    )


def _shared_plans(loaded: LoadedNetwork) -> Iterator[KeyPlan]:
    """Plan the keys that the switch shares with terminals and issuers."""
    network = loaded.network
    assert network.simulators is not None, "a test network"
    for terminal in network.terminals.values():
        yield _pin_plan(terminal.tpk, Mode.DECRYPT)
        if terminal.tak is not None:
            yield _mac_plan(terminal.tak, "x9.19")
        if terminal.tmk is not None:
            yield _protection_plan(terminal.tmk, is_legacy=terminal.legacy_keys)
    for stand_in in network.stand_in.values():
        if stand_in.cryptogram_key is not None:
            yield KeyPlan(
                name=stand_in.cryptogram_key,
                usage=Usage.EMV_CRYPTOGRAM,
                mode=Mode.DERIVE_KEYS,
                algorithm=Algorithm.TDES,
            )
    for name, issuer in network.simulators.issuers.items():
        endpoint = network.endpoints[name]
        yield _pin_plan(endpoint.zpk, Mode.ENCRYPT)
        yield _mac_plan(endpoint.zak, issuer.mac)
        profile = endpoint.key_exchange
        if profile is not None:
            yield _protection_plan(profile.under, is_legacy=profile.legacy)


def _pin_plan(name: str, mode: Mode) -> KeyPlan:
    return KeyPlan(name=name, usage=Usage.PIN, mode=mode, algorithm=Algorithm.TDES)


def _mac_plan(name: str, mac: str) -> KeyPlan:
    retail = mac == "x9.19"
    return KeyPlan(
        name=name,
        usage=Usage.MAC_ALGORITHM_3 if retail else Usage.CMAC,
        mode=Mode.GENERATE_AND_VERIFY,
        algorithm=Algorithm.TDES if retail else Algorithm.AES,
    )


def _protection_plan(name: str, *, is_legacy: bool) -> KeyPlan:
    return KeyPlan(
        name=name,
        usage=Usage.KEY_ENCRYPTION if is_legacy else Usage.KEY_BLOCK_PROTECTION,
        mode=Mode.BOTH,
        algorithm=Algorithm.TDES if is_legacy else Algorithm.AES,
    )


def _ensure_secrets(loaded: LoadedNetwork) -> Iterator[Path]:
    """Draw the secrets of the API's clients that have none yet."""
    portal = loaded.network.portal
    for client in portal.clients.values() if portal else ():
        if client.secret_file is None or loaded.file(client.secret_file).exists():
            continue
        path = loaded.file(client.secret_file)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(SECRET_BYTES))
        yield client.secret_file


def _read_values(path: Path) -> dict[str, str]:
    """Read the keyring as it is written, for adding to it; nothing when absent."""
    if not path.exists():
        return {}
    read_keyring(path)
    values: dict[str, str] = json.loads(path.read_bytes())
    return values


def _draw_value(plan: KeyPlan) -> str:
    """Draw a random test key, in the form of the keyring."""
    prefix = "aes:" if plan.algorithm is Algorithm.AES else ""
    return prefix + random_value(plan).reveal().hex()


def _ensure_certificates(loaded: LoadedNetwork) -> Iterator[Path]:
    """Sign the sides of mutual TLS that have no certificate yet."""
    sides = [
        (listener.tls, "isoswitch", True)
        for listener in loaded.network.listeners.values()
    ] + [
        (terminal.tls, name, False)
        for name, terminal in loaded.network.terminals.items()
    ]
    sides += [
        (house.tls, "isoswitch", False) for house in loaded.network.houses.values()
    ]
    simulators = loaded.network.simulators
    sides += [
        (house.tls, name, True)
        for name, house in (simulators.houses.items() if simulators else ())
    ]
    for tls, name, is_server in sides:
        if tls is None:
            continue
        files = tls_files(loaded, tls)
        if not files.certificate.exists():
            TestAuthority(files.ca).sign(files, name, is_server=is_server)
            yield tls.certificate
