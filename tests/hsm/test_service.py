"""Payment commands: right answers, and refusals before the engine is asked."""

from __future__ import annotations

import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import (
    HsmError,
    KeyRefused,
    MacMismatch,
    PinBlockInvalid,
    VerificationFailed,
)
from isoswitch.codecs.canonical.secrets import KeyValue, Pan, Pin, PinBlock
from isoswitch.hsm.engine import Algorithm, Handle, Use
from isoswitch.hsm.functions import mac, pin
from isoswitch.hsm.functions.key import Key
from isoswitch.hsm.functions.mac import MacAlgorithm, MacKey
from isoswitch.hsm.functions.pin import PinFormat, PinKey
from isoswitch.hsm.keys import State
from isoswitch.hsm.keytable import KeyTable, form_record
from isoswitch.hsm.knownanswers import KnownAnswers
from isoswitch.hsm.local import LocalHsm
from isoswitch.hsm.port import (
    AnyCommand,
    CheckHealth,
    DecryptData,
    EncryptData,
    GenerateMac,
    HashData,
    ListKeys,
    ReadMetrics,
    Splice,
    TranslatePin,
    VerifyMac,
)
from isoswitch.hsm.service import CryptoService
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.vault import Vault
from tests.hsm.softhsm import AES_KEY, OTHER_TDES_KEY, PAN, PLANS, TDES_KEY, VALUES

BOTH = frozenset({Use.ENCRYPT, Use.DECRYPT})


def pin_key(value: KeyValue, number: int) -> PinKey:
    algorithm = Algorithm.AES if number == 4 else Algorithm.TDES
    key = Key.load(SoftwareEngine(), value, algorithm, BOTH)
    return PinKey(key, PinFormat(number))


def encrypted_block(number: int = 0, pan: str = PAN) -> bytes:
    return pin.encrypt(Pin("1234"), Pan(pan), pin_key(TDES_KEY, number)).reveal()


def translation(**changes: object) -> TranslatePin:
    arguments: dict[str, object] = {
        "source": "t/tpk",
        "target": "n/zpk",
        "block": encrypted_block(),
        "pan": PAN,
    }
    return TranslatePin(**{**arguments, **changes})  # type: ignore[arg-type] a test


def test_a_mac_of_the_standard(service: CryptoService) -> None:
    # ISO 9797-1, annex B: algorithm 3, padding 1.
    command = GenerateMac(key="n/zak", data=b"Now is the time for all ")
    assert service.execute([command])[0].hex() == "a1c72e74ea3fa9b6"


@pytest.mark.parametrize("key", ["t/tak", "n/zak", "s/zak", "x/alg1"])
@pytest.mark.parametrize("length", [4, 8])
def test_a_made_mac_verifies_and_no_other(
    service: CryptoService, key: str, length: int
) -> None:
    data = b"some message"
    (mac,) = service.execute([GenerateMac(key=key, data=data, length=length)])
    assert len(mac) == length
    assert service.execute([VerifyMac(key=key, data=data, mac=mac)]) == [b""]
    flipped = mac[:-1] + bytes([mac[-1] ^ 1])
    for wrong in (
        VerifyMac(key=key, data=data, mac=flipped),
        VerifyMac(key=key, data=data + b".", mac=mac),
        VerifyMac(key=key, data=data, mac=b""),
        VerifyMac(key=key, data=data, mac=mac[:3]),
        VerifyMac(key=key, data=data, mac=mac * 5),
    ):
        with pytest.raises(MacMismatch):
            service.execute([wrong])


def test_a_mac_of_another_key_does_not_verify(service: CryptoService) -> None:
    (mac,) = service.execute([GenerateMac(key="n/zak", data=b"data")])
    with pytest.raises(MacMismatch):
        service.execute([VerifyMac(key="t/tak", data=b"data", mac=mac)])


@pytest.mark.parametrize(
    ("source_format", "target", "target_format", "value"),
    [
        (0, "n/zpk", 0, OTHER_TDES_KEY),
        (0, "n/zpk", 3, OTHER_TDES_KEY),
        (1, "n/zpk", 0, OTHER_TDES_KEY),
        (3, "n/zpk", 0, OTHER_TDES_KEY),
        (0, "s/zpk", 4, AES_KEY),
    ],
)
def test_a_translated_block_holds_the_same_pin(
    service: CryptoService,
    source_format: int,
    target: str,
    target_format: int,
    value: KeyValue,
) -> None:
    command = translation(
        target=target,
        block=encrypted_block(source_format),
        source_format=source_format,
        target_format=target_format,
    )
    (block,) = service.execute([command])
    there = pin_key(value, target_format)
    assert pin.decrypt(PinBlock(block), Pan(PAN), there) == Pin("1234")


@pytest.mark.parametrize(
    "changes",
    [
        {"pan": "4111111111111111"},
        {"block": bytes(8)},
        {"block": b""},
        {"block": bytes(7)},
        {"block": bytes(16)},
        {"source_format": 3},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_block_that_is_not_valid_says_nothing_but_that(
    service: CryptoService, changes: dict[str, object]
) -> None:
    with pytest.raises(PinBlockInvalid) as caught:
        service.execute([translation(**changes)])
    assert str(caught.value) == "the PIN block is not valid"


class CountingEngine(SoftwareEngine):
    """An engine that counts how often the cipher runs."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def ecb(self, handle: Handle, data: bytes, *, decrypt: bool = False) -> bytes:
        self.calls += 1
        return super().ecb(handle, data, decrypt=decrypt)


@pytest.mark.parametrize("block", [bytes(8), b"", bytes(range(8))])
def test_a_block_that_is_not_valid_costs_what_a_valid_one_costs(block: bytes) -> None:
    engine = CountingEngine()
    vault = Vault.of_value(engine, VALUES["store/hash"])
    records = [
        form_record(vault, plan, VALUES[plan.name], created="") for plan in PLANS
    ]
    service = CryptoService(KeyTable(vault, records), KnownAnswers(engine))
    costs = []
    for command in (translation(), translation(block=block)):
        before = engine.calls
        with suppress(PinBlockInvalid):
            service.execute([command])
        costs.append(engine.calls - before)
    # A block of another length is refused by its length, which is no secret.
    assert costs == ([2, 2] if block else [2, 1])


@pytest.mark.parametrize(
    ("source_format", "target_format"), [(0, 1), (3, 1), (2, 0), (0, 2)]
)
def test_forbidden_translations_are_refused(
    service: CryptoService, source_format: int, target_format: int
) -> None:
    command = translation(source_format=source_format, target_format=target_format)
    with pytest.raises(KeyRefused):
        service.execute([command])


@pytest.mark.parametrize(
    "command",
    [
        VerifyMac(key="nobody", data=b"", mac=bytes(8)),
        VerifyMac(key="t/tpk", data=b"", mac=bytes(8)),
        VerifyMac(key="x/generate-only", data=b"", mac=bytes(8)),
        GenerateMac(key="x/verify-only", data=b""),
        GenerateMac(key="store/seal", data=b""),
        translation(source="n/zpk"),
        translation(target="t/tpk"),
        translation(source="t/tak"),
        translation(target="s/zpk"),
        EncryptData(key="s/zak", data=b""),
        DecryptData(key="n/zpk", data=bytes(28)),
        HashData(key="t/tak", data=b""),
        HashData(key="x/generate-only", data=b""),
    ],
    ids=lambda command: f"{type(command).__name__}",
)
def test_a_key_against_its_usage_is_refused(
    service: CryptoService, command: AnyCommand
) -> None:
    with pytest.raises(KeyRefused):
        service.execute([command])


def test_sealed_data_opens_under_its_context_only(service: CryptoService) -> None:
    seal = EncryptData(key="store/seal", data=PAN.encode(), context=b"txn 1")
    sealed, again = service.execute([seal, seal])
    assert sealed != again
    opened = DecryptData(key="store/seal", data=sealed, context=b"txn 1")
    assert service.execute([opened]) == [PAN.encode()]
    for wrong in (
        DecryptData(key="store/seal", data=sealed, context=b"txn 2"),
        DecryptData(key="store/seal", data=sealed[:-1], context=b"txn 1"),
        DecryptData(key="store/seal", data=sealed[:27], context=b"txn 1"),
        DecryptData(key="store/seal", data=b"", context=b"txn 1"),
    ):
        with pytest.raises(VerificationFailed):
            service.execute([wrong])


def test_a_keyed_hash_is_the_hmac(service: CryptoService) -> None:
    # HMAC-SHA-256 under the bytes 00 to 1F, computed with OpenSSL.
    (digest,) = service.execute([HashData(key="store/hash", data=b"")])
    expected = "d38b42096d80f45f826b44a9d5607de72496a415d3f4a1a8c88e3bb9da8dc1cb"
    assert digest.hex() == expected


def test_one_round_trip_verifies_translates_splices_and_authenticates(
    service: CryptoService,
) -> None:
    incoming, outgoing = b"terminal's request", b"<" + bytes(8) + b">"
    (mac,) = service.execute([GenerateMac(key="t/tak", data=incoming)])
    results = service.execute(
        [
            VerifyMac(key="t/tak", data=incoming, mac=mac),
            translation(),
            GenerateMac(key="n/zak", data=outgoing, splice=Splice(offset=1)),
        ]
    )
    spliced = b"<" + results[1] + b">"
    (expected,) = service.execute([GenerateMac(key="n/zak", data=spliced)])
    assert results[2] == expected


def test_a_splice_as_hex_writes_upper_case_digits(service: CryptoService) -> None:
    splice = Splice(offset=0, as_hex=True)
    commands = [translation(), GenerateMac(key="n/zak", data=bytes(16), splice=splice)]
    block, mac = service.execute(commands)
    digits = block.hex().upper().encode()
    (expected,) = service.execute([GenerateMac(key="n/zak", data=digits)])
    assert mac == expected


@pytest.mark.parametrize("offset", [-1, 1, 100])
def test_a_splice_outside_the_data_is_refused(
    service: CryptoService, offset: int
) -> None:
    splice = Splice(offset=offset)
    commands = [translation(), GenerateMac(key="n/zak", data=bytes(8), splice=splice)]
    with pytest.raises(HsmError):
        service.execute(commands)


def test_a_splice_of_nothing_is_refused(service: CryptoService) -> None:
    command = GenerateMac(key="n/zak", data=bytes(8), splice=Splice(offset=0))
    with pytest.raises(HsmError):
        service.execute([command])


def test_nothing_is_done_after_a_failed_verification(service: CryptoService) -> None:
    commands = [VerifyMac(key="t/tak", data=b"", mac=bytes(8)), translation()]
    with pytest.raises(MacMismatch):
        service.execute(commands)
    (metrics,) = service.execute([ReadMetrics()])
    assert b'command="TranslatePin"' not in metrics


@pytest.mark.parametrize("length", [0, 3, 9, -1])
def test_a_mac_of_impossible_length_is_refused(
    service: CryptoService, length: int
) -> None:
    with pytest.raises(HsmError):
        service.execute([GenerateMac(key="n/zak", data=b"", length=length)])


@pytest.mark.parametrize("pan", ["", "1234567", "4" * 20, "47617390010100AB", "٤" * 16])
def test_a_pan_that_is_none_is_refused_unrepeated(
    service: CryptoService, pan: str
) -> None:
    with pytest.raises(HsmError) as caught:
        service.execute([translation(pan=pan)])
    assert not pan or pan not in str(caught.value)


def test_commands_are_counted_by_outcome(service: CryptoService) -> None:
    service.execute([CheckHealth(), HashData(key="store/hash", data=b"")])
    with pytest.raises(KeyRefused):
        service.execute([HashData(key="nobody", data=b"")])
    (text,) = service.execute([ReadMetrics()])
    lines = text.decode().splitlines()
    total = "isoswitch_hsm_commands_total"
    assert f'{total}{{command="HashData",outcome="key_refused"}} 1' in lines
    assert f'{total}{{command="HashData",outcome="ok"}} 1' in lines
    assert f"isoswitch_hsm_keys {len(PLANS)}" in lines


def test_loaded_keys_are_listed_without_values(service: CryptoService) -> None:
    (listing,) = service.execute([ListKeys()])
    keys = {key["name"]: key for key in json.loads(listing)}
    assert set(keys) == {plan.name for plan in PLANS}
    assert keys["t/tpk"] == {
        "name": "t/tpk",
        "version": 1,
        "state": "active",
        "kcv": "08D7B4",
    }


@pytest.mark.parametrize("state", [State.PENDING, State.RETIRED])
def test_a_partner_may_still_use_the_other_key_of_a_change(state: State) -> None:
    vault = Vault.of_value(SoftwareEngine(), VALUES["store/hash"])
    other = msgspec.structs.replace(PLANS[1], version=2)
    records = [
        form_record(vault, PLANS[1], TDES_KEY, created=""),
        msgspec.structs.replace(
            form_record(vault, other, OTHER_TDES_KEY, created=""), state=state
        ),
    ]
    service = CryptoService(KeyTable(vault, records), KnownAnswers(vault.engine))
    (own,) = service.execute([GenerateMac(key="t/tak", data=b"data")])
    theirs = mac.generate(
        MacKey.load(
            SoftwareEngine(), OTHER_TDES_KEY, Algorithm.TDES, MacAlgorithm.ALG3
        ),
        b"data",
    )
    for received in (own, theirs):
        service.execute([VerifyMac(key="t/tak", data=b"data", mac=received)])
    with pytest.raises(MacMismatch):
        service.execute([VerifyMac(key="t/tak", data=b"data", mac=bytes(8))])


def test_commands_print_without_their_values() -> None:
    command = translation()
    assert PAN not in f"{command!r} {command!s} {[command]}"
    assert repr(command.block) not in repr(command)


async def test_the_local_port_runs_commands(service: CryptoService) -> None:
    hsm = LocalHsm(service)
    assert await hsm.run(CheckHealth(), CheckHealth()) == [b"", b""]
    with pytest.raises(KeyRefused):
        await hsm.run(HashData(key="nobody", data=b""))


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(block=st.binary(min_size=8, max_size=8))
def test_a_random_block_is_never_translated_by_a_fault(
    service: CryptoService, block: bytes
) -> None:
    try:
        (translated,) = service.execute([translation(block=block)])
    except PinBlockInvalid:
        return
    assert len(translated) == 8
