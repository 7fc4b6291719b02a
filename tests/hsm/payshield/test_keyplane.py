"""Keys made, taken and given by a simulated payment HSM, over TCP and over TLS."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import trio

from isoswitch.codecs.canonical.errors import (
    HsmUnavailable,
    KeyRefused,
    VerificationFailed,
)
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.commands.certificates import TestAuthority
from isoswitch.hsm.keys import State
from isoswitch.hsm.payshield.client import PayshieldHsm, open_payshield
from isoswitch.hsm.payshield.keyplane import (
    export_key,
    generate_key,
    import_key,
    read_check_value,
)
from isoswitch.hsm.payshield.layouts import KeyKind
from isoswitch.hsm.payshield.settings import PayshieldSettings
from isoswitch.hsm.port import CheckHealth
from isoswitch.simulators.payshield import PayshieldUnit
from isoswitch.simulators.payshield_keys import wrap_test_key
from isoswitch.switch.settings import TlsFiles
from tests.hsm.payshield.units import simulated_hsm, unit_keys
from tests.hsm.softhsm import TDES_KEY, plan

pytestmark = pytest.mark.live

ZMK = wrap_test_key(plan("partner/zmk", "K0", "B"), KeyKind.ZMK, TDES_KEY)
ZPK = msgspec.structs.replace(plan("partner/zpk", "P0", "B"), is_exportable=True)


@pytest.fixture
async def hsm() -> AsyncIterator[PayshieldHsm]:
    async with simulated_hsm(unit_keys()) as hsm:
        yield hsm


@pytest.mark.parametrize("as_block", [False, True])
async def test_a_generated_key_is_pending_and_has_the_check_value_it_came_with(
    hsm: PayshieldHsm, as_block: bool
) -> None:
    key = await generate_key(hsm, ZPK, KeyKind.ZPK, as_block=as_block)
    assert key.state is State.PENDING
    assert key.wrapped.startswith("S1" if as_block else "U")
    assert await read_check_value(hsm, key) == key.kcv


async def test_an_exported_key_is_imported_again(hsm: PayshieldHsm) -> None:
    key = await generate_key(hsm, ZPK, KeyKind.ZPK)
    cryptogram, check_value = await export_key(hsm, key, zmk=ZMK)
    again = await import_key(
        hsm, ZPK, KeyKind.ZPK, zmk=ZMK, cryptogram=cryptogram, check_value=check_value
    )
    assert again == key


async def test_a_published_key_arrives_with_its_check_value(hsm: PayshieldHsm) -> None:
    # The key 0123..3210 encrypted under itself.
    cryptogram = bytes.fromhex("1A4D672DCA6CB3351FD1B02B237AF9AE")
    key = await import_key(
        hsm, ZPK, KeyKind.ZPK, zmk=ZMK, cryptogram=cryptogram, check_value="08d7b4"
    )
    assert key.kcv == "08D7B4"


@pytest.mark.parametrize("check_value", ["08D7B5", "08D7", ""])
async def test_a_key_with_another_check_value_is_not_taken(
    hsm: PayshieldHsm, check_value: str
) -> None:
    cryptogram = bytes.fromhex("1A4D672DCA6CB3351FD1B02B237AF9AE")
    with pytest.raises(VerificationFailed):
        await import_key(
            hsm,
            ZPK,
            KeyKind.ZPK,
            zmk=ZMK,
            cryptogram=cryptogram,
            check_value=check_value,
        )


async def test_a_key_that_is_not_exportable_stays(hsm: PayshieldHsm) -> None:
    key = wrap_test_key(plan("own/zpk", "P0", "B"), KeyKind.ZPK, TDES_KEY)
    with pytest.raises(KeyRefused):
        await export_key(hsm, key, zmk=ZMK)


async def test_only_double_length_tdes_keys_are_made(hsm: PayshieldHsm) -> None:
    for other in (
        plan("a/zpk", "P0", "B", "aes"),
        plan("a/zpk", "P0", "B", "tdes", 24),
    ):
        with pytest.raises(KeyRefused):
            await generate_key(hsm, other, KeyKind.ZPK)


async def test_a_unit_is_asked_over_tls_and_must_prove_itself(tmp_path: Path) -> None:
    files = TlsFiles(
        certificate=tmp_path / "unit.pem",
        key=tmp_path / "unit.key",
        ca=tmp_path / "authority.pem",
    )
    TestAuthority(files.ca).sign(files, "unit", is_server=True)
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(files.certificate, files.key)
    trusting = ssl.create_default_context(cafile=files.ca)
    async with trio.open_nursery() as nursery:
        (tcp,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        listeners = [trio.SSLListener(tcp, served)]
        nursery.start_soon(trio.serve_listeners, PayshieldUnit().talk, listeners)
        settings = PayshieldSettings(
            units=(("127.0.0.1", tcp.socket.getsockname()[1]),),
            deadline_s=10.0,
            tls=trusting,
        )
        async with open_payshield(settings, unit_keys()) as hsm:
            assert await hsm.run(CheckHealth()) == [b""]
        strange = replace(settings, deadline_s=0.3, tls=ssl.create_default_context())
        with pytest.raises(HsmUnavailable):
            async with open_payshield(strange, unit_keys()):
                pytest.fail("nobody vouches for the unit")
        nursery.cancel_scope.cancel()


def test_a_key_value_is_no_part_of_a_record() -> None:
    clear = KeyValue(TDES_KEY.reveal()).reveal().hex().upper()
    assert clear not in str(msgspec.json.encode(ZMK))
