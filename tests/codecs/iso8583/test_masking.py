"""Each kind of field is masked by its rule, and what is in doubt is hidden."""

from __future__ import annotations

import pytest

from isoswitch.codecs.iso8583.masking import mask_value, scan


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("4111111111111111", "411111******1111"),
        ("4111-1111-1111-1111", "411111*********1111"),
        ("100000000000001", "100000000000001"),
        ("000000001250", "000000001250"),
        ("00004111111111111111", "000041**********1111"),
        (
            "a 4111111111111111 b 5413330089010434",
            "a 411111******1111 b 541333******0434",
        ),
    ],
)
def test_only_what_may_be_a_card_number_is_masked(text: str, shown: str) -> None:
    assert scan(text) == shown


@pytest.mark.parametrize(
    ("value", "masking", "shown"),
    [
        ("", "pan", ""),
        ("47617390*1010010", "pan", "*" * 16),
        ("837", "pan", "***"),
        (b"4761739001010010", "pan", "*** (16 bytes)"),
        (b"4761739001010010=3112", "track", "*** (21 bytes)"),
        ("12345678=2912101", "track", "******** and 8 more"),
        ("0000000000000000", "show", "0000000000000000"),
        ("%B4111111111111111^DOE/J^2912101", "track", "411111******1111 and 14 more"),
        (";4111111111111111=2912101", "track", "411111******1111 and 8 more"),
        ("nonsense", "track", "*** (8 characters)"),
        ("abc", "hide", "*** (3 characters)"),
        (b"\x41\x11", "show", "4111"),
        (b"4111111111111111", "show", "*** (16 bytes)"),
        ("4111111111111111".encode("cp500"), "show", "*** (16 bytes)"),
        ("to 4111111111111112=29121010000", "show", "to 411111******1112=***********"),
        ("a\x1cb\x00", "show", "a\N{MIDDLE DOT}b\N{MIDDLE DOT}"),
    ],
)
def test_each_masking_fails_closed(
    value: str | bytes, masking: str, shown: str
) -> None:
    assert mask_value(value, masking) == shown  # type: ignore[arg-type]
