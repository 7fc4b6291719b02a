"""Check values, components, key wrap, zone keys and keys as such."""

from __future__ import annotations

import psec.des
import pytest
from cryptography.hazmat.primitives import keywrap as their_keywrap
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import KeyRefused, VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Engine, Use
from isoswitch.hsm.functions.components import (
    Component,
    form_key,
    has_odd_parity,
    with_odd_parity,
)
from isoswitch.hsm.functions.kcv import check_values, cmac_kcv, legacy_kcv, verify_kcv
from isoswitch.hsm.functions.key import DECRYPT, ENCRYPT, MAC, Key, KeyPair
from isoswitch.hsm.functions.keywrap import unwrap_key, wrap_key
from isoswitch.hsm.functions.zone_key import export_zone_key, import_zone_key
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.simulators import variant_lmk

BOTH = frozenset({Use.ENCRYPT, Use.DECRYPT})
TDES = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
AES = KeyValue(bytes.fromhex("3F419E1CB7079442AA37474C2EFBF8B8"))
SHORT = KeyValue(bytes.fromhex("C24A8FB57AA20123"))
ZMK = KeyValue(bytes.fromhex("70F2A84CCBC2AE8625CBB0F2C22AB923"))

octets = st.binary(min_size=16, max_size=16)


def component(value: bytes, algorithm: Algorithm = Algorithm.TDES) -> Component:
    key = KeyValue(value)
    values = check_values(key, algorithm)
    is_aes = algorithm is Algorithm.AES
    return Component(value=key, check_value=values.cmac if is_aes else values.legacy)


# --- check values --------------------------------------------------------------------


@given(octets)
def test_a_legacy_check_value_agrees_with_psec(value: bytes) -> None:
    published = psec.des.generate_kcv(value, 3)
    assert check_values(KeyValue(value), Algorithm.TDES).legacy == published


def test_the_check_value_of_memory_and_of_a_handle_agree(engine: Engine) -> None:
    values = check_values(AES, Algorithm.AES)
    assert legacy_kcv(Key.load(engine, AES, Algorithm.AES, ENCRYPT)) == values.legacy
    assert cmac_kcv(Key.load(engine, AES, Algorithm.AES, MAC)) == values.cmac


@pytest.mark.parametrize(
    ("value", "algorithm", "given_value"),
    [
        pytest.param(TDES, Algorithm.TDES, "08D7", id="two bytes"),
        pytest.param(TDES, Algorithm.TDES, "08D7B4", id="legacy"),
        pytest.param(AES, Algorithm.AES, "08793E25AB", id="CMAC"),
    ],
)
def test_a_customary_check_value_verifies(
    value: KeyValue, algorithm: Algorithm, given_value: str
) -> None:
    verify_kcv(value, algorithm, bytes.fromhex(given_value))


def test_the_check_value_of_a_single_des_key_verifies() -> None:
    published = psec.des.generate_kcv(SHORT.reveal() * 2, 4)
    verify_kcv(SHORT, Algorithm.TDES, published)


@pytest.mark.parametrize(
    ("algorithm", "given_value"),
    [
        pytest.param(Algorithm.TDES, "08D7B5", id="another"),
        pytest.param(Algorithm.TDES, "08", id="one byte"),
        pytest.param(Algorithm.TDES, "", id="nothing"),
        pytest.param(Algorithm.TDES, "08D7B4FB629D08850000", id="too long"),
        pytest.param(Algorithm.AES, "08D7B4", id="another algorithm"),
    ],
)
def test_a_wrong_check_value_does_not_verify(
    algorithm: Algorithm, given_value: str
) -> None:
    with pytest.raises(VerificationFailed):
        verify_kcv(TDES, algorithm, bytes.fromhex(given_value))


# --- components ----------------------------------------------------------------------


@given(octets, octets, octets)
def test_three_components_add_up(first: bytes, second: bytes, third: bytes) -> None:
    parts = [first, second, third]
    algorithm = Algorithm.AES
    total = bytes(a ^ b ^ c for a, b, c in zip(*parts, strict=True))
    if len(set(parts)) == 3 and any(total):
        formed = form_key([component(part, algorithm) for part in parts], algorithm)
        assert formed == KeyValue(total)


def test_a_tdes_key_of_components_has_odd_parity() -> None:
    formed = form_key(
        [component(b"\x01" * 16), component(b"\x10" * 16)], Algorithm.TDES
    )
    assert formed == KeyValue(b"\x10" * 16)
    assert has_odd_parity(formed.reveal())


REFUSED = {
    "one component": [component(TDES.reveal())],
    "four components": [component(bytes([n]) * 16) for n in range(1, 5)],
    "different lengths": [component(TDES.reveal()), component(TDES.reveal()[:8] * 3)],
    "one twice": [component(TDES.reveal())] * 2,
    "three that cancel out": [component(bytes([n]) * 16) for n in (1, 2, 3)],
}


@pytest.mark.parametrize("components", REFUSED.values(), ids=REFUSED)
def test_components_that_form_no_key_are_refused(components: list[Component]) -> None:
    with pytest.raises(KeyRefused):
        form_key(components, Algorithm.TDES)


def test_a_mistyped_component_is_noticed() -> None:
    right = component(TDES.reveal())
    wrong = Component(value=ZMK, check_value=right.check_value)
    with pytest.raises(VerificationFailed):
        form_key([right, wrong], Algorithm.TDES)


@given(octets)
def test_parity_is_set_in_the_lowest_bits_only(value: bytes) -> None:
    adjusted = with_odd_parity(value)
    assert has_odd_parity(adjusted)
    assert all((a ^ b) in {0, 1} for a, b in zip(value, adjusted, strict=True))


# --- key wrap ------------------------------------------------------------------------


@given(
    kek=octets,
    value=st.sampled_from([16, 24, 32]).flatmap(
        lambda length: st.binary(min_size=length, max_size=length)
    ),
)
def test_key_wrap_agrees_with_cryptography(kek: bytes, value: bytes) -> None:
    key = Key.load(SoftwareEngine(), KeyValue(kek), Algorithm.AES, BOTH)
    wrapped = wrap_key(key, KeyValue(value))
    assert wrapped == their_keywrap.aes_key_wrap(kek, value)
    assert unwrap_key(key, wrapped) == KeyValue(value)


@pytest.mark.parametrize("length", [0, 8, 16, 23, 25])
def test_a_wrapped_key_of_a_length_that_none_has_is_refused(length: int) -> None:
    key = Key.load(SoftwareEngine(), AES, Algorithm.AES, BOTH)
    with pytest.raises(VerificationFailed):
        unwrap_key(key, bytes(length))


def test_a_wrapped_key_with_any_byte_changed_is_refused(engine: Engine) -> None:
    key = Key.load(engine, AES, Algorithm.AES, BOTH)
    wrapped = wrap_key(key, TDES)
    for index in range(len(wrapped)):
        changed = bytearray(wrapped)
        changed[index] ^= 1
        with pytest.raises(VerificationFailed):
            unwrap_key(key, bytes(changed))
    with pytest.raises(VerificationFailed):
        unwrap_key(Key.load(engine, ZMK, Algorithm.AES, BOTH), wrapped)


@pytest.mark.parametrize("length", [8, 17])
def test_a_key_of_another_length_is_not_wrapped(length: int) -> None:
    key = Key.load(SoftwareEngine(), AES, Algorithm.AES, BOTH)
    with pytest.raises(KeyRefused):
        wrap_key(key, KeyValue(bytes(length)))


def test_keys_are_not_wrapped_under_tdes() -> None:
    key = Key.load(SoftwareEngine(), TDES, Algorithm.TDES, BOTH)
    with pytest.raises(KeyRefused):
        wrap_key(key, AES)
    with pytest.raises(KeyRefused):
        unwrap_key(key, bytes(24))


# --- zone keys -----------------------------------------------------------------------


def test_the_published_working_key_of_a_terminal_is_imported(engine: Engine) -> None:
    """The keys of blog.youkuaiyun.com/zhu244912654/article/details/80005341."""
    tmk = Key.load(engine, ZMK, Algorithm.TDES, DECRYPT)
    check_value = psec.des.generate_kcv(SHORT.reveal(), 4)
    imported = import_zone_key(tmk, bytes.fromhex("96D605EA176B7E9E"), check_value)
    assert imported == SHORT


def test_a_working_key_without_odd_parity_is_refused(engine: Engine) -> None:
    zmk = Key.load(engine, ZMK, Algorithm.TDES, BOTH)
    value = KeyValue(bytes(16))
    cryptogram, check_value = export_zone_key(zmk, value)
    with pytest.raises(KeyRefused, match="odd parity"):
        import_zone_key(zmk, cryptogram, check_value)


@pytest.mark.parametrize("length", [8, 16, 24])
def test_what_is_exported_is_imported(engine: Engine, length: int) -> None:
    value = KeyValue(with_odd_parity(bytes(range(7, 7 + length))))
    zmk = Key.load(engine, ZMK, Algorithm.TDES, BOTH)
    cryptogram, check_value = export_zone_key(zmk, value)
    assert cryptogram == psec.des.encrypt_tdes_ecb(ZMK.reveal(), value.reveal())
    assert import_zone_key(zmk, cryptogram, check_value) == value
    flipped = bytes([check_value[0] ^ 1]) + check_value[1:]
    with pytest.raises(VerificationFailed):
        import_zone_key(zmk, cryptogram, flipped)
    with pytest.raises(VerificationFailed):
        import_zone_key(
            Key.load(engine, TDES, Algorithm.TDES, BOTH), cryptogram, check_value
        )


@pytest.mark.parametrize(
    ("cryptogram", "check_value"),
    [(bytes(15), bytes(3)), (bytes(32), bytes(3)), (bytes(16), b""), (bytes(16), b"1")],
)
def test_a_key_is_never_imported_without_a_check_value(
    cryptogram: bytes, check_value: bytes
) -> None:
    zmk = Key.load(SoftwareEngine(), ZMK, Algorithm.TDES, DECRYPT)
    with pytest.raises(VerificationFailed):
        import_zone_key(zmk, cryptogram, check_value)


def test_only_tdes_keys_travel_in_this_form() -> None:
    aes = Key.load(SoftwareEngine(), AES, Algorithm.AES, BOTH)
    with pytest.raises(KeyRefused):
        import_zone_key(aes, bytes(16), bytes(3))
    with pytest.raises(KeyRefused):
        export_zone_key(aes, TDES)
    zmk = Key.load(SoftwareEngine(), ZMK, Algorithm.TDES, BOTH)
    with pytest.raises(KeyRefused):
        export_zone_key(zmk, KeyValue(bytes(32)))


def test_a_triple_length_key_keeps_its_parts_apart_under_a_variant_master_key() -> None:
    value = KeyValue(bytes(24))
    wrapped = variant_lmk.encrypt_key(ZMK, value)
    assert wrapped[0] == "T"
    assert len({wrapped[1:17], wrapped[17:33], wrapped[33:]}) == 3
    assert variant_lmk.decrypt_key(ZMK, wrapped) == value


# --- keys ----------------------------------------------------------------------------


def test_a_key_is_gone_when_its_block_ends(engine: Engine) -> None:
    with Key.load(engine, TDES, Algorithm.TDES, ENCRYPT) as key:
        key.ecb(bytes(8))
    with pytest.raises(KeyRefused):
        key.ecb(bytes(8))


def test_both_forms_of_a_key_are_gone_when_their_block_ends(engine: Engine) -> None:
    with KeyPair.load(engine, TDES, ENCRYPT) as pair:
        assert pair.single.ecb(bytes(8)) != pair.full.ecb(bytes(8))
    for key in (pair.single, pair.full):
        with pytest.raises(KeyRefused):
            key.ecb(bytes(8))


def test_both_forms_of_a_single_length_key_are_single_des(engine: Engine) -> None:
    with KeyPair.load(engine, SHORT, ENCRYPT) as pair:
        assert pair.single.ecb(bytes(8)) == pair.full.ecb(bytes(8))


def test_what_a_key_seals_it_opens(engine: Engine) -> None:
    key = Key.load(engine, AES, Algorithm.AES, BOTH)
    sealed = key.gcm(b"data", bytes(12), b"context")
    assert key.gcm(sealed, bytes(12), b"context", decrypt=True) == b"data"
    with pytest.raises(VerificationFailed):
        key.gcm(sealed, bytes(12), b"contexu", decrypt=True)
