"""PIN translation and verification, from zones and from DUKPT terminals."""

from __future__ import annotations

from typing import Any

import psec.pin
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from isoswitch.codecs.canonical.errors import (
    HsmError,
    KeyRefused,
    PinBlockInvalid,
    VerificationFailed,
)
from isoswitch.codecs.canonical.secrets import KeyValue, Pan, Pin, PinBlock
from isoswitch.hsm.engine import Algorithm, Handle, Use
from isoswitch.hsm.functions import pin
from isoswitch.hsm.functions.dukpt_aes import AesPurpose, AesTerminals, KeyKind
from isoswitch.hsm.functions.key import DERIVE, Key
from isoswitch.hsm.functions.pin import PERMITTED, PinFormat, PinKey
from isoswitch.hsm.port import AnyCommand, TranslatePin, VerifyOffset, VerifyPvv
from isoswitch.hsm.service import CryptoService
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.vault import Vault
from tests.hsm.handlers.payments import AES_BASE, KNOWN, ZONE, changed, payments_on

BOTH = frozenset({Use.ENCRYPT, Use.DECRYPT})
PAN = "4111111111111111"

# ANSI X9.24-1:2009, A.4: counters 1 and 2 under the base key 0123..3210.
TDES_TERMINAL = TranslatePin(
    source="terminal/bdk",
    target="zone/out",
    block=bytes.fromhex("1B9C1845EB993A7A"),
    pan="4012345678909",
    ksn=bytes.fromhex("FFFF9876543210E00001"),
)
# ANSI X9.24-3:2017, supplement: counter 1, format 4.
AES_TERMINAL = TranslatePin(
    source="terminal/aes-bdk",
    target="zone/aes-out",
    block=bytes.fromhex("A912150391AB65A67E52883D81CE2D15"),
    pan=PAN,
    ksn=bytes.fromhex("123456789012345600000001"),
    source_format=4,
    target_format=4,
)


def zone_key(number: int) -> PinKey:
    algorithm = Algorithm.AES if number == 4 else Algorithm.TDES
    value = KeyValue(bytes.fromhex(AES_BASE if number == 4 else ZONE))
    return PinKey(Key.load(SoftwareEngine(), value, algorithm, BOTH), PinFormat(number))


def zone(direction: str, number: int) -> str:
    return f"zone/aes-{direction}" if number == 4 else f"zone/{direction}"


def block_of(number: int, clear: str = "1234", pan: str = PAN) -> bytes:
    return pin.encrypt(Pin(clear), Pan(pan), zone_key(number)).reveal()


@pytest.mark.parametrize(
    ("source", "target"), sorted(PERMITTED), ids=lambda each: f"{each:d}"
)
def test_every_permitted_translation_keeps_the_pin(
    payments: CryptoService, source: PinFormat, target: PinFormat
) -> None:
    command = TranslatePin(
        source=zone("in", source),
        target=zone("out", target),
        block=block_of(source),
        pan=PAN,
        source_format=source,
        target_format=target,
    )
    (block,) = payments.execute([command])
    assert pin.decrypt(PinBlock(block), Pan(PAN), zone_key(target)) == Pin("1234")


@pytest.mark.parametrize("source", PinFormat)
@pytest.mark.parametrize("target", PinFormat)
def test_every_other_translation_is_refused(
    software_payments: CryptoService, source: PinFormat, target: PinFormat
) -> None:
    """PCI PIN 3-3: no block that is bound to a card becomes one that is not."""
    if (source, target) in PERMITTED:
        assert target is not PinFormat.ISO_1 or source is PinFormat.ISO_1
        return
    command = TranslatePin(
        source=zone("in", source),
        target=zone("out", target),
        block=block_of(source),
        pan=PAN,
        source_format=source,
        target_format=target,
    )
    with pytest.raises(KeyRefused):
        software_payments.execute([command])


@pytest.mark.parametrize(
    ("block", "counter"), [("1B9C1845EB993A7A", 1), ("10A01C8D02C69107", 2)]
)
@pytest.mark.parametrize("target_format", [0, 3, 4])
def test_a_block_of_a_tdes_terminal_reaches_the_zone(
    payments: CryptoService, block: str, counter: int, target_format: int
) -> None:
    command = changed(
        TDES_TERMINAL,
        block=bytes.fromhex(block),
        ksn=bytes.fromhex(f"FFFF9876543210E0000{counter}"),
        target=zone("out", target_format),
        target_format=target_format,
    )
    (result,) = payments.execute([command])
    pan = Pan("4012345678909")
    assert pin.decrypt(PinBlock(result), pan, zone_key(target_format)) == Pin("1234")


@pytest.mark.parametrize(
    ("block", "counter"),
    [
        ("A912150391AB65A67E52883D81CE2D15", 1),
        ("52A00503BD34BA1383F6A7EE9FE2547F", 2),
    ],
)
@pytest.mark.parametrize("target_format", [0, 3, 4])
def test_a_block_of_an_aes_terminal_reaches_the_zone(
    payments: CryptoService, block: str, counter: int, target_format: int
) -> None:
    command = changed(
        AES_TERMINAL,
        block=bytes.fromhex(block),
        ksn=bytes.fromhex(f"12345678901234560000000{counter}"),
        target=zone("out", target_format),
        target_format=target_format,
    )
    (result,) = payments.execute([command])
    there = zone_key(target_format)
    assert pin.decrypt(PinBlock(result), Pan(PAN), there) == Pin("1234")


@pytest.mark.parametrize(
    ("command", "initial"),
    [(TDES_TERMINAL, "terminal/ipek"), (AES_TERMINAL, "terminal/aes-ik")],
    ids=["tdes", "aes"],
)
def test_an_initial_key_serves_its_terminal_as_its_base_key_does(
    payments: CryptoService, command: TranslatePin, initial: str
) -> None:
    of_initial = changed(command, source=initial)
    pan, there = Pan(command.pan), zone_key(command.target_format)
    for each in (of_initial, command, of_initial):
        (result,) = payments.execute([each])
        assert pin.decrypt(PinBlock(result), pan, there) == Pin("1234")
    other_terminal = bytes([command.ksn[0] ^ 1]) + command.ksn[1:]
    another = changed(command, ksn=other_terminal)
    with pytest.raises(PinBlockInvalid):
        payments.execute([another])


def test_a_base_key_of_192_bits_serves_terminals(payments: CryptoService) -> None:
    """X9.24-3:2017, 6.3: computed here step by step, block by block."""
    ksn = bytes.fromhex("123456789012345600000003")
    key = bytes.fromhex(KNOWN + KNOWN[:16])
    for usage, context in (
        ("8001", ksn[:8]),
        ("8000", ksn[4:8] + (2).to_bytes(4)),
        ("8000", ksn[4:8] + (3).to_bytes(4)),
        ("1000", ksn[4:8] + (3).to_bytes(4)),
    ):
        tail = bytes.fromhex(f"{usage}000300C0") + context
        cipher = Cipher(AES(key), ECB()).encryptor()
        key = cipher.update(b"\x01\x01" + tail + b"\x01\x02" + tail)[:24]

    block = pin.encrypt(
        Pin("1234"),
        Pan(PAN),
        PinKey(
            Key.load(SoftwareEngine(), KeyValue(key), Algorithm.AES, BOTH),
            PinFormat.ISO_4,
        ),
    )
    command = changed(
        AES_TERMINAL, source="terminal/aes-192-bdk", block=block.reveal(), ksn=ksn
    )
    (result,) = payments.execute([command])
    assert pin.decrypt(PinBlock(result), Pan(PAN), zone_key(4)) == Pin("1234")


def test_an_aes_terminal_may_send_format_0_under_a_tdes_key(
    payments: CryptoService,
) -> None:
    base = Key.load(
        SoftwareEngine(), KeyValue(bytes.fromhex(AES_BASE)), Algorithm.AES, DERIVE
    )
    key = AesTerminals(base, KeyKind.AES_128).derive(
        AES_TERMINAL.ksn, AesPurpose.PIN, KeyKind.TDES_128, BOTH
    )
    block = pin.encrypt(Pin("1234"), Pan(PAN), PinKey(key, PinFormat.ISO_0))
    command = changed(
        AES_TERMINAL,
        block=block.reveal(),
        source_format=0,
        target="zone/out",
        target_format=0,
    )
    (result,) = payments.execute([command])
    assert pin.decrypt(PinBlock(result), Pan(PAN), zone_key(0)) == Pin("1234")


PVV = VerifyPvv(
    source="zone/in",
    key="issuer/pvk",
    block=block_of(0, "4524", "1122334455667788"),
    pan="1122334455667788",
    index=1,
    # psec, tests/test_pin.py.
    pvv="8523",
)
OFFSET = VerifyOffset(
    source="zone/in",
    key="issuer/rule",
    block=block_of(0, "1234", "1122334455667788"),
    pan="1122334455667788",
    # psec, tests/test_pin.py: decimalisation table 1234567890123456.
    offset="7710",
)


@pytest.mark.parametrize("command", [PVV, OFFSET], ids=["PVV", "offset"])
def test_the_right_pin_verifies(payments: CryptoService, command: AnyCommand) -> None:
    assert payments.execute([command]) == [b""]


def test_a_pin_of_a_terminal_verifies(payments: CryptoService) -> None:
    known = bytes.fromhex(KNOWN)
    pan = TDES_TERMINAL.pan
    offset = psec.pin.generate_ibm3624_offset(
        known, "0123456789012345", "1234", pan, 0, len(pan), "F"
    )
    terminal: dict[str, Any] = {
        "source": "terminal/bdk",
        "block": TDES_TERMINAL.block,
        "pan": pan,
        "ksn": TDES_TERMINAL.ksn,
    }
    pvv = psec.pin.generate_visa_pvv(known, "1", "1234", pan)
    commands = [
        VerifyOffset(key="issuer/offset", offset=offset, **terminal),
        VerifyPvv(key="issuer/pvk", index=1, pvv=pvv, **terminal),
    ]
    assert payments.execute(commands) == [b"", b""]
    with pytest.raises(VerificationFailed):
        payments.execute([changed(commands[0], ksn=bytes(10))])


WRONG = {
    "another PIN": {"block": block_of(0, "4525", "1122334455667788")},
    "another card": {"pan": "1122334455660788"},
    "a random block": {"block": bytes(range(8))},
    "a short block": {"block": bytes(7)},
    "no block": {"block": b""},
    "another format": {"source_format": 3},
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("command", [PVV, OFFSET], ids=["PVV", "offset"])
def test_a_wrong_pin_and_a_wrong_block_look_the_same(
    payments: CryptoService, command: AnyCommand, case: str
) -> None:
    with pytest.raises(VerificationFailed) as caught:
        payments.execute([changed(command, **WRONG[case])])
    assert type(caught.value) is VerificationFailed
    assert str(caught.value) == "the PIN does not verify"


@pytest.mark.parametrize("pvv", ["8524", "852", "85230", "", "٨٥٢٣"])
def test_a_wrong_pvv_does_not_verify(payments: CryptoService, pvv: str) -> None:
    with pytest.raises(VerificationFailed):
        payments.execute([changed(PVV, pvv=pvv)])


@pytest.mark.parametrize("offset", ["7711", "771", "77100", ""])
def test_a_wrong_offset_does_not_verify(payments: CryptoService, offset: str) -> None:
    with pytest.raises(VerificationFailed):
        payments.execute([changed(OFFSET, offset=offset)])


@pytest.mark.parametrize("index", [-1, 10])
def test_an_impossible_key_index_is_refused(
    software_payments: CryptoService, index: int
) -> None:
    with pytest.raises(HsmError):
        software_payments.execute([changed(PVV, index=index)])


@pytest.mark.parametrize(
    "changes",
    [
        {"pan": "4012345678917"},
        {"block": bytes(8)},
        {"block": bytes(7)},
        {"ksn": bytes.fromhex("FFFF9876543210E00002")},
        {"ksn": bytes.fromhex("FFFF9876543210E00000")},
        {"ksn": bytes.fromhex("FFFF9876543210FFFFFF")},
        {"ksn": bytes(9)},
        {"ksn": bytes(12)},
    ],
    ids=["card", "zeros", "short", "counter", "zero", "ones", "9 bytes", "12 bytes"],
)
def test_a_block_of_another_transaction_is_not_valid(
    payments: CryptoService, changes: dict[str, object]
) -> None:
    with pytest.raises(PinBlockInvalid) as caught:
        payments.execute([changed(TDES_TERMINAL, **changes)])
    assert str(caught.value) == "the PIN block is not valid"


@pytest.mark.parametrize(
    "command",
    [
        changed(TDES_TERMINAL, ksn=b""),
        changed(TDES_TERMINAL, source="zone/in"),
        changed(TDES_TERMINAL, source="issuer/ac"),
        changed(TDES_TERMINAL, source="nobody"),
        changed(TDES_TERMINAL, source_format=4),
        changed(TDES_TERMINAL, source_format=2),
        changed(TDES_TERMINAL, target_format=1),
        changed(PVV, key="issuer/cvk"),
        changed(PVV, key="issuer/offset"),
        changed(PVV, source="zone/out"),
        changed(OFFSET, key="issuer/pvk"),
    ],
)
def test_a_key_of_another_usage_is_refused(
    payments: CryptoService, command: AnyCommand
) -> None:
    with pytest.raises(KeyRefused):
        payments.execute([command])


class CountingEngine(SoftwareEngine):
    """Counts how often a cipher runs."""

    calls = 0

    def ecb(self, handle: Handle, data: bytes, *, decrypt: bool = False) -> bytes:
        self.calls += 1
        return super().ecb(handle, data, decrypt=decrypt)


@pytest.mark.parametrize(
    ("command", "changes"),
    [
        pytest.param(command, changes, id=f"{type(command).__name__} {name}")
        for command in (PVV, OFFSET)
        for name, changes in WRONG.items()
        if len(changes.get("block", bytes(8))) == 8
    ],
)
def test_a_wrong_block_costs_what_a_right_one_costs(
    command: AnyCommand, changes: dict[str, object]
) -> None:
    engine = CountingEngine()
    storage = KeyValue(bytes(32))
    service = payments_on(Vault.of_value(engine, storage))
    before = engine.calls
    service.execute([command])
    right = engine.calls - before
    with pytest.raises(VerificationFailed):
        service.execute([changed(command, **changes)])
    assert engine.calls - before == 2 * right
