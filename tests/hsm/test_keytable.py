"""Loaded keys: found by name, refused against their usage, in the right order."""

from __future__ import annotations

import msgspec
import pytest

from isoswitch.codecs.canonical.errors import KeyRefused
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions.components import has_odd_parity
from isoswitch.hsm.functions.mac import generate
from isoswitch.hsm.functions.pin import PinFormat
from isoswitch.hsm.keys import KeyRecord, Purpose, Role, State
from isoswitch.hsm.keytable import KeyTable, form_record, random_value
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.vault import Vault
from tests.hsm.softhsm import AES_KEY, OTHER_TDES_KEY, TDES_KEY, plan

VAULT = Vault.of_value(SoftwareEngine(), AES_KEY)


def record(
    version: int, state: State, value: KeyValue = TDES_KEY, *, mode: str = "C"
) -> KeyRecord:
    planned = msgspec.structs.replace(plan("link/zak", "M3", mode), version=version)
    formed = form_record(VAULT, planned, value, created="")
    return msgspec.structs.replace(formed, state=state)


def test_an_unknown_key_is_refused_without_repeating_its_name() -> None:
    with pytest.raises(KeyRefused) as caught:
        KeyTable(VAULT, []).get_mac_keys("4761739001010010", Purpose.VERIFY_MAC)
    assert "4761" not in str(caught.value)


def test_a_key_is_refused_for_another_purpose() -> None:
    table = KeyTable(VAULT, [record(1, State.ACTIVE, mode="V")])
    assert len(table.get_mac_keys("link/zak", Purpose.VERIFY_MAC)) == 1
    with pytest.raises(KeyRefused):
        table.get_mac_keys("link/zak", Purpose.GENERATE_MAC)
    with pytest.raises(KeyRefused):
        table.get_pin_keys("link/zak", Purpose.DECRYPT_PIN, 0)
    with pytest.raises(KeyRefused):
        table.get_objects("link/zak", Purpose.SEAL)


def test_the_active_version_speaks_and_every_version_listens() -> None:
    records = [
        record(1, State.RETIRED, OTHER_TDES_KEY),
        record(2, State.ACTIVE),
        record(3, State.PENDING, OTHER_TDES_KEY),
    ]
    table = KeyTable(VAULT, records)
    assert len(table) == 3
    assert len(table.get_mac_keys("link/zak", Purpose.GENERATE_MAC)) == 1
    listening = table.get_mac_keys("link/zak", Purpose.VERIFY_MAC)
    only = KeyTable(VAULT, [record(2, State.ACTIVE)])
    speaking = only.get_mac_keys("link/zak", Purpose.GENERATE_MAC)
    assert len(listening) == 3
    assert generate(listening[0], b"data") == generate(speaking[0], b"data")


@pytest.mark.parametrize("state", [State.PENDING, State.RETIRED])
def test_a_key_that_is_not_active_does_not_speak(state: State) -> None:
    table = KeyTable(VAULT, [record(1, state)])
    with pytest.raises(KeyRefused):
        table.get_mac_keys("link/zak", Purpose.GENERATE_MAC)


def test_keys_that_do_not_all_load_leave_nothing_behind() -> None:
    engine = SoftwareEngine()
    vault = Vault.of_value(engine, AES_KEY)
    first = msgspec.structs.replace(record(1, State.ACTIVE), created="2026-11-23")
    table = KeyTable(vault, [first])
    before = set(engine._keys)
    foreign = Vault.of_value(SoftwareEngine(), KeyValue(bytes(32)))
    planned = msgspec.structs.replace(plan("link/zak", "M3", "C"), version=2)
    damaged = form_record(foreign, planned, OTHER_TDES_KEY, created="")
    damaged = msgspec.structs.replace(damaged, state=State.PENDING)
    with pytest.raises(KeyRefused, match="damaged"):
        table.load(vault, [first, record(3, State.PENDING), damaged])
    assert table.records == [first]
    assert set(engine._keys) == before


def test_two_active_versions_are_refused() -> None:
    with pytest.raises(KeyRefused, match="two versions"):
        KeyTable(VAULT, [record(1, State.ACTIVE), record(2, State.ACTIVE)])


def test_a_pin_key_is_refused_for_an_unknown_block_format() -> None:
    formed = form_record(VAULT, plan("tpk", "P0", "D"), TDES_KEY, created="")
    table = KeyTable(VAULT, [formed])
    for number in (2, 5, -1):
        with pytest.raises(KeyRefused):
            table.get_pin_keys("tpk", Purpose.DECRYPT_PIN, number)
    with pytest.raises(KeyRefused):
        table.get_pin_keys("tpk", Purpose.DECRYPT_PIN, 4)


def test_a_record_without_one_of_its_blocks_is_refused() -> None:
    formed = record(1, State.ACTIVE)
    partial = {Role.ENCRYPT: formed.blocks[Role.ENCRYPT]}
    with pytest.raises(KeyRefused, match="blocks"):
        KeyTable(VAULT, [msgspec.structs.replace(formed, blocks=partial)])


@pytest.mark.parametrize(
    ("moved", "reason"), [("name", "other"), ("usage", "M1"), ("mode", "G")]
)
def test_a_block_moved_to_another_key_does_not_load(moved: str, reason: str) -> None:
    formed = form_record(VAULT, plan("a", "M6", "C"), TDES_KEY, created="")
    changed = msgspec.structs.replace(formed.plan, **{moved: reason})
    blocks = dict(zip(changed.roles, formed.blocks.values(), strict=True))
    with pytest.raises(KeyRefused):
        KeyTable(VAULT, [msgspec.structs.replace(formed, plan=changed, blocks=blocks)])


def test_a_value_of_another_length_is_no_value_of_the_plan() -> None:
    with pytest.raises(KeyRefused):
        form_record(VAULT, plan("a", "M6", "C"), KeyValue(bytes(24)), created="")


def test_destroyed_tables_leave_no_object_behind() -> None:
    engine = SoftwareEngine()
    vault = Vault.of_value(engine, AES_KEY)
    before = len(engine._keys)
    formed = form_record(vault, plan("a", "M3", "C"), TDES_KEY, created="")
    KeyTable(vault, [formed]).destroy()
    assert len(engine._keys) == before


def test_random_keys_differ_and_have_odd_parity() -> None:
    planned = plan("a", "M3", "C")
    values = {random_value(planned).reveal() for _ in range(20)}
    assert len(values) == 20
    assert all(map(has_odd_parity, values))
    assert len(random_value(plan("a", "D0", "B", "aes", 32)).reveal()) == 32


def test_the_algorithm_of_a_record_is_that_of_its_objects() -> None:
    formed = form_record(VAULT, plan("s", "M6", "C", "aes"), AES_KEY, created="")
    table = KeyTable(VAULT, [formed])
    (key,) = table.get_mac_keys("s", Purpose.VERIFY_MAC)
    assert key.key.algorithm is Algorithm.AES


@pytest.mark.parametrize(
    ("algorithm", "ksn"),
    [
        ("tdes", bytes.fromhex("FFFF9876543210E00003")),
        ("aes", bytes.fromhex("123456789012345600000003")),
    ],
)
def test_a_destroyed_table_leaves_no_key_of_a_terminal(
    algorithm: str, ksn: bytes
) -> None:
    engine = SoftwareEngine()
    vault = Vault.of_value(engine, AES_KEY)
    base = form_record(vault, plan("bdk", "B0", "X", algorithm), AES_KEY, created="")
    before = len(engine._keys)
    table = KeyTable(vault, [base])
    (terminals,) = table.get_terminal_keys("bdk").values()
    assert table.get_terminal_keys("bdk") == {1: terminals}
    pin_format = PinFormat.ISO_4 if algorithm == "aes" else PinFormat.ISO_0
    terminals.derive_pin_key(ksn, pin_format).key.destroy()
    table.destroy()
    assert len(engine._keys) == before


def test_a_base_key_stops_serving_when_its_time_is_over() -> None:
    now = 1000.0
    base = form_record(VAULT, plan("bdk", "B0", "X"), TDES_KEY, created="")
    retired = msgspec.structs.replace(
        base, state=State.RETIRED, accepted_until=now + 60
    )
    table = KeyTable(VAULT, [retired], now=lambda: now)
    assert len(table.get_terminal_keys("bdk")) == 1
    now += 60
    with pytest.raises(KeyRefused):
        table.get_terminal_keys("bdk")


def test_a_pin_verification_key_stops_serving_when_its_time_is_over() -> None:
    now = 1000.0
    pvk = form_record(VAULT, plan("pvk", "V2", "V"), TDES_KEY, created="")
    retired = msgspec.structs.replace(pvk, state=State.RETIRED, accepted_until=now + 60)
    table = KeyTable(VAULT, [retired], now=lambda: now)
    assert len(table.get_objects("pvk", Purpose.VERIFY_PVV)) == 1
    now += 60
    with pytest.raises(KeyRefused):
        table.get_objects("pvk", Purpose.VERIFY_PVV)
