"""Cards and terminals on a simulated payment HSM, as on every other backend.

The tests of PINs are those of the crypto service, as far as these units go: they verify
no PIN in a block of format 4, and know no AES keys of terminals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import msgspec
import pytest

from isoswitch.codecs.canonical.errors import (
    HsmError,
    KeyRefused,
    NotSupported,
    VerificationFailed,
)
from isoswitch.codecs.canonical.secrets import KeyValue, Pan
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions import emv
from isoswitch.hsm.functions.emv import VERSIONS
from isoswitch.hsm.functions.ibm3624 import Ibm3624Rule
from isoswitch.hsm.functions.key import Key
from isoswitch.hsm.functions.mac import MacKey, generate
from isoswitch.hsm.keys import Usage
from isoswitch.hsm.payshield.commands import validation_data
from isoswitch.hsm.payshield.keys import UnitKey
from isoswitch.hsm.payshield.layouts import KeyKind
from isoswitch.hsm.port import (
    ActivateKey,
    AgreeKey,
    AnyCommand,
    DropKey,
    GenerateMac,
    GenerateScriptMac,
    ImportKey,
    OfferKey,
    VerifyCardValue,
    VerifyCryptogram,
    VerifyCvc3,
    VerifyDynamicCvv,
    VerifyMac,
    VerifyPvv,
)
from isoswitch.hsm.service import CryptoService
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.vault import Vault
from isoswitch.simulators.payshield_keys import wrap_test_key
from tests.hsm.handlers import payments as known
from tests.hsm.handlers import test_pin as contract
from tests.hsm.payshield.units import BlockingHsm, blocking_hsm
from tests.hsm.softhsm import plan

pytestmark = pytest.mark.live

CONTRACT = (
    contract.test_every_permitted_translation_keeps_the_pin,
    contract.test_every_other_translation_is_refused,
    contract.test_a_block_of_a_tdes_terminal_reaches_the_zone,
    contract.test_the_right_pin_verifies,
    contract.test_a_wrong_pin_and_a_wrong_block_look_the_same,
    contract.test_a_wrong_pvv_does_not_verify,
    contract.test_a_wrong_offset_does_not_verify,
    contract.test_an_impossible_key_index_is_refused,
    contract.test_a_block_of_another_transaction_is_not_valid,
    contract.test_a_key_of_another_usage_is_refused,
)
globals().update({test.__name__: test for test in CONTRACT})

KINDS = {
    Usage.DUKPT_BASE: KeyKind.BDK,
    Usage.CARD_VERIFICATION: KeyKind.CVK,
    Usage.EMV_CRYPTOGRAM: KeyKind.MK_AC,
    Usage.IBM_OFFSET: KeyKind.PVK,
    Usage.PIN: KeyKind.ZPK,
    Usage.PVV: KeyKind.PVK,
    Usage.MAC_ALGORITHM_3: KeyKind.ZAK,
}
PAN = "4123456789012345"


def unit_keys() -> list[UnitKey]:
    keys = [
        wrap_test_key(each, KINDS[each.usage], KeyValue(bytes.fromhex(value)))
        for each, value in known.KEYS
        if each.usage in KINDS
    ]
    terminal = plan("terminal/tpk", "P0", "D")
    value = KeyValue(bytes.fromhex(known.ZONE))
    return [*keys, wrap_test_key(terminal, KeyKind.TPK, value)]


@pytest.fixture
def payments() -> Iterator[BlockingHsm]:
    with blocking_hsm(unit_keys()) as hsm:
        yield hsm


@pytest.fixture
def software_payments(payments: BlockingHsm) -> BlockingHsm:
    return payments


@pytest.fixture(scope="module")
def software() -> CryptoService:
    """Give the second opinion."""
    return known.payments_on(Vault.of_value(SoftwareEngine(), KeyValue(bytes(32))))


@pytest.mark.parametrize(
    "command", [contract.PVV, contract.OFFSET], ids=["PVV", "offset"]
)
def test_a_pin_under_a_terminals_key_verifies(
    payments: BlockingHsm, command: AnyCommand
) -> None:
    same = known.changed(command, source="terminal/tpk")
    assert payments.execute([same]) == [b""]
    with pytest.raises(VerificationFailed):
        payments.execute([known.changed(same, pan="1122334455660788")])


# The example of IBM's CCA and of github.com/knovichikhin/psec.
CVV = VerifyCardValue(
    key="issuer/cvk", pan=PAN, expiry="8701", service_code="101", value="561"
)


def test_a_published_cvv_verifies(payments: BlockingHsm) -> None:
    assert payments.execute([CVV]) == [b""]


@pytest.mark.parametrize(
    "changes",
    [
        {"value": "562"},
        {"value": "56"},
        {"value": ""},
        {"value": "٥٦١"},
        {"pan": "4123456789012346"},
        {"expiry": "8702"},
        {"service_code": "999"},
    ],
)
def test_another_card_value_does_not_verify(
    payments: BlockingHsm, changes: dict[str, str]
) -> None:
    with pytest.raises(VerificationFailed) as caught:
        payments.execute([known.changed(CVV, **changes)])
    assert str(caught.value) == "the card verification value does not verify"


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (known.changed(CVV, key="issuer/pvk"), KeyRefused),
        (known.changed(CVV, expiry="870"), HsmError),
        (known.changed(CVV, service_code="1O1"), HsmError),
        (known.changed(CVV, pan="4;"), HsmError),
    ],
)
def test_a_card_value_cannot_be_asked_so(
    payments: BlockingHsm, command: AnyCommand, kind: type[HsmError]
) -> None:
    with pytest.raises(kind):
        payments.execute([command])


def cryptogram(version: str, software: CryptoService) -> VerifyCryptogram:
    """Give a cryptogram that the software verifies, found with its own functions."""
    rules = VERSIONS[version]
    atc, unpredictable, data = b"\x00\x18", bytes.fromhex("84F01F9D"), bytes(range(37))
    value = KeyValue(bytes.fromhex(known.KNOWN))
    master = Key.load(SoftwareEngine(), value, Algorithm.TDES, emv.CARD_KEY_USES)
    diversifier = {
        emv.SessionKey.NONE: None,
        emv.SessionKey.COMMON: atc + bytes(6),
        emv.SessionKey.MCHIP: atc + bytes(2) + unpredictable,
    }[rules.session]
    card_key = emv.derive_card_key(master, Pan(PAN), sequence="01")
    with emv.session_key(card_key, diversifier) as session:
        arqc = generate(MacKey.of_pair(session, rules.padding), data)
    command = VerifyCryptogram(
        key="issuer/ac",
        version=version,
        pan=PAN,
        data=data,
        atc=atc,
        unpredictable=unpredictable,
        arqc=arqc,
        sequence="01",
    )
    assert software.execute([command]) == [b""]
    return command


@pytest.mark.parametrize("version", VERSIONS)
def test_a_cryptogram_gets_the_same_answer_as_elsewhere(
    payments: BlockingHsm, software: CryptoService, version: str
) -> None:
    command = cryptogram(version, software)
    assert payments.execute([command]) == [b""]
    is_second_method = version.startswith("visa") and version != "visa-10"
    answer = bytes.fromhex("0382000011223344") if is_second_method else b"00"
    asking = known.changed(command, answer=answer)
    assert payments.execute([asking]) == software.execute([asking])


@pytest.mark.parametrize(
    "changes",
    [
        {"arqc": bytes(8)},
        {"arqc": bytes(7)},
        {"atc": b"\x00\x19"},
        {"atc": b"\x00"},
        {"unpredictable": bytes(4)},
        {"unpredictable": b""},
        {"data": bytes(37)},
        {"sequence": "02"},
        {"pan": "4123456789012346"},
    ],
)
def test_a_wrong_cryptogram_does_not_verify(
    payments: BlockingHsm, software: CryptoService, changes: dict[str, object]
) -> None:
    command = known.changed(cryptogram("mastercard-17", software), **changes)
    with pytest.raises(VerificationFailed):
        software.execute([command])
    with pytest.raises(VerificationFailed) as caught:
        payments.execute([command])
    assert str(caught.value) == "the cryptogram does not verify"


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"version": "visa-17"}, HsmError),
        ({"option": "C"}, HsmError),
        ({"sequence": "1"}, HsmError),
        ({"answer": b"0"}, HsmError),
        ({"data": bytes(300)}, HsmError),
        ({"key": "issuer/cvk"}, KeyRefused),
    ],
)
def test_a_cryptogram_cannot_be_asked_so(
    payments: BlockingHsm,
    software: CryptoService,
    changes: dict[str, object],
    kind: type[HsmError],
) -> None:
    command = known.changed(cryptogram("visa-10", software), **changes)
    with pytest.raises(kind):
        payments.execute([command])


KSN = bytes.fromhex("FFFF9876543210E00001")


@pytest.mark.parametrize(
    "command",
    [
        GenerateMac(key="terminal/bdk", data=b"", ksn=KSN),
        VerifyMac(key="terminal/bdk", data=b"", mac=bytes(8), ksn=KSN),
        VerifyPvv(
            source="terminal/bdk",
            key="issuer/pvk",
            block=bytes(8),
            pan=PAN,
            index=1,
            pvv="1234",
            ksn=KSN,
        ),
        GenerateScriptMac(
            key="issuer/smi",
            version="visa-18",
            pan=PAN,
            data=b"",
            atc=bytes(2),
            arqc=bytes(8),
        ),
        VerifyDynamicCvv(
            key="issuer/dcvv",
            pan=PAN,
            expiry="3112",
            service_code="201",
            atc=1,
            value="123",
        ),
        VerifyCvc3(
            key="issuer/dcvv",
            pan=PAN,
            track=bytes(2),
            unpredictable=bytes(4),
            atc=1,
            value="123",
        ),
        ImportKey(name="zone/zpk", under="zmk", payload=bytes(16), cause="link"),
        OfferKey(name="zone/zpk", under="zmk", cause="link"),
        AgreeKey(name="zone/zpk", version=2, check_value=bytes(3), cause="link"),
        ActivateKey(
            name="zone/zpk",
            version=2,
            check_value=bytes(3),
            overlap_s=1.0,
            cause="link",
        ),
        DropKey(name="zone/zpk", version=2, cause="link"),
    ],
    ids=lambda command: type(command).__name__,
)
def test_what_these_units_do_not_do_is_refused(
    payments: BlockingHsm, command: AnyCommand
) -> None:
    with pytest.raises(NotSupported, match="payment HSMs do"):
        payments.execute([command])


def test_format_4_is_translated_but_not_verified(payments: BlockingHsm) -> None:
    command = known.changed(
        contract.PVV, source="zone/aes-in", source_format=4, block=bytes(16)
    )
    with pytest.raises(NotSupported, match="format 4"):
        payments.execute([command])


def test_a_terminals_aes_key_is_refused(payments: BlockingHsm) -> None:
    with pytest.raises(NotSupported, match="AES key"):
        payments.execute([contract.AES_TERMINAL])


RULE = Ibm3624Rule(table="0123456789012345")


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (RULE, "4761739001N0"),
        (replace(RULE, start=4, length=11, pad="0"), "739001N00000"),
    ],
)
def test_validation_data_leaves_a_place_for_the_account_number(
    rule: Ibm3624Rule, told: str
) -> None:
    assert validation_data(Pan("4761739001010010"), rule) == told


def test_validation_data_without_the_account_number_cannot_be_told() -> None:
    with pytest.raises(NotSupported):
        validation_data(Pan("4761739001010010"), replace(RULE, length=10))


def test_a_key_of_another_kind_than_its_usage_is_refused() -> None:
    good = unit_keys()[0]
    with pytest.raises(KeyRefused):
        msgspec.structs.replace(good, kind=KeyKind.ZAK)
