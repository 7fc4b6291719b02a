"""Payees, houses and clients of the API in a configuration."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.config.load import load_network
from isoswitch.config.portal import portal_settings
from isoswitch.config.settings import switch_settings
from isoswitch.switch.settings import is_server

HOUSES = """
[houses.instant]
port = 9600
member = "NORTDEFFXXX"
profile = "sct-inst-like"

[houses.instant.signature]
key = "instant/signature"
name = "isoswitch-1"
their_name = "instant-1"
their_file = "purse.pem"
"""
PAYEE = """
[merchants.KIOSK0000000001.payee]
house = "instant"
account = "DE02120300000000202051"
bank = "SOUTDEFFXXX"
city = "Berlin"
country = "DE"
callback_url = "https://shop.example/hook"
"""
CLIENTS = """
[portal.clients.till]
merchant = "KIOSK0000000001"
terminal = "WEB00002"
secret_file = "till.secret"
per_minute = 60

[portal.clients.purse]
public_key_file = "purse.pem"

[portal.callback_secrets]
KIOSK0000000001 = "till.secret"
"""
TLS = 'tls = { certificate = "c.pem", key = "c.key", ca = "ca.pem" }'
OWNED = 'accounts = { "DE02500105170137075030" = { merchant = "NOBODY" } }'
ALL = HOUSES + PAYEE + CLIENTS
CALLED_WRONG = r"(?s)payee.callback_url: no host has.*\d+ \| callback_url"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with secrets, those of the packaged clients too, and a public key."""
    (tmp_path / "var" / "api").mkdir(parents=True)
    for name in ("till.secret", "var/api/grocer.secret", "var/api/bankapp.secret"):
        secret = tmp_path / name
        secret.touch(mode=0o600)
        secret.write_bytes(b"0123456789abcdef0123456789abcdef\n")
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "var" / "houses").mkdir()
    for name in ("purse.pem", "var/houses/house.pem"):
        (tmp_path / name).write_bytes(pem)
    return tmp_path


def write(folder: Path, added: str) -> Path:
    """Write the packaged configuration with more in it."""
    path = folder / "network.toml"
    path.write_text(load_network(None).path.read_text() + added)
    return path


def test_what_is_configured_reaches_switch_and_portal(folder: Path) -> None:
    loaded = load_network(write(folder, ALL))
    portal = portal_settings(loaded)
    assert portal is not None
    till, purse = portal.clients["till"], portal.clients["purse"]
    assert till.secret is not None
    assert till.secret.reveal() == b"0123456789abcdef0123456789abcdef"
    assert (till.merchant_id, till.per_minute) == ("KIOSK0000000001", 60)
    assert (purse.merchant_id, purse.secret) == ("", None)
    assert purse.public
    assert set(portal.callback_secrets) == {"KIOSK0000000001"}
    assert loaded.network.portal is not None


@pytest.mark.parametrize(
    ("added", "said"),
    [
        (PAYEE + CLIENTS, "which is no house"),
        (HOUSES.replace("instant", "north"), "an endpoint and a house"),
        (
            HOUSES.replace("[houses.instant]", '[houses.instant]\nhost = "a..b"', 1),
            r"houses\.instant\.host: not a host",
        ),
        (HOUSES + PAYEE, "nothing signs"),
        (HOUSES + CLIENTS, "without a payee"),
        (ALL.replace('secret_file = "till.secret"', ""), "not just one key"),
        (ALL + "[simulators.houses.instant]", "its link is signed"),
        (ALL.replace("WEB00002", "TERM0001"), "which is a terminal"),
        (ALL.replace("WEB00002", "WEB00001"), "of several merchants"),
        (
            ALL.replace(
                "[portal.clients.purse]", '[portal.clients.purse]\nterminal = "W"'
            ),
            "for no merchant",
        ),
        (ALL + "[simulators.houses.instant]\nrules = [{}]", "not a rule"),
        (ALL.replace("port = 9600", 'port = 9600\ntransport = "https"'), "plain HTTP"),
        (ALL + f"[simulators.houses.instant]\n{TLS}", "one end of the link"),
        (ALL.replace("port = 9600", f"port = 9600\n{OWNED}"), "which is no merchant"),
    ],
)
def test_what_does_not_fit_is_told(folder: Path, added: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_network(write(folder, added))


@pytest.mark.parametrize(
    ("host", "can_be"),
    [
        ("shop.example", True),
        ("shop_1.münchen.example.:8443", True),
        ("localhost:8080", True),
        ("4f2a90", True),
        ("[2606:2800:220:1::1]", True),
        ("93.184.216.34", True),
        ("", False),
        (":8443", False),
        ("shop..example", False),
        ("a" * 64 + ".example", False),
        ("-", False),
        ("xn--", False),
        ("[::1", False),
        ("1.2.3.4.5", False),
        ("256.1.1.1", False),
        ("shop.example:99999", False),
        ("shop.example:0", False),
    ],
)
def test_a_callback_goes_to_what_can_be_a_host(
    folder: Path, host: str, *, can_be: bool
) -> None:
    path = write(folder, ALL.replace("//shop.example/", f"//{host}/"))
    said = nullcontext() if can_be else pytest.raises(ConfigError, match=CALLED_WRONG)
    with said:
        load_network(path)


def test_a_secret_that_others_can_read_is_refused(folder: Path) -> None:
    (folder / "till.secret").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        portal_settings(load_network(write(folder, ALL)))


def test_a_short_secret_is_refused_and_not_shown(folder: Path) -> None:
    (folder / "till.secret").write_bytes(b"short")
    with pytest.raises(ConfigError, match="shorter than 32 bytes") as caught:
        portal_settings(load_network(write(folder, ALL)))
    assert "short\n" not in str(caught.value)


def test_another_curve_is_refused(folder: Path) -> None:
    public = ec.generate_private_key(ec.SECP384R1()).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "purse.pem").write_bytes(pem)
    with pytest.raises(ConfigError, match="neither"):
        portal_settings(load_network(write(folder, ALL)))


@pytest.mark.parametrize("name", ["till.secret", "purse.pem"])
def test_a_file_that_is_missing_is_told(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ConfigError, match=name):
        portal_settings(load_network(write(folder, ALL)))


def test_the_settings_of_a_house_reach_the_switch(folder: Path) -> None:
    loaded = load_network(write(folder, ALL))
    network = loaded.network
    # The terminals' certificates are not made here.
    terminals = {
        name: each for name, each in network.terminals.items() if each.tls is None
    }
    plain = network.model_copy(update={"terminals": terminals})
    settings = switch_settings(replace(loaded, network=plain))
    instant = settings.houses["instant"]
    assert instant.profile == "sct-inst-like"
    assert instant.signing is not None
    assert (instant.signing.key, instant.signing.their_name) == (
        "instant/signature",
        "instant-1",
    )
    pem = (folder / "purse.pem").read_bytes()
    public = load_pem_public_key(pem).public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    assert instant.signing.their_public == public
    payee = settings.merchants["KIOSK0000000001"].payee
    assert payee is not None
    assert payee.bank == "SOUTDEFFXXX"
    server = settings.terminals["WEB00002"]
    assert (server.merchant_id, is_server(server)) == ("KIOSK0000000001", True)
