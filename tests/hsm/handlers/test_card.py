"""Card verification values by command; the values are jPOS's, pyemv's and Visa's."""

from __future__ import annotations

import psec.cvv
import pytest

from isoswitch.codecs.canonical.errors import HsmError, KeyRefused, VerificationFailed
from isoswitch.hsm.port import (
    AnyCommand,
    VerifyCardValue,
    VerifyCvc3,
    VerifyDynamicCvv,
)
from isoswitch.hsm.service import CryptoService
from tests.hsm.handlers.payments import KNOWN, changed

# The commonly quoted worked example of Visa's CVV; psec agrees, also with the others.
CVV = VerifyCardValue(
    key="issuer/cvk",
    pan="4123456789012345",
    expiry="8701",
    service_code="101",
    value="561",
)
# jPOS, JCESecurityModuleTest.
DCVV = VerifyDynamicCvv(
    key="issuer/dcvv",
    pan="1234567890123456",
    expiry="1310",
    service_code="226",
    atc=3210,
    value="422",
)
CVC3 = VerifyCvc3(
    key="issuer/dcvv",
    pan="1234567890123456",
    track=bytes.fromhex("1234567890123456D12012061000110000000FFFFFFFFFFF"),
    unpredictable=bytes.fromhex("00002710"),
    atc=10_000,
    value="45423",
)
ALL = [CVV, DCVV, CVC3]
NAMES = ["CVV", "dCVV", "CVC3"]


@pytest.mark.parametrize("command", ALL, ids=NAMES)
def test_a_published_value_verifies(
    payments: CryptoService, command: AnyCommand
) -> None:
    assert payments.execute([command]) == [b""]


@pytest.mark.parametrize("service_code", ["000", "999"], ids=["CVV2", "iCVV"])
def test_the_printed_value_and_that_of_the_chip_have_their_own_service_codes(
    payments: CryptoService, service_code: str
) -> None:
    made = psec.cvv.generate_cvv(
        bytes.fromhex(KNOWN), CVV.pan, CVV.expiry, service_code
    )
    command = changed(CVV, service_code=service_code, value=made)
    assert payments.execute([command]) == [b""]
    with pytest.raises(VerificationFailed):
        payments.execute([changed(command, service_code="101")])


@pytest.mark.parametrize("value", ["", "1", "560", "423", "5610", "45424", "٥٦١"])
@pytest.mark.parametrize("command", ALL, ids=NAMES)
def test_another_value_does_not_verify(
    payments: CryptoService, command: AnyCommand, value: str
) -> None:
    if isinstance(command, VerifyCvc3) and value == "423":
        # The last three digits of a CVC3 are one.
        assert payments.execute([changed(command, value=value)]) == [b""]
        return
    with pytest.raises(VerificationFailed):
        payments.execute([changed(command, value=value)])


@pytest.mark.parametrize(
    ("command", "changes"),
    [
        (CVV, {"pan": "4123456789012355"}),
        (CVV, {"expiry": "8702"}),
        (CVV, {"service_code": "201"}),
        (DCVV, {"atc": 3211}),
        (DCVV, {"sequence": "01"}),
        (DCVV, {"pan": "1234567890123457"}),
        (CVC3, {"atc": 10_001}),
        (CVC3, {"track": b"\x00\x00"}),
        (CVC3, {"unpredictable": bytes(4)}),
    ],
)
def test_another_card_or_transaction_does_not_verify(
    payments: CryptoService, command: AnyCommand, changes: dict[str, object]
) -> None:
    with pytest.raises(VerificationFailed):
        payments.execute([changed(command, **changes)])


@pytest.mark.parametrize(
    ("command", "changes"),
    [
        (CVV, {"pan": "x"}),
        (CVV, {"expiry": "870"}),
        (CVV, {"expiry": "87O1"}),
        (CVV, {"service_code": "1O1"}),
        (DCVV, {"expiry": ""}),
        (DCVV, {"service_code": "1010"}),
        (DCVV, {"atc": -1}),
        (DCVV, {"atc": 65_536}),
        (DCVV, {"sequence": "0x"}),
        (CVC3, {"sequence": "1"}),
        (CVC3, {"unpredictable": bytes(3)}),
        (CVC3, {"atc": 65_536}),
        (CVC3, {"pan": "4" * 20}),
    ],
)
def test_what_no_card_gives_is_refused_unrepeated(
    software_payments: CryptoService, command: AnyCommand, changes: dict[str, object]
) -> None:
    with pytest.raises(HsmError) as caught:
        software_payments.execute([changed(command, **changes)])
    for value in changes.values():
        assert not isinstance(value, str) or not value or value not in str(caught.value)


@pytest.mark.parametrize("command", ALL, ids=NAMES)
@pytest.mark.parametrize("key", ["nobody", "link/retail", "issuer/ac", "issuer/pvk"])
def test_a_key_of_another_usage_is_refused(
    payments: CryptoService, command: AnyCommand, key: str
) -> None:
    with pytest.raises(KeyRefused):
        payments.execute([changed(command, key=key)])
