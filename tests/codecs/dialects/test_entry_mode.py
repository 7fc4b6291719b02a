"""DE 22 in three editions, and its translation between them."""

from __future__ import annotations

from itertools import product

import pytest

from isoswitch.codecs.canonical.codes import EntryMode, PinEntry
from isoswitch.codecs.dialects import entry_mode
from isoswitch.codecs.dialects.entry_mode import Entry, read_1993, read_2003
from tests.shared import reference

ALL = list(product(EntryMode, PinEntry, (False, True)))


@pytest.mark.parametrize(
    ("code", "mode", "pin_entry"),
    [
        ("051", EntryMode.CHIP, PinEntry.CAPABLE),
        ("071", EntryMode.CONTACTLESS_CHIP, PinEntry.CAPABLE),
        ("022", EntryMode.STRIPE, PinEntry.INCAPABLE),
        ("901", EntryMode.STRIPE, PinEntry.CAPABLE),
        ("801", EntryMode.FALLBACK_STRIPE, PinEntry.CAPABLE),
        ("912", EntryMode.CONTACTLESS_STRIPE, PinEntry.INCAPABLE),
        ("012", EntryMode.MANUAL, PinEntry.INCAPABLE),
        ("032", EntryMode.QR, PinEntry.INCAPABLE),
        ("812", EntryMode.ECOMMERCE, PinEntry.INCAPABLE),
        ("102", EntryMode.ON_FILE, PinEntry.INCAPABLE),
        ("058", EntryMode.CHIP, PinEntry.INCAPABLE),
        ("057", EntryMode.CHIP, PinEntry.UNKNOWN),
        ("000", EntryMode.UNKNOWN, PinEntry.UNKNOWN),
    ],
)
def test_a_code_of_1987_reads(code: str, mode: EntryMode, pin_entry: PinEntry) -> None:
    assert entry_mode.ENTRIES_1987[code] == (mode, pin_entry)


@pytest.mark.parametrize(
    ("code", "mode", "pin_entry"),
    [
        # The samples of the public 1993 messages.
        ("21120121014C", EntryMode.STRIPE, PinEntry.CAPABLE),
        ("21010121314C", EntryMode.STRIPE, PinEntry.CAPABLE),
        ("51010151114C", EntryMode.CHIP, PinEntry.CAPABLE),
        ("600050S00000", EntryMode.ECOMMERCE, PinEntry.INCAPABLE),
        ("10002068    ", EntryMode.MANUAL, PinEntry.INCAPABLE),
        ("XXXXXXXXXXXX", EntryMode.UNKNOWN, PinEntry.UNKNOWN),
    ],
)
def test_a_code_of_1993_reads(code: str, mode: EntryMode, pin_entry: PinEntry) -> None:
    assert read_1993(code) == (mode, pin_entry)


@pytest.mark.parametrize("key", ALL)
def test_every_entry_is_written_in_every_edition(
    key: tuple[EntryMode, PinEntry, bool],
) -> None:
    mode, pin_entry, _ = key
    entry = Entry(mode, pin_entry)
    assert entry_mode.ENTRIES_1987[entry_mode.CODES_1987[key]] == entry
    assert entry_mode.ENTRIES_1987[entry_mode.CODES_SCHEME[key]] == entry
    assert entry_mode.CODES_SCHEME_4[key] == entry_mode.CODES_SCHEME[key] + "0"
    code = entry_mode.CODES_1993[key]
    assert len(code) == 12
    assert read_1993(code) == entry
    for value, (_, values) in zip(code, entry_mode.POSITIONS_1993, strict=True):
        assert value in values
    assert len(entry_mode.CODES_2003[key]) == 16
    assert read_2003(entry_mode.CODES_2003[key]).mode is mode


def test_2003_tells_a_pin_only_where_one_was_entered() -> None:
    with_pin = entry_mode.CODES_2003[EntryMode.CHIP, PinEntry.CAPABLE, True]
    without = entry_mode.CODES_2003[EntryMode.CHIP, PinEntry.CAPABLE, False]
    assert read_2003(with_pin).pin_entry is PinEntry.CAPABLE
    assert read_2003(without).pin_entry is PinEntry.UNKNOWN


@pytest.mark.parametrize("code", [b"", b"\xff", bytes(16), b"\xff" * 16])
def test_a_senseless_code_of_2003_is_unknown(code: bytes) -> None:
    assert read_2003(code).mode is EntryMode.UNKNOWN


def test_a_scheme_calls_a_full_stripe_90() -> None:
    key = (EntryMode.STRIPE, PinEntry.CAPABLE, True)
    assert entry_mode.CODES_SCHEME_4[key] == "9010"


def test_every_published_value_is_known() -> None:
    codes = reference("iso8583-codes.json")
    published = codes["pos_entry_mode_1987"]
    assert set(published["pan_entry"]) <= set(entry_mode.CARD_ENTRIES_1987)
    assert set(published["pin_capability"]) <= set(entry_mode.PIN_CAPABILITIES_1987)
    positions = [values for name, values in codes["pos_data_code_1993"].items()]
    for values, (_, known) in zip(positions, entry_mode.POSITIONS_1993, strict=True):
        assert set(values) - {"4-9"} <= set(known)
