"""MACs of terminals, and of links by the usage of their keys."""

from __future__ import annotations

import pytest

from isoswitch.codecs.canonical.errors import HsmError, KeyRefused, MacMismatch
from isoswitch.hsm.port import AnyCommand, GenerateMac, VerifyMac
from isoswitch.hsm.service import CryptoService
from tests.hsm.handlers.payments import changed

DATA = b"4012345678909D987"
# ANSI X9.24-1:2009, A.4, counters 1 and 2: request and response.
TDES = [
    ("FFFF9876543210E00001", "9CCC7817", "20364223"),
    ("FFFF9876543210E00002", "F608A9BC", "D1FCA6BE"),
]
# moov-io/dukpt over the base key of ANSI X9.24-3.
AES = [
    (
        "123456789012345600000001",
        "A2EB5C1C35809E58404E873C3C411E31",
        "DD4E1895FD9BF53D8DAF25568ABF551D",
    ),
    (
        "123456789012345600000002",
        "4D104704C53491A60944193DCAF6B411",
        "008CEAAE2B913BEEE76209EE9406DAC1",
    ),
]
CASES = [
    *(("terminal/bdk", *case) for case in TDES),
    *(("terminal/aes-bdk", *case) for case in AES),
    *(("terminal/ipek", *case) for case in TDES),
    *(("terminal/aes-ik", *case) for case in AES),
]


@pytest.mark.parametrize(("key", "ksn", "request_mac", "response_mac"), CASES)
def test_the_macs_of_a_terminal_are_those_of_the_standard(
    payments: CryptoService, key: str, ksn: str, request_mac: str, response_mac: str
) -> None:
    number, length = bytes.fromhex(ksn), len(response_mac) // 2
    theirs = bytes.fromhex(request_mac)
    commands = [
        VerifyMac(key=key, data=DATA, mac=theirs, ksn=number),
        GenerateMac(key=key, data=DATA, length=length, ksn=number),
    ]
    assert payments.execute(commands) == [b"1", bytes.fromhex(response_mac)]


@pytest.mark.parametrize(
    "changes",
    [
        {"mac": bytes(4)},
        {"mac": b""},
        {"data": DATA + b"."},
        {"ksn": bytes.fromhex("FFFF9876543210E00002")},
        {"ksn": bytes.fromhex("FFFF9876543210E00000")},
        {"ksn": bytes(3)},
        # Sent back to its sender, a response is no request.
        {"mac": bytes.fromhex("20364223")},
    ],
)
def test_any_other_mac_of_a_terminal_does_not_match(
    payments: CryptoService, changes: dict[str, object]
) -> None:
    key, ksn, request_mac, _ = CASES[0]
    command = VerifyMac(
        key=key, data=DATA, mac=bytes.fromhex(request_mac), ksn=bytes.fromhex(ksn)
    )
    with pytest.raises(MacMismatch) as caught:
        payments.execute([changed(command, **changes)])
    assert str(caught.value) == "the MAC does not match"


@pytest.mark.parametrize("ksn", [bytes(10), b"\xff" * 10, bytes(1)])
def test_no_mac_is_made_for_an_impossible_serial_number(
    payments: CryptoService, ksn: bytes
) -> None:
    with pytest.raises(HsmError):
        payments.execute([GenerateMac(key="terminal/bdk", data=DATA, ksn=ksn)])


@pytest.mark.parametrize(
    ("key", "data", "mac"),
    [
        # github.com/solo123/pgate, test/integration/pos_mac_test.rb: single DES.
        (
            "link/unionpay",
            bytes.fromhex("1234567890ABCDEFABCDEF1234567890"),
            b"E267B6E2",
        ),
        # ISO 9797-1, annex B.
        ("link/retail", b"Now is the time for all ", "A1C72E74EA3FA9B6"),
    ],
)
def test_the_algorithm_follows_from_the_key(
    payments: CryptoService, key: str, data: bytes, mac: bytes | str
) -> None:
    expected = bytes.fromhex(mac) if isinstance(mac, str) else mac
    commands = [
        GenerateMac(key=key, data=data),
        VerifyMac(key=key, data=data, mac=expected),
    ]
    assert payments.execute(commands) == [expected, b""]


@pytest.mark.parametrize(
    "key", ["link/unionpay", "link/cmac", "link/hmac", "link/retail"]
)
def test_a_made_mac_verifies_and_a_flipped_bit_does_not(
    payments: CryptoService, key: str
) -> None:
    (mac,) = payments.execute([GenerateMac(key=key, data=DATA)])
    payments.execute([VerifyMac(key=key, data=DATA, mac=mac)])
    flipped = mac[:-1] + bytes([mac[-1] ^ 1])
    with pytest.raises(MacMismatch):
        payments.execute([VerifyMac(key=key, data=DATA, mac=flipped)])


@pytest.mark.parametrize(
    "command",
    [
        VerifyMac(key="terminal/bdk", data=DATA, mac=bytes(8)),
        GenerateMac(key="terminal/bdk", data=DATA),
        VerifyMac(key="link/retail", data=DATA, mac=bytes(8), ksn=bytes(10)),
        GenerateMac(key="link/retail", data=DATA, ksn=bytes(10)),
        GenerateMac(key="issuer/cvk", data=DATA),
        GenerateMac(key="issuer/ac", data=DATA, ksn=bytes(10)),
    ],
)
def test_a_key_of_another_usage_is_refused(
    payments: CryptoService, command: AnyCommand
) -> None:
    with pytest.raises(KeyRefused):
        payments.execute([command])
