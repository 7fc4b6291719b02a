"""PIN blocks and MACs of simulated terminals."""

from __future__ import annotations

import pytest

from isoswitch.codecs.canonical.errors import MacMismatch
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm
from isoswitch.simulators.keyring import SharedKey
from isoswitch.simulators.terminal_crypto import generate_mac, verify_mac

# ISO/IEC 9797-1:2011, annex B, algorithm 3 with padding 1; RFC 4493, section 4.
VECTORS = [
    pytest.param(
        Algorithm.TDES,
        "0123456789ABCDEFFEDCBA9876543210",
        b"Now is the time for it",
        "2E2B1428CC78254F",
        id="retail MAC",
    ),
    pytest.param(
        Algorithm.AES,
        "2B7E151628AED2A6ABF7158809CF4F3C",
        bytes.fromhex("6BC1BEE22E409F96E93D7E117393172A"),
        "070A16B46B4D4144",
        id="AES-CMAC",
    ),
]


@pytest.mark.parametrize(("cipher", "key", "data", "mac"), VECTORS)
def test_macs_are_those_of_the_standards(
    cipher: Algorithm, key: str, data: bytes, mac: str
) -> None:
    shared = SharedKey(cipher=cipher, value=KeyValue(bytes.fromhex(key)))
    assert generate_mac(shared, data) == bytes.fromhex(mac)
    verify_mac(shared, data, bytes.fromhex(mac))


@pytest.mark.parametrize(("cipher", "key", "data", "mac"), VECTORS)
def test_a_changed_message_does_not_verify(
    cipher: Algorithm, key: str, data: bytes, mac: str
) -> None:
    shared = SharedKey(cipher=cipher, value=KeyValue(bytes.fromhex(key)))
    with pytest.raises(MacMismatch):
        verify_mac(shared, data + b"1", bytes.fromhex(mac))
