"""Cryptograms against pyemv on random input, and their negative twins."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import pyemv.ac
import pyemv.cvn
import pyemv.kd
import pyemv.sm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue, Pan
from isoswitch.hsm.engine import Algorithm, Engine, Use
from isoswitch.hsm.functions import emv
from isoswitch.hsm.functions.emv import CardKeyOption, CryptogramVersion
from isoswitch.hsm.functions.kcv import legacy_kcv
from isoswitch.hsm.functions.key import Key, KeyPair
from isoswitch.hsm.software import SoftwareEngine

KEY = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
OTHER_KEY = KeyValue(bytes.fromhex("89E88CF7931444F334BD7547FC3F380C"))
PAN = Pan("1234567890123456")
ATC = bytes.fromhex("001C")
NUMBER = bytes.fromhex("ABCDEF12")
ARQC = bytes.fromhex("1122334455667788")
DATA = bytes.fromhex("00000000400000000000000001248000048000012419110501")

PADDINGS = {1: pyemv.ac.PaddingType.VISA, 2: pyemv.ac.PaddingType.EMV}

keys = st.binary(min_size=16, max_size=16).map(KeyValue)
pans = st.text("0123456789", min_size=12, max_size=19).map(Pan)
counters = st.binary(min_size=2, max_size=2)
numbers = st.binary(min_size=4, max_size=4)


def master(engine: Engine, value: KeyValue = KEY) -> Key:
    uses = frozenset({Use.DERIVE, Use.ENCRYPT})
    return Key.load(engine, value, Algorithm.TDES, uses)


def their_session_key(
    version: CryptogramVersion, card_key: bytes, atc: bytes, number: bytes
) -> bytes:
    diversifiers = {
        emv.SessionKey.COMMON: atc + bytes(6),
        emv.SessionKey.MCHIP: atc + bytes(2) + number,
    }
    if version.session is emv.SessionKey.NONE:
        return card_key
    return pyemv.kd.derive_common_sk(card_key, diversifiers[version.session])


@pytest.mark.parametrize("version", emv.VERSIONS.values(), ids=emv.VERSIONS)
@settings(max_examples=20)
@given(
    key=keys,
    pan=pans,
    atc=counters,
    number=numbers,
    data=st.binary(min_size=1, max_size=60),
)
def test_an_arqc_of_pyemv_verifies_and_a_flipped_one_does_not(
    version: CryptogramVersion,
    *,
    key: KeyValue,
    pan: Pan,
    atc: bytes,
    number: bytes,
    data: bytes,
) -> None:
    theirs = pyemv.kd.derive_icc_mk_b(key.reveal(), pan.reveal(), "01")
    session = their_session_key(version, theirs, atc, number)
    arqc = pyemv.ac.generate_ac(session, data, PADDINGS[version.padding])
    card_key = emv.derive_card_key(
        master(SoftwareEngine(), key), pan, sequence="01", option=CardKeyOption.B
    )
    emv.verify_arqc(card_key, version, data, atc=atc, unpredictable=number, arqc=arqc)
    flipped = arqc[:-1] + bytes([arqc[-1] ^ 1])
    with pytest.raises(VerificationFailed):
        emv.verify_arqc(
            card_key, version, data, atc=atc, unpredictable=number, arqc=flipped
        )


@settings(max_examples=20)
@given(key=keys, arqc=st.binary(min_size=8, max_size=8), atc=counters)
def test_both_arpc_methods_agree_with_pyemv(
    key: KeyValue, arqc: bytes, atc: bytes
) -> None:
    theirs = pyemv.kd.derive_icc_mk_a(key.reveal(), PAN.reveal(), "00")
    card_key = emv.derive_card_key(master(SoftwareEngine(), key), PAN)
    made = emv.make_arpc(
        card_key,
        emv.VISA_CVN10,
        atc=atc,
        unpredictable=NUMBER,
        arqc=arqc,
        answer=b"00",
    )
    assert made == pyemv.ac.generate_arpc_1(theirs, arqc, b"00")
    session = pyemv.kd.derive_common_sk(theirs, atc + bytes(6))
    made = emv.make_arpc(
        card_key,
        emv.VISA_CVN18,
        atc=atc,
        unpredictable=NUMBER,
        arqc=arqc,
        answer=bytes(4) + b"extra",
    )
    assert made == pyemv.ac.generate_arpc_2(session, arqc, bytes(4), b"extra")


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("visa-10", pyemv.cvn.VisaCVN10),
        ("visa-18", pyemv.cvn.VisaCVN18),
        ("visa-22", pyemv.cvn.VisaCVN22),
        ("mastercard-16", pyemv.cvn.MasterCardCVN16),
        ("mastercard-21", pyemv.cvn.MasterCardCVN21),
    ],
)
def test_a_script_mac_agrees_with_pyemv(
    engine: Engine, name: str, theirs: type
) -> None:
    """pyemv puts counter and cryptogram behind the command header itself."""
    header = bytes.fromhex("8424000008")
    scheme = theirs(KEY.reveal(), OTHER_KEY.reveal(), KEY.reveal(), PAN.reveal(), "00")
    published = scheme.generate_command_mac(header, tag_9f26=ARQC, tag_9f36=ATC)
    made = emv.make_script_mac(
        master(engine, OTHER_KEY),
        emv.VERSIONS[name],
        PAN,
        header + ATC + ARQC,
        atc=ATC,
        arqc=ARQC,
    )
    assert made[: len(published)] == published


@pytest.mark.parametrize("pan", ["12345678", "1234567890123456", "1234567890123456789"])
@pytest.mark.parametrize(
    ("option", "theirs"),
    [
        (CardKeyOption.A, pyemv.kd.derive_icc_mk_a),
        (CardKeyOption.B, pyemv.kd.derive_icc_mk_b),
    ],
)
def test_a_card_key_is_that_of_pyemv(
    engine: Engine, option: CardKeyOption, theirs: object, pan: str
) -> None:
    assert callable(theirs)
    expected = KeyValue(theirs(KEY.reveal(), pan, "45"))
    card_key = emv.derive_card_key(
        master(engine), Pan(pan), sequence="45", option=option
    )
    loaded = KeyPair.load(engine, expected, frozenset({Use.ENCRYPT}))
    assert legacy_kcv(card_key.full, length=8) == legacy_kcv(loaded.full, length=8)
    assert legacy_kcv(card_key.single, length=8) == legacy_kcv(loaded.single, length=8)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One verification of an M/Chip cryptogram; what is not said is right."""

    arqc: bytes
    key: KeyValue = KEY
    pan: Pan = PAN
    sequence: str = "00"
    data: bytes = DATA
    atc: bytes = ATC
    number: bytes = NUMBER

    def verify(self, engine: Engine) -> None:
        card_key = emv.derive_card_key(
            master(engine, self.key), self.pan, sequence=self.sequence
        )
        emv.verify_arqc(
            card_key,
            emv.MCHIP_SKD,
            self.data,
            atc=self.atc,
            unpredictable=self.number,
            arqc=self.arqc,
        )


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"key": OTHER_KEY}, id="another key"),
        pytest.param({"pan": Pan("1234567890123457")}, id="another card"),
        pytest.param({"sequence": "01"}, id="another sequence number"),
        pytest.param({"data": DATA + b"\x01"}, id="other data"),
        pytest.param({"atc": b"\x00\x1d"}, id="another counter"),
        pytest.param({"number": bytes(4)}, id="another number"),
        pytest.param({"atc": b"\x1c"}, id="counter of one byte"),
        pytest.param({"number": bytes(3)}, id="number of three bytes"),
        pytest.param({"arqc": bytes(7)}, id="seven bytes"),
        pytest.param({"arqc": b""}, id="no cryptogram"),
    ],
)
def test_a_cryptogram_of_anything_else_does_not_verify(
    engine: Engine, change: dict[str, Any]
) -> None:
    theirs = pyemv.kd.derive_icc_mk_a(KEY.reveal(), PAN.reveal(), "00")
    session = their_session_key(emv.MCHIP_SKD, theirs, ATC, NUMBER)
    right = Attempt(arqc=pyemv.ac.generate_ac(session, DATA))
    right.verify(engine)
    with pytest.raises(VerificationFailed):
        replace(right, **change).verify(engine)


@pytest.mark.parametrize(
    ("version", "atc", "arqc"),
    [
        pytest.param(emv.VISA_CVN10, b"\x1c", ARQC, id="counter of one byte"),
        pytest.param(emv.VISA_CVN22, ATC, ARQC[:7], id="cryptogram of seven bytes"),
    ],
)
def test_a_script_mac_needs_counter_and_cryptogram_in_full(
    version: CryptogramVersion, atc: bytes, arqc: bytes
) -> None:
    with pytest.raises(VerificationFailed):
        emv.make_script_mac(
            master(SoftwareEngine()), version, PAN, b"command", atc=atc, arqc=arqc
        )


def test_a_digest_without_enough_digits_is_filled_with_its_letters() -> None:
    """EMV Book 2, A1.4.2: the PAN's digest has fewer than 16 decimal digits."""
    pan = _pan_with_few_digits()
    theirs = pyemv.kd.derive_icc_mk_b(KEY.reveal(), pan.reveal(), "00")
    engine = SoftwareEngine()
    card_key = emv.derive_card_key(master(engine), pan, option=CardKeyOption.B)
    loaded = KeyPair.load(engine, KeyValue(theirs), frozenset({Use.ENCRYPT}))
    assert legacy_kcv(card_key.full) == legacy_kcv(loaded.full)


def _pan_with_few_digits() -> Pan:
    for number in range(10**17, 10**17 + 10**5):
        digest = hashlib.sha1(bytes.fromhex(f"{number}00")).hexdigest()
        if sum(nibble.isdecimal() for nibble in digest) < 16:
            return Pan(str(number))
    raise AssertionError
