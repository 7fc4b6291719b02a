"""Checks of published PIN blocks, PVVs and PIN offsets."""

from __future__ import annotations

from isoswitch.codecs.canonical.secrets import Pan, Pin, PinBlock
from isoswitch.hsm.engine import Algorithm, Engine
from isoswitch.hsm.functions import ibm3624, pin, pvv
from isoswitch.hsm.functions.key import DECRYPT, Key
from isoswitch.hsm.functions.pin import PinFormat, PinKey
from isoswitch.hsm.vectors.fields import Fields, expect, tdes, value


def check_pinblock_iso0(_engine: Engine, given: Fields, expected: Fields) -> None:
    """Check a clear block of format 0, both ways."""
    pan = Pan(given["pan"])
    block = PinBlock(bytes.fromhex(expected["block"]))
    expect(pin.encode(Pin(given["pin"]), pan, PinFormat.ISO_0), block)
    expect(pin.decode(block, pan, PinFormat.ISO_0), Pin(given["pin"]))


def check_pinblock_iso1(_engine: Engine, given: Fields, expected: Fields) -> None:
    """Check a clear block of format 1, both ways."""
    nibbles = given["transaction_field_nibbles"]
    filler = bytes(int(nibble, 16) for nibble in nibbles)
    pan = Pan("12345678")
    block = pin.encode(
        Pin(given["pin"]), pan, PinFormat.ISO_1, random=lambda length: filler[:length]
    )
    expect(block, PinBlock(bytes.fromhex(expected["block"])))
    expect(pin.decode(block, pan, PinFormat.ISO_1), Pin(given["pin"]))


def check_pinblock_iso3(_engine: Engine, given: Fields, expected: Fields) -> None:
    """Check that a clear block of format 3 gives its PIN."""
    block = PinBlock(bytes.fromhex(given["block"]))
    expect(pin.decode(block, Pan(given["pan"]), PinFormat.ISO_3), Pin(expected["pin"]))


def check_pinblock_iso4(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check that an encrypted block of format 4 gives its PIN."""
    key = Key.load(engine, value(given, "key"), Algorithm.AES, DECRYPT)
    block = bytes.fromhex(given["block"])
    # One vector has a PAN of one digit, which no card has; leading zeros do not
    # change the PAN field.
    pan = Pan(given["pan"].rjust(12, "0"))
    zone = PinKey(key, PinFormat.ISO_4)
    expect(pin.decrypt(PinBlock(block), pan, zone), Pin(expected["pin"]))


def check_visa_pvv(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check that a PIN verifies against its PVV."""
    pvv.verify_pvv(
        tdes(engine, value(given, "pvk")),
        Pin(given["pin"]),
        Pan(given.get("pan") or given["pan12"]),
        index=int(given["pvki"]),
        pvv=expected["pvv"],
    )


def check_ibm3624_offset(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check that a PIN verifies against its offset."""
    rule = ibm3624.Ibm3624Rule(
        table=given["dec_table"],
        start=given["verify_offset"],
        length=given["verify_length"],
        pad=given["pad"],
    )
    ibm3624.verify_offset(
        tdes(engine, value(given, "pvk")),
        Pin(given["pin"]),
        Pan(given["pan"]),
        rule,
        offset=expected["offset"],
    )
