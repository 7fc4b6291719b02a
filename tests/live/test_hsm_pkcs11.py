"""SoftHSM through python-pkcs11: threads, processes, faults."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from pkcs11 import Attribute
from pkcs11.exceptions import AttributeSensitive

from isoswitch.codecs.canonical.errors import ConfigError, HsmUnavailable, KeyRefused
from isoswitch.codecs.canonical.secrets import KeyValue, Secret
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions.key import DERIVE, ENCRYPT
from isoswitch.hsm.keyfile import read_key_file, read_storage_key
from isoswitch.hsm.pkcs11_engine import Pkcs11Engine
from isoswitch.hsm.port import CheckHealth, EncryptData, GenerateMac, HashData
from isoswitch.hsm.provision import make_token, provision
from isoswitch.hsm.settings import DEFAULT_MODULE, Environment, HsmdSettings
from isoswitch.hsm.token import open_engine, open_service, open_vault, read_pin
from tests.hsm.softhsm import (
    PLANS,
    VALUES,
    provisioned,
    require_softhsm,
    token_settings,
)

pytestmark = pytest.mark.live

# python-pkcs11 alone crashes within seconds when two threads do this.
TWO_THREADS = """
import sys, threading, time
from pathlib import Path
from isoswitch.codecs.canonical.secrets import KeyValue, Secret
from isoswitch.hsm.engine import Algorithm, Use
from isoswitch.hsm.pkcs11_engine import Pkcs11Engine

def hammer(engine):
    base = engine.create(KeyValue(bytes(16)), Algorithm.AES, frozenset(Use))
    expected = engine.ecb(base, bytes(16))
    while time.monotonic() < end:
        for _ in range(20):
            assert engine.ecb(base, bytes(16)) == expected
            key = engine.derive(base, bytes(16), Algorithm.AES, frozenset(Use))
            assert len(engine.cmac(key, b"data")) == 16
            engine.destroy(key)
        done.append(1)

def run(engine):
    try:
        hammer(engine)
    except BaseException as fault:
        failed.append(repr(fault))

def opened():
    return Pkcs11Engine(
        module=Path(sys.argv[1]),
        label="test",
        pin=Secret(Path(sys.argv[2]).read_text().strip()),
        softhsm_conf=Path(sys.argv[3]),
    )

done, failed = [], []
engines = [opened(), opened()]
end = time.monotonic() + 4
threads = [threading.Thread(target=run, args=(engine,)) for engine in engines]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not failed, failed
assert len(done) > 10, len(done)
"""


def test_two_threads_do_not_crash_the_library(tmp_path: Path) -> None:
    require_softhsm()
    token = token_settings(tmp_path)
    make_token(token)
    files = map(str, (token.module, token.pin_file, token.softhsm_conf))
    done = subprocess.run(
        [sys.executable, "-c", TWO_THREADS, *files],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


OPEN_AND_TEST = """
import sys
from dataclasses import replace
from pathlib import Path
from isoswitch.hsm.settings import Environment, TokenSettings
from isoswitch.hsm.token import open_engine, open_service

folder = Path(sys.argv[1])
sys.stdin.readline()
token = TokenSettings(
    label="token0",
    pin_file=folder / "0/token0.pin",
    softhsm_conf=folder / "0/token0.conf",
)
service = open_service(open_engine(token), folder / "keys.json", Environment.TEST)
print(service.keys_loaded)
"""


def test_six_processes_start_at_once_on_one_token(tmp_path: Path) -> None:
    provisioned(tmp_path)
    for _ in range(3):
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", OPEN_AND_TEST, str(tmp_path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(6)
        ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            output, errors = process.communicate(timeout=60)
            assert output.strip() == str(len(PLANS)), errors


def test_provisioning_again_changes_nothing(tmp_path: Path) -> None:
    settings = provisioned(tmp_path)
    before = settings.keys_file.read_bytes()
    assert provision(settings, PLANS, test_values=VALUES) == []
    assert settings.keys_file.read_bytes() == before


def test_a_missing_key_is_added_to_those_present(tmp_path: Path) -> None:
    settings = provisioned(tmp_path)
    more = PLANS[0].__class__(
        name="new/zak",
        usage=PLANS[1].usage,
        mode=PLANS[1].mode,
        algorithm=Algorithm.TDES,
    )
    assert provision(settings, [*PLANS, more], test_values={}) == ["new/zak"]
    vault = open_vault(open_engine(settings.tokens[0]), "isoswitch-storage-1")
    records = read_key_file(settings.keys_file, vault).records
    assert len(records) == len(PLANS) + 1
    assert [record.plan.is_test for record in records] == [True] * len(PLANS) + [False]


def test_test_values_are_refused_in_production(tmp_path: Path) -> None:
    settings = HsmdSettings(
        socket=tmp_path / "s",
        keys_file=tmp_path / "keys.json",
        tokens=(token_settings(tmp_path),),
        environment=Environment.PRODUCTION,
    )
    with pytest.raises(ConfigError, match="test"):
        provision(settings, PLANS, test_values=VALUES)
    assert list(tmp_path.iterdir()) == []


def test_test_keys_do_not_load_in_production(tmp_path: Path) -> None:
    settings = provisioned(tmp_path)
    engine = open_engine(settings.tokens[0])
    with pytest.raises(ConfigError, match="refused in production"):
        open_service(engine, settings.keys_file, Environment.PRODUCTION)


def test_several_tokens_share_one_storage_key_and_one_key_file(tmp_path: Path) -> None:
    settings = provisioned(tmp_path, tokens=2)
    for token in settings.tokens:
        service = open_service(open_engine(token), settings.keys_file, Environment.TEST)
        assert service.keys_loaded == len(PLANS)


def test_a_wrong_pin_is_said_and_not_shown(tmp_path: Path) -> None:
    require_softhsm()
    token = token_settings(tmp_path)
    make_token(token)
    with pytest.raises(HsmUnavailable, match="PIN") as caught:
        Pkcs11Engine(
            module=token.module,
            label=token.label,
            pin=Secret("98765432"),
            softhsm_conf=token.softhsm_conf,
        )
    assert "98765432" not in str(caught.value)


@pytest.mark.parametrize(
    ("module", "label"),
    [
        (DEFAULT_MODULE, "no such token"),
        (Path("/nonexistent/libpkcs11.so"), "test"),
        (Path("/bin/true"), "test"),
    ],
    ids=["label", "file", "library"],
)
def test_a_token_that_is_not_there_is_unavailable(
    tmp_path: Path, module: Path, label: str
) -> None:
    require_softhsm()
    token = token_settings(tmp_path)
    make_token(token)
    with pytest.raises(HsmUnavailable):
        Pkcs11Engine(
            module=module,
            label=label,
            pin=read_pin(token.pin_file),
            softhsm_conf=token.softhsm_conf,
        )


def test_a_pin_file_that_others_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pin"
    path.write_text("1234\n")
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_pin(path)
    path.chmod(0o600)
    assert read_pin(path) == Secret("1234")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_pin(tmp_path / "none")


def test_the_storage_key_only_derives_and_is_unique(tmp_path: Path) -> None:
    settings = provisioned(tmp_path)
    engine = open_engine(settings.tokens[0])
    label = read_storage_key(settings.keys_file)
    with pytest.raises(KeyRefused):
        engine.generate_storage_key(label)
    with pytest.raises(KeyRefused):
        engine.store_storage_key(label, KeyValue(bytes(32)))
    handle = engine.find(label, Algorithm.AES, DERIVE)
    assert handle is not None
    key = engine._loaded[handle].key
    flags = {
        Attribute.DERIVE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.COPYABLE: False,
        Attribute.MODIFIABLE: False,
        Attribute.ENCRYPT: False,
        Attribute.DECRYPT: False,
        Attribute.WRAP: False,
        Attribute.UNWRAP: False,
    }
    assert {flag: key[flag] for flag in flags} == flags
    with pytest.raises(AttributeSensitive):
        key[Attribute.VALUE]


def test_a_lost_object_is_a_fault_of_the_token(tmp_path: Path) -> None:
    require_softhsm()
    token = token_settings(tmp_path)
    make_token(token)
    engine = open_engine(token)
    key = engine.create(KeyValue(bytes(16)), Algorithm.AES, ENCRYPT)
    engine._loaded[key].key.destroy()
    with pytest.raises(HsmUnavailable):
        engine.ecb(key, bytes(16))


def test_no_storage_key_is_said(tmp_path: Path) -> None:
    require_softhsm()
    token = token_settings(tmp_path)
    make_token(token)
    engine = open_engine(token)
    assert engine.find("storage", Algorithm.AES, DERIVE) is None
    with pytest.raises(HsmUnavailable, match="holds no storage master key storage"):
        open_vault(engine, "storage")


def test_data_commands_make_no_session_object(tmp_path: Path) -> None:
    settings = provisioned(tmp_path)
    engine = open_engine(settings.tokens[0])
    service = open_service(engine, settings.keys_file, Environment.TEST)
    before = engine.objects_created
    for _ in range(50):
        service.execute(
            [
                GenerateMac(key="n/zak", data=b"data"),
                GenerateMac(key="s/zak", data=b"data"),
                HashData(key="store/hash", data=b"data"),
                EncryptData(key="store/seal", data=b"data"),
                CheckHealth(),
            ]
        )
    assert engine.objects_created == before


_STARTED: list[str] = []
_STARTING = ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.system")


def _note_start(event: str, _arguments: object) -> None:
    if event in _STARTING:
        _STARTED.append(event)


def test_a_token_is_made_without_a_program_that_would_show_its_pins(
    tmp_path: Path,
) -> None:
    """Whoever lists the processes sees the arguments of each."""
    sys.addaudithook(_note_start)
    token = token_settings(tmp_path)
    _STARTED.clear()
    make_token(token)
    assert _STARTED == []
    subprocess.run(["true"], check=True)
    assert _STARTED, "the hook notes programs that start"
    assert open_engine(token).label == token.label


def test_a_missing_library_is_said_with_the_fix(tmp_path: Path) -> None:
    token = replace(token_settings(tmp_path), module=tmp_path / "none.so")
    with pytest.raises(ConfigError, match="apt-get install"):
        make_token(token)
    assert not token.pin_file.exists()


def test_a_library_that_makes_no_token_is_said(tmp_path: Path) -> None:
    other = tmp_path / "other.so"
    other.write_bytes(b"no library")
    token = replace(token_settings(tmp_path), module=other)
    with pytest.raises(ConfigError, match="makes no token"):
        make_token(token)
