"""PIN blocks and MACs of simulated issuers, against terminals and published values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psec.des import encrypt_tdes_ecb

from isoswitch.codecs.canonical.errors import MacMismatch, PinBlockInvalid
from isoswitch.codecs.canonical.secrets import KeyValue, Pan, Pin, PinBlock
from isoswitch.hsm.engine import Algorithm
from isoswitch.simulators import issuer_crypto, terminal_crypto
from isoswitch.simulators.keyring import SharedKey

VALUE = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
TDES = SharedKey(cipher=Algorithm.TDES, value=KeyValue(VALUE))
AES = SharedKey(cipher=Algorithm.AES, value=KeyValue(VALUE))
PAN = Pan("5432101234567891")

# RFC 4493, section 4: 16 bytes under the key of its examples.
RFC_4493_KEY = SharedKey(
    cipher=Algorithm.AES,
    value=KeyValue(bytes.fromhex("2B7E151628AED2A6ABF7158809CF4F3C")),
)
RFC_4493_DATA = bytes.fromhex("6BC1BEE22E409F96E93D7E117393172A")


@pytest.mark.parametrize(
    ("key", "data", "mac"),
    [
        # ISO/IEC 9797-1:2011, annex B, algorithm 3 with padding 1.
        pytest.param(TDES, b"Now is the time for it", "2E2B1428CC78254F", id="X9.19"),
        pytest.param(RFC_4493_KEY, RFC_4493_DATA, "070A16B46B4D4144", id="AES-CMAC"),
    ],
)
def test_macs_are_those_of_the_standards(key: SharedKey, data: bytes, mac: str) -> None:
    issuer_crypto.verify_mac(key, data, bytes.fromhex(mac))
    with pytest.raises(MacMismatch):
        issuer_crypto.verify_mac(key, data + b"1", bytes.fromhex(mac))


@pytest.mark.parametrize("key", [TDES, AES], ids=["X9.19", "AES-CMAC"])
@given(data=st.binary(min_size=1, max_size=200))
def test_issuers_and_terminals_make_the_same_mac(key: SharedKey, data: bytes) -> None:
    issuer_crypto.verify_mac(key, data, terminal_crypto.generate_mac(key, data))


@given(pin=st.text("0123456789", min_size=4, max_size=12))
def test_issuers_read_what_terminals_encrypt(pin: str) -> None:
    block = terminal_crypto.encrypt_pin(TDES, Pin(pin), PAN)
    assert issuer_crypto.decrypt_pin(TDES, block, PAN) == Pin(pin)


@pytest.mark.parametrize(
    "clear",
    [
        # The well-formed block of PIN 1234 is 041215FEDCBA9876 (moov pinblock tests).
        pytest.param("341215FEDCBA9876", id="format 3"),
        pytest.param("031215FEDCBA9876", id="length 3"),
        pytest.param("0D1215FEDCBA9876", id="length 13"),
        pytest.param("04F215FEDCBA9876", id="letter in the PIN"),
        pytest.param("041215FEDCBA9875", id="filler is not F"),
    ],
)
def test_a_malformed_pin_block_is_refused(clear: str) -> None:
    block = PinBlock(encrypt_tdes_ecb(VALUE, bytes.fromhex(clear)))
    with pytest.raises(PinBlockInvalid):
        issuer_crypto.decrypt_pin(TDES, block, PAN)


def test_a_pin_block_of_another_card_is_refused() -> None:
    block = terminal_crypto.encrypt_pin(TDES, Pin("1234"), PAN)
    with pytest.raises(PinBlockInvalid):
        issuer_crypto.decrypt_pin(TDES, block, Pan("4761739001010010"))
