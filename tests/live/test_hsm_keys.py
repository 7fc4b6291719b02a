"""``isoswitch keys`` against a token, with and without a running crypto process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from typer.testing import CliRunner, Result

import isoswitch.config
from isoswitch.codecs.canonical.errors import (
    HsmUnavailable,
    IsoswitchError,
    KeyRefused,
    MacMismatch,
    StoreUnavailable,
)
from isoswitch.commands.hsm import app as hsm_app
from isoswitch.commands.key_changes import settings_of
from isoswitch.commands.keys import app
from isoswitch.config.load import STORE_URL, load_network
from isoswitch.hsm.client import open_hsm
from isoswitch.hsm.port import EncryptData, GenerateMac, VerifyMac
from isoswitch.hsm.provision import provision
from isoswitch.store.port import UnitOfWork
from isoswitch.store.sqlite import open_sqlite_store
from tests.hsm.softhsm import PLANS, VALUES, require_softhsm
from tests.live.network import free_ports
from tests.live.test_hsm_processes import hsmd
from tests.store.units import saf_entry

pytestmark = pytest.mark.live

Keys = Callable[..., Result]
# Two components and their AES check values, computed with OpenSSL's CMAC.
FIRST = ("000102030405060708090A0B0C0D0E0F", "BE7ED6AE78")
SECOND = ("2B7E151628AED2A6ABF7158809CF4F3C", "7AD386C376")
# Two components of the TDES key 0123..3210, and that key encrypted under itself.
TDES_FIRST = ("01010101010101010101010101010101", "8CA64D")
TDES_SECOND = ("0022446688AACCEEFFDDBB9977553311", "08D7B4")
CRYPTOGRAM = "1A4D672DCA6CB3351FD1B02B237AF9AE"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Give a network with a token of its own."""
    require_softhsm()
    packaged = Path(isoswitch.config.__file__).with_name("network.toml")
    path = tmp_path / "network.toml"
    shutil.copy(packaged, path)
    provision(settings_of(path), PLANS, test_values=VALUES)
    return path


@pytest.fixture
def keys(config: Path) -> Keys:
    """Give ``isoswitch keys`` on that network."""

    def run(*arguments: str, typed: str = "") -> Result:
        command = [arguments[0], "--config", str(config), *arguments[1:]]
        result = CliRunner().invoke(app, command, input=typed)
        if result.exception is not None and result.exit_code == 1:
            raise result.exception
        return result

    return run


def listed(keys: Keys) -> dict[str, list[str]]:
    rows = map(json.loads, keys("list", "--json").stdout.splitlines())
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["name"], []).append(row["state"])
    return found


def test_the_list_names_every_key_and_no_value(keys: Keys) -> None:
    table = keys("list").stdout
    for plan in PLANS:
        assert plan.name in table
    for value in VALUES.values():
        assert value.reveal().hex() not in table.lower()


def test_a_key_is_generated_rotated_activated_and_removed(keys: Keys) -> None:
    keys("generate", "a/zak", "--usage", "M6", "--mode", "C", "--yes")
    keys("rotate", "a/zak", "--yes")
    keys("activate", "a/zak", "2", "--yes", "--operator", "ann")
    assert listed(keys)["a/zak"] == ["retired", "active"]
    assert "removed" in keys("remove", "a/zak", "1", "--yes").stdout
    keys("retire", "a/zak", "2", "--yes")
    assert listed(keys)["a/zak"] == ["retired"]
    changes = [json.loads(line) for line in keys("log", "--json").stdout.splitlines()]
    actions = [change["action"] for change in changes]
    assert actions == ["generate", "rotate", "activate", "remove", "retire"]
    assert changes[2]["operators"] == ["ann"]
    assert "activate" in keys("log").stdout


def test_a_version_that_sealed_what_is_owed_is_not_removed(
    keys: Keys, config: Path
) -> None:
    with hsmd(settings_of(config)):
        trio.run(owe, config, "store/seal")
    keys("rotate", "store/seal", "--yes")
    keys("activate", "store/seal", "2", "--yes")
    with pytest.raises(KeyRefused, match="sealed what is still owed, 1 in"):
        keys("remove", "store/seal", "1", "--yes")
    assert listed(keys)["store/seal"] == ["retired", "active"]


def test_without_the_store_only_what_seals_is_kept(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv(STORE_URL, f"postgresql://nobody@127.0.0.1:{port}/none")
    keys("generate", "a/zak", "--usage", "M6", "--mode", "C", "--yes")
    for name in ("a/zak", "store/seal"):
        keys("retire", name, "1", "--yes")
    assert "removed" in keys("remove", "a/zak", "1", "--yes").stdout
    with pytest.raises(StoreUnavailable):
        keys("remove", "store/seal", "1", "--yes")
    assert listed(keys)["store/seal"] == ["retired"]


async def owe(config: Path, key: str) -> None:
    async with open_hsm(settings_of(config).socket, deadline_s=5) as hsm:
        (sealed,) = await hsm.run(EncryptData(key=key, data=b"leg"))
    place = load_network(config).store
    assert isinstance(place, Path)
    async with open_sqlite_store(place) as store:
        entry = replace(saf_entry("1"), sealed=sealed)
        await store.commit(UnitOfWork(records=(), saf_puts=(entry,)))


def test_without_a_yes_nothing_changes(keys: Keys, config: Path) -> None:
    before = settings_of(config).keys_file.read_bytes()
    with pytest.raises(IsoswitchError, match="nothing was changed"):
        keys("rotate", "s/zak", typed="n\n")
    assert settings_of(config).keys_file.read_bytes() == before
    keys("rotate", "s/zak", typed="y\n")
    assert listed(keys)["s/zak"] == ["active", "pending"]


def test_a_code_that_is_none_is_refused(keys: Keys) -> None:
    for usage, mode, algorithm in (
        ("Z9", "C", "aes"),
        ("M6", "Z", "aes"),
        ("M6", "C", "des"),
        ("M3", "C", "aes"),
    ):
        options = ("--usage", usage, "--mode", mode, "--algorithm", algorithm)
        with pytest.raises(IsoswitchError):
            keys("generate", "a", *options, "--yes")


def test_a_key_leaves_and_returns_as_a_block(keys: Keys) -> None:
    keys("generate", "kbpk", "--usage", "K1", "--mode", "B", "--yes")
    options = ("--usage", "P0", "--mode", "E", "--algorithm", "tdes")
    keys("generate", "a/zpk", *options, "--exportable", "--yes")
    block = keys("export", "a/zpk", "--under", "kbpk", "--yes").stdout.strip()
    assert block.startswith("D0")
    imported = keys("import", "b/zpk", "--under", "kbpk", "--yes", typed=block + "\n")
    assert "b/zpk" in imported.stdout
    rows = [json.loads(line) for line in keys("list", "--json").stdout.splitlines()]
    checks = {row["kcv"] for row in rows if row["name"] in {"a/zpk", "b/zpk"}}
    assert len(checks) == 1
    with pytest.raises(IsoswitchError, match="not exportable"):
        keys("export", "n/zpk", "--under", "kbpk", "--yes")


def typed_components(*components: tuple[str, str, str]) -> str:
    return "".join(f"{who}\n{value}\n{check}\n" for who, value, check in components)


def test_a_key_is_formed_by_two_people(keys: Keys) -> None:
    typed = typed_components(("ann", *FIRST), ("bob", *SECOND))
    form = ("form", "a/kek", "--usage", "K0", "--mode", "B")
    with pytest.raises(IsoswitchError, match="nothing was changed"):
        keys(*form, typed=typed + "n\n")
    assert "a/kek" not in listed(keys)
    done = keys(*form, typed=typed + "y\n")
    # The holders see what they formed before it is: OpenSSL's CMAC of the sum.
    assert "check value FD03633FBB?" in done.output
    assert FIRST[0] not in done.output
    assert listed(keys)["a/kek"] == ["active"]
    (change,) = (json.loads(line) for line in keys("log", "--json").stdout.splitlines())
    assert change["operators"] == ["ann", "bob"]


@pytest.mark.parametrize(
    ("components", "reason"),
    [
        ([("ann", *FIRST), ("Ann", *SECOND)], "already"),
        ([("ann", FIRST[0], "000000"), ("bob", *SECOND)], "check value"),
        ([("ann", "hello", FIRST[1]), ("bob", *SECOND)], "hexadecimal"),
        ([("ann", *FIRST), ("bob", *FIRST)], "same"),
    ],
)
def test_components_that_form_no_key_are_refused(
    keys: Keys, components: list[tuple[str, str, str]], reason: str
) -> None:
    typed = typed_components(*components)
    with pytest.raises(IsoswitchError, match=reason) as caught:
        keys("form", "a/kek", "--usage", "K0", "--mode", "B", typed=typed)
    assert FIRST[0] not in str(caught.value)
    assert "a/kek" not in listed(keys)


def test_a_running_process_gets_new_keys_and_a_new_storage_key(
    keys: Keys, config: Path
) -> None:
    settings = settings_of(config)
    with hsmd(settings):
        done = keys("generate", "a/zak", "--usage", "M6", "--mode", "C", "--yes")
        assert "has loaded" in done.stdout
        done = keys("rewrap", "--yes")
        assert "isoswitch-storage-2" in done.stdout
        assert "has loaded" in done.stdout
    with hsmd(settings):
        assert "has loaded" in keys("reload").stdout
    assert "no crypto process" in keys("reload").stdout


def test_every_kind_of_key_can_be_generated_and_exported(keys: Keys) -> None:
    keys(
        "generate", "a/kbpk", "--usage", "K1", "--mode", "B", "--length", "32", "--yes"
    )
    for usage, mode in [("B0", "X"), ("C0", "V"), ("E0", "X"), ("E2", "X")]:
        name = f"a/{usage}"
        options = ["--algorithm", "tdes", "--exportable", "--yes"]
        keys("generate", name, "--usage", usage, "--mode", mode, *options)
        block = keys("export", name, "--under", "a/kbpk", "--yes").stdout.strip()
        assert block[5:7] == usage
        keys("import", f"{name}/again", block, "--under", "a/kbpk", "--yes")
    keys(
        "generate",
        "a/sign",
        "--usage",
        "S0",
        "--mode",
        "S",
        "--algorithm",
        "ec",
        "--length",
        "32",
        "--yes",
    )
    rows = map(json.loads, keys("list", "--json").stdout.splitlines())
    found = {row["name"]: row for row in rows}
    assert found["a/sign"]["public"].startswith("3059301306072a8648ce3d0201")
    assert found["a/B0/again"]["kcv"] == found["a/B0"]["kcv"]


def test_a_pin_offset_key_has_its_rule(keys: Keys) -> None:
    generate = (
        "generate",
        "i/pvk",
        "--usage",
        "V1",
        "--mode",
        "V",
        "--algorithm",
        "tdes",
        "--yes",
    )
    for wrong in ("0123456789012345", "0123456789012345:a:16:F", "0:0:16:F"):
        with pytest.raises(IsoswitchError):
            keys(*generate, "--pin-rule", wrong)
    keys(*generate, "--pin-rule", "9876543210123456:4:12:0")
    rows = map(json.loads, keys("list", "--json").stdout.splitlines())
    rule = {row["name"]: row["pin_rule"] for row in rows}["i/pvk"]
    assert rule == {"table": "9876543210123456", "start": 4, "length": 12, "pad": "0"}


def test_the_tokens_test_themselves(config: Path) -> None:
    arguments = ["selftest", "--config", str(config)]
    said = CliRunner().invoke(hsm_app, arguments)
    assert said.exit_code == 0
    assert "178 of 178 published vectors" in said.stdout
    assert "the clear PIN" in said.stdout
    done = CliRunner().invoke(hsm_app, [*arguments, "--json"])
    assert done.exit_code == 0
    report = json.loads(done.stdout)
    assert report["ok"]
    assert sum(report["passed"].values()) == 178
    places = {row["function"]: row["place"] for row in report["functions"]}
    assert places["PIN translation"] == "memory"
    assert places["AES DUKPT"] == "token"


def test_what_the_tokens_did_is_told(config: Path) -> None:
    settings = settings_of(config)
    arguments = ["metrics", "--config", str(config)]
    assert isinstance(CliRunner().invoke(hsm_app, arguments).exception, HsmUnavailable)
    with hsmd(settings):
        trio.run(do_one_right_and_one_wrong, settings.socket)
        said = CliRunner().invoke(hsm_app, arguments)
    assert said.exit_code == 0, said.output
    labels = f'token="{settings.tokens[0].label}",command='
    name = "isoswitch_hsm_commands_total"
    lines = said.stdout.splitlines()
    assert f'{name}{{{labels}"GenerateMac",outcome="ok"}} 1' in lines
    assert f'{name}{{{labels}"VerifyMac",outcome="verification_failed"}} 1' in lines


async def do_one_right_and_one_wrong(path: Path) -> None:
    async with open_hsm(path, deadline_s=5) as hsm:
        await hsm.run(GenerateMac(key="n/zak", data=b"data"))
        with pytest.raises(MacMismatch):
            await hsm.run(VerifyMac(key="n/zak", data=b"data", mac=bytes(8)))


def test_a_key_without_a_block_needs_a_profile_and_a_check_value(
    keys: Keys, config: Path
) -> None:
    """The key 0123..3210 under itself, as a partner without key blocks sends it."""
    typed = typed_components(("ann", *TDES_FIRST), ("bob", *TDES_SECOND))
    options = ("--usage", "K0", "--mode", "B", "--algorithm", "tdes")
    keys("form", "north/zmk", *options, "--yes", typed=typed)
    came = ("import", "b/zpk", CRYPTOGRAM, "--under", "north/zmk", "--yes")
    plan = ("--usage", "P0", "--mode", "D", "--check-value")
    with pytest.raises(IsoswitchError, match="profile"):
        keys(*came, *plan, "08D7B4")
    profile = '\nkey_exchange = { under = "north/zmk", legacy = true }'
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace('zak = "north/zak"', f'zak = "north/zak"{profile}'))
    for wrong in ("08D7B5", "08D7", "hello"):
        with pytest.raises(IsoswitchError):
            keys(*came, *plan, wrong)
    assert "b/zpk" not in listed(keys)
    assert "08D7B4" in keys(*came, *plan, "08D7B4").stdout
    assert listed(keys)["b/zpk"] == ["active"]
