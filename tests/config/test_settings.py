"""Each part of the network is told what the file says, and the defaults else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.config.load import LoadedNetwork, validate
from isoswitch.config.model import Endpoint, Listener
from isoswitch.config.routing import load_routing
from isoswitch.config.settings import (
    hsmd_settings,
    payshield_settings,
    pin_of_file,
    switch_settings,
)
from isoswitch.config.source import parse_source
from isoswitch.config.types import Table
from isoswitch.hsm.payshield.settings import PayshieldSettings
from isoswitch.routing.bins import Span
from isoswitch.routing.facts import Facts
from isoswitch.simulators.cards import CARDS, TestCard
from isoswitch.switch.settings import (
    EndpointSettings,
    KeyExchangeSettings,
    ListenerSettings,
    VoidStyle,
)
from tests.config.packaged import PACKAGED, WITHOUT_FILES

# Made by OpenSSL 3.0; the pin is that of
# openssl x509 -pubkey | openssl pkey -pubin -outform DER | sha256sum
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBfDCCASOgAwIBAgIUddKoE1ZnCDyIqm68y3uq/ulfzOIwCgYIKoZIzj0EAwIw
EzERMA8GA1UEAwwIVEVSTTAwMDMwIBcNMjYxMTIyMDUwODU1WhgPMjEyNjEwMjkw
NTA4NTVaMBMxETAPBgNVBAMMCFRFUk0wMDAzMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAEXYK9/vRKJYYzQ8y+My+huaNVjAzPnPa52mJkOPEpLy1kp/MH9r5aISst
JPVdKtji3W0wg78FuAcDj+kAWcFtYaNTMFEwHQYDVR0OBBYEFHtt0b0d9iowsflw
we9giv1ZotGSMB8GA1UdIwQYMBaAFHtt0b0d9iowsflwwe9giv1ZotGSMA8GA1Ud
EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgD8cQNELwPghjT5wfuLWLLpJd
t6g5/CNYAgT6yvTx8qcCIAYCg+zzmsgg5HOX2zraK1mNe31pIPD2glZELalypcZ1
-----END CERTIFICATE-----
"""
CERTIFICATE_PIN = "00eca4e815d9c03964407aa391d5f39b746da9c46ad3270e3833a076229c022c"


def load(text: str, folder: Path) -> LoadedNetwork:
    """Load a network from its text."""
    path = folder / "network.toml"
    return LoadedNetwork(
        path=path, folder=folder, network=validate(parse_source(path, text))
    )


def test_an_endpoint_takes_its_timer_and_acquirer_from_the_network(
    tmp_path: Path,
) -> None:
    settings = switch_settings(load(WITHOUT_FILES, tmp_path))
    assert settings.endpoints["south"] == EndpointSettings(
        name="south",
        host="127.0.0.1",
        port=8592,
        dialect="iso93-bcd",
        framing="bin2",
        acquirer_id="10001",
        zpk="south/zpk",
        zak="south/zak",
        request_timeout_s=4.0,
    )


def test_the_exchange_of_keys_is_what_the_file_says(tmp_path: Path) -> None:
    text = WITHOUT_FILES.replace(
        'zak = "north/zak"',
        'zak = "north/zak"\n'
        'key_exchange = { under = "north/zmk", legacy = true, age_s = 3600 }',
    ).replace(
        'zak = "south/zak"',
        'zak = "south/zak"\nkey_exchange = { under = "south/kbpk", uses_max = 10 }',
    )
    endpoints = switch_settings(load(text, tmp_path)).endpoints
    assert endpoints["north"].key_exchange == KeyExchangeSettings(
        under="north/zmk", is_legacy=True, age_s=3600
    )
    assert endpoints["south"].key_exchange == KeyExchangeSettings(
        under="south/kbpk", uses_max=10
    )


def test_what_an_endpoint_names_itself_wins(tmp_path: Path) -> None:
    text = WITHOUT_FILES.replace(
        'zak = "north/zak"',
        'zak = "north/zak"\nrequest_timeout_s = 2\nmatch_fields = [11]\n'
        'acquirer_id = "77"\nsaf_window = 4',
    )
    north = switch_settings(load(text, tmp_path)).endpoints["north"]
    assert north.request_timeout_s == 2.0
    assert north.match_fields == (11,)
    assert north.acquirer_id == "77"
    assert north.saf_window == 4


def test_listeners_terminals_and_merchants_keep_their_names(tmp_path: Path) -> None:
    settings = switch_settings(load(WITHOUT_FILES, tmp_path))
    names = [listener.name for listener in settings.listeners]
    assert names == ["ascii", "bcd", "tls", "caaa"]
    tls = settings.listeners[2].tls
    assert tls is not None
    assert tls.ca == tmp_path / "var/tls/ca.pem"
    assert settings.terminals["TERM0001"].currency == "978"
    assert settings.merchants["GROCER000000001"].mcc == "5411"


def test_a_terminal_is_pinned_to_the_public_key_of_its_certificate(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.pem"
    path.write_text(CERTIFICATE)
    assert pin_of_file(path) == CERTIFICATE_PIN


def test_a_missing_certificate_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="isoswitch setup"):
        switch_settings(load(PACKAGED, tmp_path))


def test_the_crypto_process_is_told_where_its_files_lie(tmp_path: Path) -> None:
    settings = hsmd_settings(load(PACKAGED, tmp_path))
    assert settings.socket == tmp_path / "var/hsmd.sock"
    assert settings.tokens[0].softhsm_conf == tmp_path / "var/softhsm2.conf"


def test_an_operator_says_how_the_crypto_process_runs(tmp_path: Path) -> None:
    lines = 'user = "hsm"\nobjects_max = 20000\nconnections_max = 8\n'
    lines += 'ready_file = "var/hsmd.ready"\n'
    network = PACKAGED.replace("[hsm]\n", f"[hsm]\n{lines}")
    settings = hsmd_settings(load(network, tmp_path))
    assert (settings.user, settings.objects_max) == ("hsm", 20_000)
    assert settings.connections_max == 8
    assert settings.ready_file == tmp_path / "var/hsmd.ready"


UNITS = """payshield = { units = ["10.0.0.7:1500", "hsm.example:1501"], lmk = "01", \
keys_file = "var/unit-keys.json", lmk_check_value = "268604", deadline_s = 3.0 }
"""


def test_payment_hsms_are_where_the_file_says(tmp_path: Path) -> None:
    assert payshield_settings(load(PACKAGED, tmp_path)) is None
    network = PACKAGED.replace("[hsm]\n", f"[hsm]\n{UNITS}")
    settings = payshield_settings(load(network, tmp_path))
    assert settings == PayshieldSettings(
        units=(("10.0.0.7", 1500), ("hsm.example", 1501)),
        lmk="01",
        lmk_check_value="268604",
        deadline_s=3.0,
    )


def test_a_payment_hsm_without_its_certificate_is_told(tmp_path: Path) -> None:
    tls = ', tls = { certificate = "c.pem", key = "c.key", ca = "ca.pem" } }'
    network = PACKAGED.replace("[hsm]\n", f"[hsm]\n{UNITS}".replace(" }", tls))
    with pytest.raises(ConfigError, match=r"c\.pem"):
        payshield_settings(load(network, tmp_path))


def test_an_operator_sets_the_terms_of_the_kinds(tmp_path: Path) -> None:
    start, end = map(WITHOUT_FILES.index, ("[kinds]", "[merchants."))
    rest = WITHOUT_FILES[:start] + WITHOUT_FILES[end:]
    by_default = switch_settings(load(rest, tmp_path)).kinds
    assert (by_default.held_s, by_default.completion_over_percent) == (604_800, 0)
    kinds = '[kinds]\nnoted_files = ["HOTCARDS"]\n'
    kinds += "held_days = 30\ncompletion_over_percent = 5\n"
    kinds += 'completion_over_percent_by_mcc = { "7011" = 15 }\n\n'
    network = kinds + rest
    network = network.replace(
        "[endpoints.north]\n", '[endpoints.north]\nvoid_style = "void"\n'
    )
    settings = switch_settings(load(network, tmp_path))
    assert settings.kinds.held_s == 30 * 86_400
    assert settings.endpoints["north"].void_style is VoidStyle.VOID
    assert settings.kinds.noted_files == {"HOTCARDS"}
    merchant = next(iter(settings.merchants.values()))
    hotel = dataclasses.replace(merchant, mcc="7011")
    careful = dataclasses.replace(hotel, completion_over_percent=1)
    percents = [settings.kinds.over_percent(m) for m in (merchant, hotel, careful)]
    assert percents == [5, 15, 1]


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS.keys())
def test_every_test_card_is_routed_to_its_issuer(
    card: TestCard, tmp_path: Path
) -> None:
    facts = Facts(transaction_id="1-1", card=Span.of_card(card.pan))
    route = load_routing(load(PACKAGED, tmp_path)).find_route(facts, {})
    assert route.endpoints[0] == card.issuer


@pytest.mark.parametrize(
    ("table", "settings", "derived"),
    [
        (Endpoint, EndpointSettings, {"name", "shares_port"}),
        (Listener, ListenerSettings, {"name", "shares_port"}),
    ],
    ids=["endpoint", "listener"],
)
def test_everything_that_can_be_set_can_be_configured(
    table: type[Table], settings: type, derived: set[str]
) -> None:
    names = {each.name for each in dataclasses.fields(settings)}
    assert set(table.model_fields) == names - derived


def test_kinds_of_devices_have_their_own_limits_and_else_those_of_all(
    tmp_path: Path,
) -> None:
    contactless = switch_settings(load(WITHOUT_FILES, tmp_path)).contactless
    kinds = {each.name: each for each in contactless.devices}
    assert (contactless.tap_max_minor, contactless.device_max_minor) == (5_000, 0)
    apple, unionpay = kinds["apple-pay-like"], kinds["unionpay-like"]
    assert (apple.wallets, apple.limits.tap_max_minor) == ({"Apple Pay"}, 0)
    assert apple.limits.taps_max == contactless.taps_max
    assert (unionpay.schemes, unionpay.limits.device_max_minor) == (
        {"unionpay"},
        200_000,
    )


@pytest.mark.parametrize(
    "line", ['schemes = ["visas"]', 'token_ranges = ["4895"]', "tap_max_minor = -1"]
)
def test_a_kind_of_device_that_cannot_be_is_told(tmp_path: Path, line: str) -> None:
    table = f"\n[contactless.devices.watch]\n{line}\n"
    with pytest.raises(ConfigError, match=line.partition(" ")[0]):
        load(WITHOUT_FILES + table, tmp_path)


def test_token_ranges_are_prefixes_or_reach_from_one_to_another(tmp_path: Path) -> None:
    ranges = 'token_ranges = ["489537", "51200000..51209999"]'
    text = f"{WITHOUT_FILES}\n[contactless.devices.watch]\n{ranges}\n"
    watch = switch_settings(load(text, tmp_path)).contactless.devices[-1]
    assert Span.of_digits("51201234") in watch.token_ranges[1]
    assert Span.of_digits("51210000") not in watch.token_ranges[1]
