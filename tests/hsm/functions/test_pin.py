"""PIN blocks against ISO 9564-1, psec, and their negative twins."""

from __future__ import annotations

from itertools import product

import psec.pinblock
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import KeyRefused, PinBlockInvalid
from isoswitch.codecs.canonical.secrets import KeyValue, Pan, Pin, PinBlock
from isoswitch.hsm.engine import Algorithm, Engine, Use
from isoswitch.hsm.functions.key import DECRYPT, ENCRYPT, Key
from isoswitch.hsm.functions.pin import (
    PERMITTED,
    PinFormat,
    PinKey,
    decode,
    decrypt,
    encode,
    encrypt,
    translate,
)
from isoswitch.hsm.software import SoftwareEngine

PAN = Pan("5544332211009966")
OTHER_PAN = Pan("5544332291009966")
SOURCE = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
TARGET = KeyValue(bytes.fromhex("89E88CF7931444F334BD7547FC3F380C"))
BOTH = frozenset({Use.ENCRYPT, Use.DECRYPT})

# psec knows no PAN under 13 digits.
pans = st.text("0123456789", min_size=13, max_size=19).map(Pan)
pins = st.text("0123456789", min_size=4, max_size=12).map(Pin)


def pin_key(
    engine: Engine,
    pin_format: PinFormat,
    value: KeyValue = SOURCE,
    uses: frozenset[Use] = BOTH,
) -> PinKey:
    is_aes = pin_format is PinFormat.ISO_4
    algorithm = Algorithm.AES if is_aes else Algorithm.TDES
    return PinKey(Key.load(engine, value, algorithm, uses), pin_format)


@pytest.mark.parametrize(("source", "target"), sorted(PERMITTED))
def test_a_permitted_translation_keeps_the_pin(
    engine: Engine, source: PinFormat, target: PinFormat
) -> None:
    block = encrypt(Pin("12345"), PAN, pin_key(engine, source))
    inbound = pin_key(engine, source, SOURCE, DECRYPT)
    outbound = pin_key(engine, target, TARGET, ENCRYPT)
    translated = translate(block, PAN, source=inbound, target=outbound)
    issuer = pin_key(engine, target, TARGET, DECRYPT)
    assert decrypt(translated, PAN, issuer) == Pin("12345")


@pytest.mark.parametrize(
    ("source", "target"), sorted(set(product(PinFormat, PinFormat)) - PERMITTED)
)
def test_a_block_bound_to_a_card_never_becomes_one_that_is_not(
    source: PinFormat, target: PinFormat
) -> None:
    """PCI PIN 3-3."""
    engine = SoftwareEngine()
    block = encrypt(Pin("12345"), PAN, pin_key(engine, source))
    with pytest.raises(KeyRefused):
        translate(
            block, PAN, source=pin_key(engine, source), target=pin_key(engine, target)
        )
    assert target is PinFormat.ISO_1


@pytest.mark.parametrize(
    ("pin_format", "algorithm"),
    [
        (PinFormat.ISO_0, Algorithm.AES),
        (PinFormat.ISO_1, Algorithm.AES),
        (PinFormat.ISO_3, Algorithm.AES),
        (PinFormat.ISO_4, Algorithm.TDES),
    ],
)
def test_aes_goes_with_format_4_and_with_nothing_else(
    pin_format: PinFormat, algorithm: Algorithm
) -> None:
    key = Key.load(SoftwareEngine(), SOURCE, algorithm, BOTH)
    with pytest.raises(KeyRefused):
        PinKey(key, pin_format)


@pytest.mark.parametrize(
    "pin_format", [PinFormat.ISO_0, PinFormat.ISO_3, PinFormat.ISO_4]
)
def test_a_block_of_another_card_is_invalid(
    engine: Engine, pin_format: PinFormat
) -> None:
    """The PAN differs under the filler, in a bit that every filler shows."""
    key = pin_key(engine, pin_format)
    block = encrypt(Pin("1234"), PAN, key)
    with pytest.raises(PinBlockInvalid):
        decrypt(block, OTHER_PAN, key)


@pytest.mark.parametrize("pin_format", list(PinFormat))
def test_a_block_under_another_key_or_with_a_flipped_bit_is_invalid(
    engine: Engine, pin_format: PinFormat
) -> None:
    key = pin_key(engine, pin_format)
    block = encrypt(Pin("1234"), PAN, key, random=bytes)
    with pytest.raises(PinBlockInvalid):
        decrypt(block, PAN, pin_key(engine, pin_format, TARGET))
    flipped = block.reveal()[:-1] + bytes([block.reveal()[-1] ^ 1])
    with pytest.raises(PinBlockInvalid):
        decrypt(PinBlock(flipped), PAN, key)


@pytest.mark.parametrize("pin_format", list(PinFormat))
@pytest.mark.parametrize("length", [0, 7, 9, 15, 17, 32])
def test_an_encrypted_block_of_a_wrong_length_is_invalid(
    pin_format: PinFormat, length: int
) -> None:
    key = pin_key(SoftwareEngine(), pin_format)
    with pytest.raises(PinBlockInvalid):
        decrypt(PinBlock(bytes(length)), PAN, key)


# ISO 9564-1, 9.3: control nibble, length, PIN, filler; everything else is malformed.
MALFORMED = {
    "control nibble": (PinFormat.ISO_1, "0412349999999999"),
    "length of three": (PinFormat.ISO_1, "1312349999999999"),
    "length of thirteen": (PinFormat.ISO_1, "1D12349999999999"),
    "length of fifteen": (PinFormat.ISO_1, "1F12345678901234"),
    "letter in the PIN": (PinFormat.ISO_1, "1412A49999999999"),
    "random filler in format 0": (PinFormat.ISO_0, "041234FFFFFFFFFE"),
    "digit in the filler of format 3": (PinFormat.ISO_3, "341234ABCDEFABC9"),
    "filler of format 0 in format 4": (PinFormat.ISO_4, "441234FFFFFFFFFF" * 2),
    "seven bytes": (PinFormat.ISO_1, "14123499999999"),
    "half a format 4 field": (PinFormat.ISO_4, "441234AAAAAAAAAA"),
}


@pytest.mark.parametrize(("pin_format", "block"), MALFORMED.values(), ids=MALFORMED)
def test_every_malformed_block_gets_the_same_answer(
    pin_format: PinFormat, block: str
) -> None:
    """Which part is wrong would tell an attacker about the PIN."""
    with pytest.raises(PinBlockInvalid, match=r"^the PIN block is not valid$"):
        decode(PinBlock(bytes.fromhex(block)), Pan("00000000000000"), pin_format)


@pytest.mark.parametrize(
    "digits", ["", "123", "1234567890123", "12a4", "\u0661\u0662\u0663\u0664"]
)
def test_a_pin_that_is_not_4_to_12_digits_is_not_encoded(digits: str) -> None:
    with pytest.raises(ValueError, match="4 to 12 digits") as error:
        encode(Pin(digits), PAN, PinFormat.ISO_0)
    assert digits == "" or digits not in str(error.value)


@given(pin=pins, pan=pans, pin_format=st.sampled_from(PinFormat))
def test_what_is_encoded_decodes(pin: Pin, pan: Pan, pin_format: PinFormat) -> None:
    assert decode(encode(pin, pan, pin_format), pan, pin_format) == pin


@given(pin=pins, pan=pans)
def test_formats_0_and_3_agree_with_psec(pin: Pin, pan: Pan) -> None:
    clear = encode(pin, pan, PinFormat.ISO_0).reveal()
    assert clear == psec.pinblock.encode_pinblock_iso_0(pin.reveal(), pan.reveal())
    theirs = psec.pinblock.encode_pinblock_iso_3(pin.reveal(), pan.reveal())
    assert decode(PinBlock(theirs), pan, PinFormat.ISO_3) == pin


@given(pin=pins, pan=pans, key=st.binary(min_size=16, max_size=16))
def test_format_4_agrees_with_psec_both_ways(pin: Pin, pan: Pan, key: bytes) -> None:
    zone = pin_key(SoftwareEngine(), PinFormat.ISO_4, KeyValue(key))
    ours = encrypt(pin, pan, zone).reveal()
    theirs = psec.pinblock.encipher_pinblock_iso_4(key, pin.reveal(), pan.reveal())
    assert (
        psec.pinblock.decipher_pinblock_iso_4(key, ours, pan.reveal()) == pin.reveal()
    )
    assert decrypt(PinBlock(theirs), pan, zone) == pin


@given(block=st.binary(max_size=20), pin_format=st.sampled_from(PinFormat))
def test_random_bytes_give_a_pin_or_the_one_error(
    block: bytes, pin_format: PinFormat
) -> None:
    try:
        pin = decode(PinBlock(block), PAN, pin_format)
    except PinBlockInvalid:
        return
    assert pin.reveal().isdecimal()
