"""Cryptograms by command; the values are from pyemv, checked there with HSMs."""

from __future__ import annotations

import pyemv.kd
import pyemv.sm
import pytest

from isoswitch.codecs.canonical.errors import HsmError, KeyRefused, VerificationFailed
from isoswitch.hsm.functions.emv import VERSIONS
from isoswitch.hsm.port import AnyCommand, GenerateScriptMac, VerifyCryptogram
from isoswitch.hsm.service import CryptoService
from tests.hsm.handlers.payments import KNOWN, changed

PAN = "1234567890123456"
VISA = "0000000040000000000000000124800004800001241911050152BF45851800001C"
MASTERCARD = (
    "00000000999900000000000001248000000000012420990600ABCDEF121800001CA00003220000"
)


def cryptogram(version: str, data: str, arqc: str) -> VerifyCryptogram:
    return VerifyCryptogram(
        key="issuer/ac",
        version=version,
        pan=PAN,
        data=bytes.fromhex(data),
        atc=bytes.fromhex("001C"),
        unpredictable=bytes.fromhex("ABCDEF12"),
        arqc=bytes.fromhex(arqc),
    )


CASES = {
    "visa-10": (VISA + "03A06010", "29CCA15AE665FA2E", b"00", "28993816AFAE4AEB"),
    "visa-18": (VISA + "06011203A0B800", "7A788EA6B8A3E733", bytes(4), "9AF514C1"),
    "mastercard-16": (MASTERCARD, "24CCF3DEE3158C70", b"\x00\x10", "73F6BBF389A6586C"),
    "mastercard-20": (MASTERCARD, "CD29615D6452E70E", b"\x00\x10", "DFD0956606B68D64"),
}
COMMANDS = {
    version: cryptogram(version, data, arqc)
    for version, (data, arqc, _, _) in CASES.items()
}


@pytest.mark.parametrize("version", CASES)
def test_a_published_cryptogram_verifies_and_is_answered(
    payments: CryptoService, version: str
) -> None:
    command = COMMANDS[version]
    _, _, answer, arpc = CASES[version]
    assert payments.execute([command]) == [b""]
    answered = changed(command, answer=answer)
    assert payments.execute([answered]) == [bytes.fromhex(arpc)]


@pytest.mark.parametrize("version", CASES)
@pytest.mark.parametrize(
    "changes",
    [
        {"data": b"other data"},
        {"pan": "1234567890123457"},
        {"sequence": "01"},
        {"arqc": bytes(8)},
        {"arqc": b""},
        {"key": "issuer/ac", "option": "B_ALWAYS"},
    ],
    ids=["data", "card", "sequence", "cryptogram", "no cryptogram", "option"],
)
def test_a_wrong_cryptogram_gets_no_answer(
    payments: CryptoService, version: str, changes: dict[str, object]
) -> None:
    command = changed(COMMANDS[version], answer=CASES[version][2])
    with pytest.raises(VerificationFailed) as caught:
        payments.execute([changed(command, **changes)])
    assert str(caught.value) == "the cryptogram does not verify"


@pytest.mark.parametrize("changes", [{"atc": b"\x1c"}, {"atc": bytes(2)}])
@pytest.mark.parametrize("version", ["visa-18", "mastercard-16", "mastercard-20"])
def test_a_session_key_is_of_one_transaction(
    payments: CryptoService, version: str, changes: dict[str, object]
) -> None:
    with pytest.raises(VerificationFailed):
        payments.execute([changed(COMMANDS[version], **changes)])


@pytest.mark.parametrize(
    ("version", "changes"),
    [
        ("visa-10", {"version": "visa-11"}),
        ("visa-10", {"option": "C"}),
        ("visa-10", {"sequence": "1"}),
        ("visa-10", {"pan": "1234"}),
        ("visa-10", {"answer": b"0"}),
        ("visa-10", {"answer": b"000"}),
        ("visa-18", {"answer": b"00"}),
        ("visa-18", {"answer": bytes(13)}),
    ],
)
def test_what_makes_no_sense_is_refused(
    software_payments: CryptoService, version: str, changes: dict[str, object]
) -> None:
    with pytest.raises(HsmError):
        software_payments.execute([changed(COMMANDS[version], **changes)])


SCRIPT = GenerateScriptMac(
    key="issuer/smi",
    version="mastercard-20",
    pan=PAN,
    data=bytes.fromhex("8424000008"),
    atc=bytes.fromhex("001C"),
    arqc=bytes.fromhex("ABCDEF1234567890"),
    sequence="01",
)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_script_is_authenticated_as_pyemv_does(
    payments: CryptoService, version: str
) -> None:
    command = changed(SCRIPT, version=version)
    master = pyemv.kd.derive_icc_mk_a(bytes.fromhex(KNOWN), PAN, "01")
    if version in {"visa-10", "visa-18"}:
        session = pyemv.kd.derive_visa_sm_sk(master, SCRIPT.atc)
    else:
        session = pyemv.kd.derive_common_sk(master, SCRIPT.arqc)
    expected = pyemv.sm.generate_command_mac(session, SCRIPT.data)
    assert payments.execute([command]) == [expected]
    assert payments.execute([changed(command, length=4)]) == [expected[:4]]


@pytest.mark.parametrize(
    "changes",
    [
        {"atc": b""},
        {"arqc": bytes(7)},
        {"length": 3},
        {"length": 9},
        {"version": ""},
        {"option": ""},
        {"sequence": ""},
        {"pan": ""},
    ],
)
def test_a_script_that_makes_no_sense_is_refused(
    software_payments: CryptoService, changes: dict[str, object]
) -> None:
    with pytest.raises(HsmError):
        software_payments.execute([changed(SCRIPT, **changes)])


@pytest.mark.parametrize(
    "command",
    [
        changed(SCRIPT, key="issuer/ac"),
        changed(SCRIPT, key="link/retail"),
        changed(COMMANDS["visa-10"], key="issuer/smi"),
        changed(COMMANDS["visa-10"], key="issuer/dcvv"),
        changed(COMMANDS["visa-10"], key="nobody"),
    ],
)
def test_a_key_of_another_usage_is_refused(
    payments: CryptoService, command: AnyCommand
) -> None:
    with pytest.raises(KeyRefused):
        payments.execute([command])
