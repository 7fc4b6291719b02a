"""CVV, CVC3, PVV and PIN offset: verified here, made by the issuer's own code."""

from __future__ import annotations

import psec.cvv
import psec.pin
import pyemv.cvv
import pyemv.kd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import ConfigError, VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue, Pan, Pin, Secret
from isoswitch.hsm.engine import Algorithm, Engine
from isoswitch.hsm.functions import cvv
from isoswitch.hsm.functions.emv import derive_card_key
from isoswitch.hsm.functions.ibm3624 import Ibm3624Rule, verify_offset
from isoswitch.hsm.functions.key import DERIVE, ENCRYPT, Key, KeyPair
from isoswitch.hsm.functions.pvv import verify_pvv
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.simulators import card_values

KEY = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
OTHER_KEY = KeyValue(bytes.fromhex("89E88CF7931444F334BD7547FC3F380C"))
PAN = Pan("4123456789012345")
OTHER_PAN = Pan("4123456789012355")
TABLE = "0123456789012345"

keys = st.binary(min_size=16, max_size=16).map(KeyValue)
pans = st.text("0123456789", min_size=13, max_size=19).map(Pan)
pins = st.text("0123456789", min_size=4, max_size=12).map(Pin)
fours = st.text("0123456789", min_size=4, max_size=4)
threes = st.text("0123456789", min_size=3, max_size=3)


def pair(engine: Engine, value: KeyValue = KEY) -> KeyPair:
    return KeyPair.load(engine, value, ENCRYPT)


def single(engine: Engine, value: KeyValue = KEY) -> Key:
    return Key.load(engine, value, Algorithm.TDES, ENCRYPT)


def card_key(engine: Engine, value: KeyValue = KEY, pan: Pan = PAN) -> KeyPair:
    return derive_card_key(Key.load(engine, value, Algorithm.TDES, DERIVE), pan)


@pytest.mark.parametrize(
    ("key", "pan", "expiry", "service_code", "value"),
    [
        pytest.param(OTHER_KEY, PAN, "8701", "101", "561", id="another key"),
        pytest.param(KEY, OTHER_PAN, "8701", "101", "561", id="another card"),
        pytest.param(KEY, PAN, "8702", "101", "561", id="another expiry"),
        pytest.param(KEY, PAN, "8701", "201", "561", id="another service code"),
        pytest.param(KEY, PAN, "8701", "101", "562", id="another digit"),
        pytest.param(KEY, PAN, "8701", "101", "56", id="two digits"),
        pytest.param(KEY, PAN, "8701", "101", "", id="nothing"),
        pytest.param(KEY, PAN, "8701", "101", "5610", id="four digits"),
    ],
)
def test_a_wrong_cvv_does_not_verify(
    engine: Engine,
    *,
    key: KeyValue,
    pan: Pan,
    expiry: str,
    service_code: str,
    value: str,
) -> None:
    with pytest.raises(VerificationFailed):
        cvv.verify_cvv(
            pair(engine, key),
            pan,
            expiry=expiry,
            service_code=service_code,
            cvv=Secret(value),
        )


@settings(max_examples=40)
@given(key=keys, pan=pans, expiry=fours, service_code=threes)
def test_cvvs_of_the_issuer_and_of_psec_verify(
    key: KeyValue, pan: Pan, expiry: str, service_code: str
) -> None:
    made = card_values.make_cvv(key, pan, expiry=expiry, service_code=service_code)
    theirs = psec.cvv.generate_cvv(key.reveal(), pan.reveal(), expiry, service_code)
    assert made.reveal() == theirs
    loaded = pair(SoftwareEngine(), key)
    cvv.verify_cvv(loaded, pan, expiry=expiry, service_code=service_code, cvv=made)


@settings(max_examples=40)
@given(pan=pans, atc=st.integers(0, 0xFFFF), expiry=fours, service_code=threes)
def test_a_dcvv_holds_for_its_counter_only(
    pan: Pan, atc: int, expiry: str, service_code: str
) -> None:
    value = card_values.make_card_key(KEY, pan)
    made = card_values.make_dcvv(
        value, pan, expiry=expiry, service_code=service_code, atc=atc
    )
    key = card_key(SoftwareEngine(), pan=pan)
    cvv.verify_dcvv(
        key, pan, expiry=expiry, service_code=service_code, atc=atc, dcvv=made
    )
    wrong = Secret(str((int(made.reveal()) + 1) % 1000).zfill(3))
    with pytest.raises(VerificationFailed):
        cvv.verify_dcvv(
            key, pan, expiry=expiry, service_code=service_code, atc=atc, dcvv=wrong
        )


@settings(max_examples=40)
@given(
    key=keys,
    track=st.binary(min_size=1, max_size=24).map(Secret),
    unpredictable=st.binary(min_size=4, max_size=4),
    atc=st.integers(0, 0xFFFF),
)
def test_a_cvc3_of_the_issuer_and_of_pyemv_verifies(
    key: KeyValue, track: Secret[bytes], unpredictable: bytes, atc: int
) -> None:
    value = card_values.make_card_key(key, PAN)
    made = card_values.make_cvc3(value, track, unpredictable=unpredictable, atc=atc)
    master = pyemv.kd.derive_icc_mk_a(key.reveal(), PAN.reveal(), "00")
    theirs = pyemv.cvv.generate_cvc3(
        master, track.reveal(), atc.to_bytes(2), unpredictable
    )
    assert made.reveal() == theirs.zfill(5)
    loaded = card_key(SoftwareEngine(), key)
    static = cvv.static_cvc3(loaded, track)
    for digits in (made.reveal(), made.reveal()[-3:]):
        cvv.verify_cvc3(
            loaded,
            static=static,
            unpredictable=unpredictable,
            atc=atc,
            cvc3=Secret(digits),
        )


@pytest.mark.parametrize(
    ("atc", "unpredictable", "digits"),
    [
        pytest.param(0x5F, "00000899", "488", id="another counter"),
        pytest.param(0x5E, "00000898", "488", id="another number"),
        pytest.param(0x5E, "00000899", "489", id="another digit"),
        pytest.param(0x5E, "00000899", "88", id="two digits"),
        pytest.param(0x5E, "00000899", "029488", id="six digits"),
    ],
)
def test_a_wrong_cvc3_does_not_verify(
    engine: Engine, atc: int, unpredictable: str, digits: str
) -> None:
    """Around the value of github.com/knovichikhin/pyemv tests/test_cvv_hsm.py."""
    master = KeyValue(bytes.fromhex("01234567899876543210012345678998"))
    key = card_key(engine, master, Pan("5123456789012345"))
    track = bytes.fromhex("5123456789012345D35121010000000000000F")
    static = cvv.static_cvc3(key, Secret(track))
    with pytest.raises(VerificationFailed):
        cvv.verify_cvc3(
            key,
            static=static,
            unpredictable=bytes.fromhex(unpredictable),
            atc=atc,
            cvc3=Secret(digits),
        )


@settings(max_examples=40)
@given(key=keys, pan=pans, pin=pins, index=st.integers(0, 9))
def test_pvvs_of_the_issuer_and_of_psec_verify(
    key: KeyValue, pan: Pan, pin: Pin, index: int
) -> None:
    made = card_values.make_pvv(key, pin, pan, index=index)
    theirs = psec.pin.generate_visa_pvv(
        key.reveal(), str(index), pin.reveal()[:4], pan.reveal()
    )
    assert made == theirs
    verify_pvv(single(SoftwareEngine(), key), pin, pan, index=index, pvv=made)


@pytest.mark.parametrize(
    ("key", "pan", "pin", "index", "pvv"),
    [
        pytest.param(OTHER_KEY, "1122334455667788", "1912", 2, "3244", id="key"),
        pytest.param(KEY, "1122334455667798", "1912", 2, "3244", id="card"),
        pytest.param(KEY, "1122334455667788", "1913", 2, "3244", id="PIN"),
        pytest.param(KEY, "1122334455667788", "1912", 3, "3244", id="key number"),
        pytest.param(KEY, "1122334455667788", "1912", 2, "3245", id="PVV"),
        pytest.param(KEY, "1122334455667788", "1912", 2, "", id="no PVV"),
        pytest.param(KEY, "1122334455667788", "1912", 2, "３２４４", id="other digits"),  # noqa: RUF001 the point
    ],
)
def test_a_wrong_pin_or_pvv_does_not_verify(
    engine: Engine, *, key: KeyValue, pan: str, pin: str, index: int, pvv: str
) -> None:
    with pytest.raises(VerificationFailed):
        verify_pvv(single(engine, key), Pin(pin), Pan(pan), index=index, pvv=pvv)


@settings(max_examples=40)
@given(key=keys, pan=pans, pin=pins)
def test_offsets_of_the_issuer_and_of_psec_verify(
    key: KeyValue, pan: Pan, pin: Pin
) -> None:
    made = card_values.make_offset(key, pin, pan, table=TABLE, length=12)
    theirs = psec.pin.generate_ibm3624_offset(
        key.reveal(), TABLE, pin.reveal(), pan.reveal(), 0, 12, "F"
    )
    assert made == theirs
    rule = Ibm3624Rule(table=TABLE, length=12)
    verify_offset(single(SoftwareEngine(), key), pin, pan, rule, offset=made)


@pytest.mark.parametrize(
    ("key", "pan", "pin", "offset"),
    [
        pytest.param(OTHER_KEY, "1122334455667788", "1234", "7710", id="key"),
        pytest.param(KEY, "1122334455667789", "1234", "7710", id="card"),
        pytest.param(KEY, "1122334455667788", "1235", "7710", id="PIN"),
        pytest.param(KEY, "1122334455667788", "1234", "7711", id="offset"),
        pytest.param(KEY, "1122334455667788", "1234", "771", id="three digits"),
        pytest.param(KEY, "1122334455667788", "1234", "", id="no offset"),
        pytest.param(KEY, "1122334455667788", "1234", "77100", id="longer than PIN"),
    ],
)
def test_a_wrong_pin_or_offset_does_not_verify(
    engine: Engine, key: KeyValue, pan: str, pin: str, offset: str
) -> None:
    rule = Ibm3624Rule(table="1234567890123456")
    with pytest.raises(VerificationFailed):
        verify_offset(single(engine, key), Pin(pin), Pan(pan), rule, offset=offset)


@pytest.mark.parametrize(
    ("table", "pad"),
    [
        pytest.param("012345678901234", "F", id="15 digits"),
        pytest.param("012345678901234A", "F", id="letter"),
        pytest.param("0" * 16, "F", id="one digit only"),
        pytest.param("0000000001111111", "F", id="two digits only"),
        pytest.param(TABLE, "G", id="no nibble"),
        pytest.param(TABLE, "", id="no padding"),
    ],
)
def test_a_table_that_gives_the_pin_away_is_refused(table: str, pad: str) -> None:
    with pytest.raises(ConfigError):
        Ibm3624Rule(table=table, pad=pad)


@pytest.mark.parametrize(("start", "length"), [(-1, 16), (0, 3), (0, 17)])
def test_validation_data_is_a_part_of_the_pan(start: int, length: int) -> None:
    with pytest.raises(ConfigError):
        Ibm3624Rule(table=TABLE, start=start, length=length)
