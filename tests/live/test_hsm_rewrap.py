"""A new storage master key while payments run on real tokens: nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from psec.des import encrypt_tdes_ecb
from psec.pinblock import encode_pinblock_iso_0

from isoswitch.config.load import load_network, packaged_network
from isoswitch.config.settings import hsmd_settings
from isoswitch.hsm.client import HsmClient, open_hsm
from isoswitch.hsm.keyfile import read_storage_key
from isoswitch.hsm.port import (
    AnyCommand,
    DecryptData,
    EncryptData,
    GenerateMac,
    HashData,
    Splice,
    TranslatePin,
    VerifyMac,
)
from isoswitch.hsm.provision import provision
from tests.hsm.softhsm import (
    OTHER_TDES_KEY,
    PAN,
    PLANS,
    TDES_KEY,
    VALUES,
    require_softhsm,
)
from tests.live.network import environment
from tests.live.test_hsm_keys import FIRST, SECOND, typed_components
from tests.live.test_hsm_processes import hsmd, run_until_more

pytestmark = pytest.mark.live

DATA = b"Now is the time for all "
MAC = bytes.fromhex("a1c72e74ea3fa9b6")
CLEAR = encode_pinblock_iso_0("1234", PAN)
TASKS = 16
SECOND_TOKEN = """
[[hsm.tokens]]
label = "second"
pin_file = "var/second.pin"
softhsm_conf = "var/second/softhsm2.conf"
"""


@pytest.fixture
def config(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Give a network whose tokens hold the keys of ``PLANS``."""
    require_softhsm()
    text = packaged_network().read_text(encoding="utf-8")
    if request.param == 2:
        text = text.replace("\n[listeners.ascii]", f"{SECOND_TOKEN}\n[listeners.ascii]")
    path = tmp_path / "network.toml"
    path.write_text(text, encoding="utf-8")
    (tmp_path / "var/second").mkdir(parents=True)
    provision(hsmd_settings(load_network(path)), PLANS, test_values=VALUES)
    return path


def purchase() -> tuple[AnyCommand, ...]:
    """Verify, translate, authenticate, seal: one of each kind of key."""
    block = encrypt_tdes_ecb(TDES_KEY.reveal(), CLEAR)
    return (
        VerifyMac(key="n/zak", data=DATA, mac=MAC),
        TranslatePin(source="t/tpk", target="n/zpk", block=block, pan=PAN),
        GenerateMac(key="s/zak", data=bytes(8), splice=Splice(offset=0)),
        HashData(key="store/hash", data=PAN.encode()),
        EncryptData(key="store/seal", data=DATA),
    )


async def pay(hsm: HsmClient, expected: list[bytes], done: list[int]) -> None:
    """Pay for ever; every answer is the one there was before the change."""
    while True:
        results = await hsm.run(*purchase())
        assert results[:-1] == expected[:-1]
        opened = DecryptData(key="store/seal", data=results[-1])
        assert await hsm.run(opened) == [DATA]
        done[0] += 1


@asynccontextmanager
async def paying(hsm: HsmClient) -> AsyncIterator[tuple[list[bytes], list[int]]]:
    """Keep purchases in flight during the block."""
    expected, done = await hsm.run(*purchase()), [0]
    block = encrypt_tdes_ecb(OTHER_TDES_KEY.reveal(), CLEAR)
    assert expected[1] == block
    async with trio.open_nursery() as nursery:
        for _ in range(TASKS):
            nursery.start_soon(pay, hsm, expected, done)
        await run_until_more(done, 100)
        yield expected, done
        await run_until_more(done, 100)
        nursery.cancel_scope.cancel()


async def rewrap(config: Path, *arguments: str, typed: str = "") -> str:
    """Run ``isoswitch keys rewrap`` in a process of its own, as an operator does."""
    done = await trio.run_process(
        [
            *(sys.executable, "-m", "isoswitch", "keys", "rewrap", "--yes"),
            *("--config", str(config), *arguments),
        ],
        stdin=typed.encode(),
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        check=False,
        env=environment("rewrap"),
        start_new_session=True,
    )
    said = done.stdout.decode()
    assert done.returncode == 0, said
    return said


@pytest.mark.parametrize(
    ("config", "arguments", "typed"),
    [
        pytest.param(1, (), "", id="generated in the token"),
        pytest.param(
            2,
            ("--components", "2"),
            typed_components(("ann", *FIRST), ("bob", *SECOND)),
            id="formed for two tokens",
        ),
    ],
    indirect=["config"],
)
async def test_all_keys_move_to_a_new_storage_key_while_traffic_flows(
    config: Path, arguments: tuple[str, ...], typed: str
) -> None:
    settings = hsmd_settings(load_network(config))
    before = blocks_in(settings.keys_file)
    with hsmd(settings):
        async with (
            open_hsm(*settings.sockets, deadline_s=5) as hsm,
            paying(hsm) as (sealed_before, done),
        ):
            paid = done[0]
            said = await rewrap(config, *arguments, typed=typed)
            assert "has loaded" in said
            assert done[0] > paid, "payments went on meanwhile"
            assert read_storage_key(settings.keys_file) == "isoswitch-storage-2"
            opened = DecryptData(key="store/seal", data=sealed_before[-1])
            assert await hsm.run(opened) == [DATA]
    after = blocks_in(settings.keys_file)
    assert before.isdisjoint(after)
    assert len(after) == len(before)


def blocks_in(path: Path) -> set[str]:
    """Give the wrapped keys in a key file."""
    records = json.loads(path.read_bytes())["keys"]
    return {block for record in records for block in record["blocks"].values()}
