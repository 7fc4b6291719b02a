"""Key blocks against psec, every kind of damage, and headers that do not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psec.tr31
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import (
    DecodeError,
    EncodeError,
    KeyRefused,
    VerificationFailed,
)
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Engine
from isoswitch.hsm.functions.key import MAC, Key
from isoswitch.hsm.functions.tr31 import (
    Header,
    OptionalBlock,
    ProtectionKey,
    VariantKeys,
    decode_header,
    unwrap,
    unwrap_variant,
    wrap,
)
from isoswitch.hsm.software import SoftwareEngine

ALGORITHMS = {"B": Algorithm.TDES, "D": Algorithm.AES, "E": Algorithm.AES}
KBPK = KeyValue(bytes.fromhex("89E88CF7931444F334BD7547FC3F380C"))
OTHER = KeyValue(bytes.fromhex("DD7515F2BFC17F85CE48F3CA25CB21F6"))
VALUE = KeyValue(bytes.fromhex("F039121BEC83D26B169BDCD5B22AAF8F"))
# TR-31:2018, A.7.2.1 and A.7.3.1, with their protection keys.
BLOCK_A = "A0072P0TE00E0000F5161ED902807AF26F1D62263644BD24192FDB3193C730301CEE8701"
KBPK_C = KeyValue(bytes.fromhex("B8ED59E0A279A295E9F5ED7944FD06B9"))
BLOCK_C = (
    "C0096B0TX12S0100KS1800604B120F9292800000"
    "BFB9B689CB567E66FC3FEE5AD5F52161FC6545B9D60989015D02155C"
)

texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)


def protection(
    version: str, value: KeyValue = KBPK, engine: Engine | None = None
) -> ProtectionKey:
    return ProtectionKey.load(engine or SoftwareEngine(), value, ALGORITHMS[version])


def header(version: str = "D", **changes: Any) -> Header:
    right = Header(version=version, usage="P0", algorithm="T", mode="E")
    return replace(right, **changes)


@pytest.mark.parametrize("version", ["B", "D"])
def test_a_wrapped_key_comes_out_of_the_same_protection_key_only(
    engine: Engine, version: str
) -> None:
    block = wrap(protection(version, engine=engine), header(version), VALUE)
    opened, value = unwrap(protection(version, engine=engine), block)
    assert (opened, value) == (header(version), VALUE)
    with pytest.raises(VerificationFailed):
        unwrap(protection(version, OTHER, engine), block)


@settings(max_examples=40)
@given(
    version=st.sampled_from("BD"),
    kbpk=st.sampled_from([16, 24]).flatmap(lambda n: st.binary(min_size=n, max_size=n)),
    value=st.sampled_from([16, 24]).flatmap(
        lambda n: st.binary(min_size=n, max_size=n)
    ),
    data=texts,
)
def test_psec_opens_what_is_wrapped_here_and_the_other_way(
    version: str, kbpk: bytes, value: bytes, data: str
) -> None:
    optional = (OptionalBlock("KS", data),)
    ours = wrap(
        protection(version, KeyValue(kbpk)),
        header(version, optional=optional),
        KeyValue(value),
    )
    theirs, opened = psec.tr31.unwrap(kbpk, ours)
    assert (opened, theirs.key_usage, theirs.blocks["KS"]) == (value, "P0", data)
    block = psec.tr31.wrap(kbpk, theirs, value)
    back, reopened = unwrap(protection(version, KeyValue(kbpk)), block)
    assert reopened == KeyValue(value)
    assert OptionalBlock("KS", data) in back.optional


@pytest.mark.parametrize("length", [16, 24])
def test_the_block_does_not_tell_the_length_of_its_key(length: int) -> None:
    block = wrap(protection("D"), header(), KeyValue(bytes(range(length))))
    assert len(block) == 16 + 2 * (32 + 16)


@pytest.mark.parametrize("version", ["B", "D"])
def test_a_key_of_another_algorithm_is_wrapped_at_its_own_length(version: str) -> None:
    long = KeyValue(bytes(range(100)))
    block = wrap(protection(version), header(version, algorithm="H"), long)
    assert unwrap(protection(version), block)[1] == long


def test_long_optional_data_has_a_long_length() -> None:
    optional = (OptionalBlock("CT", "c" * 1000),)
    block = wrap(protection("D"), header(optional=optional), VALUE)
    assert block[16:26] == "CT000203F2"
    opened, _ = psec.tr31.unwrap(KBPK.reveal(), block)
    assert opened.blocks["CT"] == "c" * 1000
    assert unwrap(protection("D"), block)[0].optional[0] == optional[0]


def test_a_header_of_whole_blocks_is_not_padded() -> None:
    optional = (OptionalBlock("KS", "c" * 12),)
    block = wrap(protection("D"), header(optional=optional), VALUE)
    assert decode_header(block).optional == optional


@pytest.mark.parametrize("version", ["B", "D"])
def test_every_changed_character_is_noticed(version: str) -> None:
    kbpk = protection(version)
    block = wrap(kbpk, header(version, optional=(OptionalBlock("KS", "00"),)), VALUE)
    for index, character in enumerate(block):
        changed = (
            block[:index] + ("1" if character == "0" else "0") + block[index + 1 :]
        )
        with pytest.raises((VerificationFailed, DecodeError, KeyRefused)):
            unwrap(kbpk, changed)


@pytest.mark.parametrize(
    ("kbpk", "block"),
    [pytest.param(KBPK, BLOCK_A, id="A"), pytest.param(KBPK_C, BLOCK_C, id="C")],
)
def test_every_changed_character_of_an_older_version_is_noticed(
    kbpk: KeyValue, block: str
) -> None:
    keys = VariantKeys.load(SoftwareEngine(), kbpk)
    unwrap_variant(keys, block)
    for index, character in enumerate(block):
        changed = (
            block[:index] + ("1" if character == "0" else "0") + block[index + 1 :]
        )
        with pytest.raises((VerificationFailed, DecodeError, KeyRefused)):
            unwrap_variant(keys, changed)
    with pytest.raises(VerificationFailed):
        unwrap_variant(VariantKeys.load(SoftwareEngine(), OTHER), block)


@pytest.mark.parametrize("block", [BLOCK_A, BLOCK_C], ids=["A", "C"])
def test_every_cut_block_is_refused(block: str) -> None:
    for end in range(len(block)):
        with pytest.raises(DecodeError):
            decode_header(block[:end])


REFUSED = {
    "not ASCII": "A0072P0TE00E0000\xe9" + BLOCK_A[17:],
    "not printable": "A0072P0TE00E0000\n" + BLOCK_A[17:],
    "unknown version": "F" + BLOCK_A[1:],
    "sign in the length": "A+072" + BLOCK_A[5:],
    "another length": "A0073" + BLOCK_A[5:],
    "letter in the number of blocks": BLOCK_A[:12] + "0x" + BLOCK_A[14:],
    "optional block behind the end": BLOCK_A[:12]
    + "01"
    + BLOCK_A[14:16]
    + "KSFF"
    + BLOCK_A[20:],
    "optional block shorter than its header": BLOCK_A[:12] + "0100KS03" + BLOCK_A[20:],
    "sign in an optional length": BLOCK_A[:12] + "0100KS+8" + BLOCK_A[20:],
    "long length of no digits": BLOCK_A[:12] + "0100KS0000" + BLOCK_A[22:],
    "long length shorter than its header": BLOCK_A[:12] + "0100KS000109" + BLOCK_A[24:],
    "no hexadecimal": BLOCK_A[:-1] + "G",
    "space in the hexadecimal": BLOCK_A[:20] + "  " + BLOCK_A[22:],
    "no whole blocks": "A0074" + BLOCK_A[5:] + "00",
    "no key": "A0024" + BLOCK_A[5:24],
}


@pytest.mark.parametrize("block", REFUSED.values(), ids=REFUSED)
def test_a_malformed_block_is_refused_without_its_text(block: str) -> None:
    with pytest.raises(DecodeError) as error:
        decode_header(block)
    assert BLOCK_A[24:40] not in str(error.value)


@given(st.text(max_size=120) | texts.map(lambda text: f"D{len(text) + 5:04d}{text}"))
def test_any_text_is_a_block_or_a_decode_error(text: str) -> None:
    try:
        decode_header(text)
    except DecodeError:
        return


def test_an_older_block_whose_header_is_not_whole_blocks_is_refused() -> None:
    keys = VariantKeys.load(SoftwareEngine(), KBPK)
    block = BLOCK_A[:12] + "0100KS04" + BLOCK_A[16:]
    with pytest.raises(DecodeError, match="not whole blocks"):
        unwrap_variant(keys, block.replace("A0072", "A0076"))


def test_a_block_goes_with_its_kind_of_protection_key() -> None:
    with pytest.raises(KeyRefused):
        unwrap(protection("D"), BLOCK_A)
    block = wrap(protection("B"), header("B"), VALUE)
    with pytest.raises(KeyRefused):
        unwrap(protection("D"), block)
    with pytest.raises(KeyRefused):
        unwrap_variant(VariantKeys.load(SoftwareEngine(), KBPK), block)


@pytest.mark.parametrize("version", ["A", "C", "E", "X"])
def test_only_versions_b_and_d_are_made(version: str) -> None:
    with pytest.raises(KeyRefused):
        wrap(protection("D"), header(version), VALUE)


def test_a_protection_key_of_single_length_is_refused() -> None:
    key = Key.load(SoftwareEngine(), KBPK, Algorithm.TDES, MAC)
    with pytest.raises(KeyRefused):
        ProtectionKey(key, 8)


@pytest.mark.parametrize(
    "changes",
    [
        {"usage": "P"},
        {"algorithm": "TT"},
        {"mode": "\n"},
        {"key_version": "\xe9\xe9"},
        {"exportability": ""},
        {"optional": (OptionalBlock("K", ""),)},
        {"optional": (OptionalBlock("KS", "\x00"),)},
        {"optional": (OptionalBlock("KS", ""),) * 100},
        {"optional": (OptionalBlock("KS", "c" * 9990),)},
    ],
    ids=str,
)
def test_a_header_that_does_not_fit_is_not_written(changes: dict[str, Any]) -> None:
    with pytest.raises(EncodeError):
        wrap(protection("D"), header(**changes), VALUE)


@pytest.mark.parametrize("bits", [0, 127, 500], ids=["none", "broken", "too long"])
def test_an_authentic_block_with_a_senseless_key_length_is_refused(bits: int) -> None:
    """Only somebody with the protection key makes such a block, as psec does here."""
    block = psec.tr31.KeyBlock(KBPK.reveal(), "D0000P0TE00E0000")
    clear = bits.to_bytes(2) + bytes(30)
    kbek, kbak = block._d_derive()
    text = f"D{16 + 64 + 32:04d}P0TE00E0000"
    mac = block._d_generate_mac(kbak, text, clear)
    encrypted = psec.aes.encrypt_aes_cbc(kbek, mac, clear)
    with pytest.raises(VerificationFailed):
        unwrap(protection("D"), text + (encrypted + mac).hex().upper())
