"""The MAC algorithms against their standards, psec, and their negative twins."""

from __future__ import annotations

import psec.mac
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import KeyRefused, MacMismatch
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Engine
from isoswitch.hsm.functions.key import ENCRYPT, Key, KeyPair
from isoswitch.hsm.functions.mac import (
    MacAlgorithm,
    MacKey,
    Padding,
    generate,
    pad,
    verify,
)
from isoswitch.hsm.software import SoftwareEngine

KEY = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
OTHER = KeyValue(bytes.fromhex("0123456789ABCDEEFEDCBA9876543298"))

# Cipher, algorithm and full length of every MAC there is.
KINDS = [
    pytest.param(Algorithm.TDES, MacAlgorithm.ALG1, 8, id="alg 1"),
    pytest.param(Algorithm.TDES, MacAlgorithm.ALG3, 8, id="alg 3"),
    pytest.param(Algorithm.TDES, MacAlgorithm.CMAC, 8, id="TDES-CMAC"),
    pytest.param(Algorithm.AES, MacAlgorithm.CMAC, 16, id="AES-CMAC"),
    pytest.param(Algorithm.TDES, MacAlgorithm.UNIONPAY, 8, id="UnionPay"),
]


@pytest.mark.parametrize(("cipher", "algorithm", "length"), KINDS)
def test_a_mac_verifies_in_full_and_cut_to_the_shortest(
    engine: Engine, cipher: Algorithm, algorithm: MacAlgorithm, length: int
) -> None:
    """Of the hexadecimal digits of UnionPay's MAC none may be missing."""
    shortest = 8 if algorithm is MacAlgorithm.UNIONPAY else 4
    key = MacKey.load(engine, KEY, cipher, algorithm)
    mac = generate(key, b"some message", length=length)
    assert len(mac) == length
    verify(key, b"some message", mac)
    verify(key, b"some message", mac[:shortest])
    with pytest.raises(MacMismatch):
        verify(key, b"some message", mac[: shortest - 1])
    key.destroy()


@pytest.mark.parametrize(("cipher", "algorithm", "length"), KINDS)
def test_a_mac_of_other_data_or_another_key_does_not_verify(
    engine: Engine, cipher: Algorithm, algorithm: MacAlgorithm, length: int
) -> None:
    key = MacKey.load(engine, KEY, cipher, algorithm)
    mac = generate(key, b"some message", length=length)
    flipped = bytes([mac[0] ^ 1]) + mac[1:]
    with pytest.raises(MacMismatch):
        verify(key, b"some message", flipped)
    with pytest.raises(MacMismatch):
        verify(key, b"some messagf", mac)
    with pytest.raises(MacMismatch):
        verify(MacKey.load(engine, OTHER, cipher, algorithm), b"some message", mac)


@pytest.mark.parametrize("length", [0, 3, 9])
def test_a_mac_of_a_length_no_mac_has_does_not_verify(length: int) -> None:
    key = MacKey.load(SoftwareEngine(), KEY, Algorithm.TDES, MacAlgorithm.ALG3)
    mac = generate(key, b"some message")
    with pytest.raises(MacMismatch):
        verify(key, b"some message", (mac + b"\x00")[:length])


@pytest.mark.parametrize("length", [3, 9])
def test_a_mac_of_a_length_no_mac_has_is_not_made(length: int) -> None:
    key = MacKey.load(SoftwareEngine(), KEY, Algorithm.TDES, MacAlgorithm.ALG3)
    with pytest.raises(ValueError, match="4 to 8 bytes"):
        generate(key, b"some message", length=length)


@pytest.mark.parametrize(
    ("key", "data", "mac"),
    [
        # github.com/solo123/pgate test/integration/pos_mac_test.rb
        ("2222222222222222", "1234567890ABCDEFABCDEF1234567890", b"E267B6E2"),
        # blog.youkuaiyun.com/zhu244912654/article/details/80005341 publishes the keys,
        # a second implementation gave the MAC.
        (
            "C24A8FB57AA20123",
            (
                "0200302004C020C098110000000000000000510018340210000632439226000994"
                "2820D1312101120084393136363838303134303030303030303030303030303031"
                "313536ACF46E73838A82F92600000000000000000822000001"
            ),
            b"8A9E91B8",
        ),
    ],
)
def test_the_unionpay_mac_is_hex_digits(
    engine: Engine, key: str, data: str, mac: bytes
) -> None:
    value = KeyValue(bytes.fromhex(key))
    loaded = MacKey.load(engine, value, Algorithm.TDES, MacAlgorithm.UNIONPAY)
    assert generate(loaded, bytes.fromhex(data)) == mac


@pytest.mark.parametrize(
    ("data", "mac"),
    # Dart package "pos", tests: the MAC there is the first hex digits as ASCII.
    [("121234FF", b"C17E5FB7"), ("121234FF121234FF", b"B55B5956")],
)
def test_the_unionpay_x919_variant_is_algorithm_3(
    engine: Engine, data: str, mac: bytes
) -> None:
    value = KeyValue(bytes.fromhex("46B0AA84C9AB2CC87FBD7C736E515C06"))
    key = MacKey.load(engine, value, Algorithm.TDES, MacAlgorithm.ALG3)
    assert generate(key, bytes.fromhex(data)).hex().upper().encode()[:8] == mac


@given(key=st.binary(min_size=16, max_size=16), data=st.binary(max_size=100))
@pytest.mark.parametrize("padding", list(Padding))
def test_algorithms_1_and_3_agree_with_psec(
    key: bytes, data: bytes, padding: Padding
) -> None:
    engine = SoftwareEngine()
    retail = MacKey.load(
        engine, KeyValue(key), Algorithm.TDES, MacAlgorithm.ALG3, padding
    )
    expected = psec.mac.generate_retail_mac(key[:8], key[8:], data, int(padding))
    assert generate(retail, data) == expected
    chained = MacKey.load(
        engine, KeyValue(key), Algorithm.TDES, MacAlgorithm.ALG1, padding
    )
    expected = psec.mac.generate_cbc_mac(
        key, data, int(padding), algorithm=psec.mac.Algorithm.DES
    )
    assert generate(chained, data) == expected


def test_a_message_of_no_bytes_is_one_block_of_padding() -> None:
    assert pad(b"", Padding.ZEROS, 8) == bytes(8)


def test_a_retail_mac_key_of_three_parts_is_refused() -> None:
    with pytest.raises(KeyRefused):
        KeyPair.load(SoftwareEngine(), KeyValue(bytes(24)), ENCRYPT)


@pytest.mark.parametrize(
    ("algorithm", "with_single"),
    [(MacAlgorithm.ALG3, False), (MacAlgorithm.ALG1, True)],
)
def test_only_a_retail_mac_key_has_two_forms(
    algorithm: MacAlgorithm, *, with_single: bool
) -> None:
    key = Key.load(SoftwareEngine(), KEY, Algorithm.TDES, ENCRYPT)
    with pytest.raises(KeyRefused):
        MacKey(algorithm=algorithm, key=key, single=key if with_single else None)
