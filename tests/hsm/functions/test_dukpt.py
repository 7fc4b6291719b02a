"""DUKPT beyond the published values: paths, their limits, and serial numbers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import DecodeError, KeyRefused, PinBlockInvalid
from isoswitch.codecs.canonical.secrets import KeyValue, Pan, Pin
from isoswitch.hsm.engine import Algorithm, Engine, Use
from isoswitch.hsm.functions import dukpt_aes, dukpt_tdes
from isoswitch.hsm.functions.dukpt_aes import AesPurpose, AesTerminals, KeyKind
from isoswitch.hsm.functions.dukpt_path import DerivationPath, PathCache
from isoswitch.hsm.functions.dukpt_tdes import BaseKey, TdesPurpose, TdesTerminals
from isoswitch.hsm.functions.key import DECRYPT, DERIVE, ENCRYPT, MAC, Key
from isoswitch.hsm.functions.pin import PinFormat, PinKey, decrypt, encrypt, translate
from isoswitch.hsm.software import SoftwareEngine

TDES_BASE = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
AES_BASE = KeyValue(bytes.fromhex("FEDCBA9876543210F1F1F1F1F1F1F1F1"))
ZONE = KeyValue(bytes.fromhex("89E88CF7931444F334BD7547FC3F380C"))
TDES_KSN = bytes.fromhex("FFFF9876543210E00001")
AES_KSN = bytes.fromhex("123456789012345600000001")
PAN = Pan("4012345678909")


class Ladder:
    """A path of names: the key of a counter is the way to it."""

    def __init__(self) -> None:
        self.steps = 0
        self.released: list[str] = []
        self.path = DerivationPath("", step=self._step, release=self.released.append)

    def _step(self, key: str, counter: int) -> str:
        self.steps += 1
        return f"{key}/{counter:b}"


def way(counter: int) -> str:
    """Give the way to a counter by the standards' rule, bit by bit from the top."""
    reached, steps = 0, []
    for bit in reversed(range(counter.bit_length())):
        if counter & 1 << bit:
            reached |= 1 << bit
            steps.append(f"/{reached:b}")
    return "".join(steps)


@given(st.lists(st.integers(1, 2**32 - 1), min_size=1, max_size=20))
def test_a_remembered_path_leads_to_the_same_key_as_a_new_one(
    counters: list[int],
) -> None:
    ladder = Ladder()
    for counter in counters:
        assert ladder.path.get_key(counter) == way(counter)


def test_the_next_transaction_of_a_terminal_costs_one_step() -> None:
    ladder = Ladder()
    ladder.path.get_key(0x0FF00)
    for counter, following in pairwise(range(0x0FF00, 0x0FFFF)):
        before = ladder.steps
        ladder.path.get_key(following)
        assert ladder.steps - before == 1, (counter, following)


def test_a_repeated_counter_costs_nothing() -> None:
    ladder = Ladder()
    ladder.path.get_key(0b1011)
    ladder.path.get_key(0b1011)
    assert ladder.steps == 3


def test_a_path_releases_what_it_leaves_and_all_at_its_end() -> None:
    ladder = Ladder()
    ladder.path.get_key(0b1011)
    ladder.path.get_key(0b1100)
    assert ladder.released == ["/1000/1010/1011", "/1000/1010"]
    ladder.path.close()
    assert ladder.released[2:] == ["/1000/1100", "/1000", ""]


def test_the_terminal_silent_longest_is_forgotten() -> None:
    released: list[bytes] = []

    def start(terminal: bytes) -> DerivationPath[bytes]:
        def step(_key: bytes, counter: int) -> bytes:
            return terminal + bytes([counter])

        return DerivationPath(terminal, step=step, release=released.append)

    cache = PathCache(start, paths_max=2)
    first = cache.get_path(b"a")
    cache.get_path(b"b")
    assert cache.get_path(b"a") is first
    cache.get_path(b"c")
    assert released == [b"b"]
    assert cache.get_path(b"a") is first
    cache.close()
    assert sorted(released) == [b"a", b"b", b"c"]


SPLITS = {
    "TDES": (dukpt_tdes.split_ksn, TDES_KSN),
    "AES": (dukpt_aes.split_ksn, AES_KSN),
}
Split = Callable[[bytes], tuple[bytes, int]]


@pytest.mark.parametrize(("split", "ksn"), SPLITS.values(), ids=SPLITS)
def test_a_serial_number_cut_or_extended_is_refused(split: Split, ksn: bytes) -> None:
    for length in range(len(ksn)):
        with pytest.raises(DecodeError, match="field ksn"):
            split(ksn[:length])
    with pytest.raises(DecodeError, match="field ksn"):
        split(ksn + b"\x00")


@pytest.mark.parametrize(
    ("split", "ksn"),
    [
        pytest.param(dukpt_tdes.split_ksn, "FFFF9876543210E00000", id="TDES zero"),
        pytest.param(dukpt_tdes.split_ksn, "FFFF9876543210FFFC01", id="TDES 12 bits"),
        pytest.param(dukpt_aes.split_ksn, "123456789012345600000000", id="AES zero"),
        pytest.param(dukpt_aes.split_ksn, "12345678901234560003FFFE", id="AES 17 bits"),
    ],
)
def test_a_counter_that_no_terminal_uses_is_refused(split: Split, ksn: str) -> None:
    with pytest.raises(DecodeError, match="no terminal uses"):
        split(bytes.fromhex(ksn))


def tdes_pin_key(base: KeyValue, ksn: bytes, uses: frozenset[Use]) -> PinKey:
    engine = SoftwareEngine()
    terminals = TdesTerminals(BaseKey.load(engine, base))
    value = terminals.derive(ksn, TdesPurpose.PIN)
    return PinKey(Key.load(engine, value, Algorithm.TDES, uses), PinFormat.ISO_0)


def aes_pin_key(base: KeyValue, ksn: bytes, uses: frozenset[Use]) -> PinKey:
    loaded = Key.load(SoftwareEngine(), base, Algorithm.AES, DERIVE)
    terminals = AesTerminals(loaded, KeyKind.AES_128)
    key = terminals.derive(ksn, AesPurpose.PIN, KeyKind.AES_128, uses)
    return PinKey(key, PinFormat.ISO_4)


@pytest.mark.parametrize(
    ("pin_key", "base", "ksn"),
    [
        pytest.param(tdes_pin_key, TDES_BASE, TDES_KSN, id="TDES"),
        pytest.param(aes_pin_key, AES_BASE, AES_KSN, id="AES"),
    ],
)
def test_a_block_under_another_transaction_or_base_key_is_invalid(
    pin_key: Callable[[KeyValue, bytes, frozenset[Use]], PinKey],
    base: KeyValue,
    ksn: bytes,
) -> None:
    block = encrypt(Pin("1234"), PAN, pin_key(base, ksn, ENCRYPT), random=bytes)
    assert decrypt(block, PAN, pin_key(base, ksn, DECRYPT)) == Pin("1234")
    following = ksn[:-1] + bytes([ksn[-1] + 1])
    with pytest.raises(PinBlockInvalid):
        decrypt(block, PAN, pin_key(base, following, DECRYPT))
    with pytest.raises(PinBlockInvalid):
        decrypt(block, PAN, pin_key(ZONE, ksn, DECRYPT))


def test_a_terminal_block_is_translated_to_a_zone_key_in_the_token(
    engine: Engine,
) -> None:
    """The PIN key of a TDES terminal is in memory, the zone key in the engine."""
    source = tdes_pin_key(TDES_BASE, TDES_KSN, frozenset({Use.ENCRYPT, Use.DECRYPT}))
    target = Key.load(engine, ZONE, Algorithm.AES, ENCRYPT)
    block = encrypt(Pin("1234"), PAN, source)
    translated = translate(
        block, PAN, source=source, target=PinKey(target, PinFormat.ISO_4)
    )
    issuer = Key.load(engine, ZONE, Algorithm.AES, DECRYPT)
    assert decrypt(translated, PAN, PinKey(issuer, PinFormat.ISO_4)) == Pin("1234")


@pytest.mark.parametrize("purpose", list(TdesPurpose))
def test_each_purpose_has_a_key_of_its_own(purpose: TdesPurpose) -> None:
    terminals = TdesTerminals(BaseKey.load(SoftwareEngine(), TDES_BASE))
    values = {each: terminals.derive(TDES_KSN, each) for each in TdesPurpose}
    others = [value for each, value in values.items() if each is not purpose]
    assert values[purpose] not in others


@settings(max_examples=20)
@given(counter=st.integers(1, 2**32 - 1).filter(lambda n: n.bit_count() <= 16))
@pytest.mark.parametrize("kind", list(KeyKind))
def test_both_engines_derive_the_same_keys(
    softhsm: Engine, kind: KeyKind, counter: int
) -> None:
    ksn = AES_KSN[:8] + counter.to_bytes(4)
    answers = set()
    for engine in (softhsm, SoftwareEngine()):
        base = Key.load(engine, AES_BASE, Algorithm.AES, DERIVE)
        terminals = AesTerminals(base, KeyKind.AES_128)
        with terminals.derive(ksn, AesPurpose.MAC_BOTH, kind, MAC) as key:
            is_hmac = key.algorithm is Algorithm.HMAC
            answers.add(key.hmac(b"data") if is_hmac else key.cmac(b"data"))
        terminals.close()
        base.destroy()
    assert len(answers) == 1


def test_both_forms_of_a_base_key_are_destroyed_together() -> None:
    engine = SoftwareEngine()
    base = BaseKey.load(engine, TDES_BASE)
    base.destroy()
    for key in (base.key, base.variant):
        with pytest.raises(KeyRefused):
            key.ecb(bytes(8))


def test_terminals_forget_their_keys_with_all_that_was_made_of_them() -> None:
    base = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
    terminals = TdesTerminals(BaseKey.load(SoftwareEngine(), base))
    ksn = bytes.fromhex("FFFF9876543210E00008")
    value = terminals.derive(ksn, TdesPurpose.PIN)
    assert terminals._encryptor.cache_info().currsize > 0
    terminals.close()
    assert terminals._encryptor.cache_info().currsize == 0
    assert terminals.derive(ksn, TdesPurpose.PIN) == value
