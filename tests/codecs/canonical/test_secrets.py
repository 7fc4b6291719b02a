"""Secrets print masked in every way and fail closed."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.secrets import (
    KeyValue,
    Pan,
    Pin,
    PinBlock,
    Secret,
    Track2,
    mask_pan,
)

SECRETS: list[Secret[str] | Secret[bytes]] = [
    Pan("4761739001010010"),
    Track2("4761739001010010=31122011212120531127"),
    Pin("1234"),
    PinBlock(bytes.fromhex("041277cddeeff669")),
    KeyValue(bytes.fromhex("0123456789abcdeffedcba9876543210")),
]
SHOWS: list[Callable[[object], str]] = [
    str,
    repr,
    format,
    lambda secret: f"{secret:>40}",
    lambda secret: "%s %r" % (secret, secret),  # noqa: UP031  old forms leak too
    lambda secret: repr([secret, {"key": secret}]),
]


@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: type(secret).__name__)
def test_no_text_form_shows_a_secret(secret: Secret[str] | Secret[bytes]) -> None:
    clear = secret.reveal()
    text = clear if isinstance(clear, str) else clear.hex()
    for show in SHOWS:
        assert text not in show(secret).lower()
        assert repr(clear) not in show(secret)


@pytest.mark.parametrize("copier", [pickle.dumps, copy.deepcopy, copy.copy])
def test_a_secret_is_never_serialised(copier: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="Pan is never serialised"):
        copier(Pan("4111111111111111"))


def test_secrets_are_equal_by_type_and_value() -> None:
    assert Pan("4111111111111111") == Pan("4111111111111111")
    assert Pan("4111111111111111") != Pan("4761739001010010")
    assert Secret("1234") != Pin("1234")
    assert Pin("1234") != "1234"
    assert len({Pan("4111111111111111"), Pan("4111111111111111")}) == 1


@pytest.mark.parametrize("digits", ["", "1234567", "1" * 20, "4111 1111", "٣" * 16])
def test_what_is_no_card_number_is_refused_without_showing_it(digits: str) -> None:
    with pytest.raises(ValueError, match="8 to 19 digits") as caught:
        Pan(digits)
    assert not digits or digits not in str(caught.value)


@given(st.text("0123456789", min_size=13, max_size=19))
def test_a_masked_number_keeps_its_length_and_ten_digits(digits: str) -> None:
    masked = mask_pan(digits)
    assert masked == digits[:6] + "*" * (len(digits) - 10) + digits[-4:]


@given(st.text("0123456789", max_size=12))
def test_of_a_number_too_short_for_a_card_nothing_stays(digits: str) -> None:
    assert mask_pan(digits) == "*" * len(digits)


def test_the_leading_digits_are_at_most_a_bin() -> None:
    pan = Pan("4761739001010010")
    assert (pan.leading(6), pan.leading(16)) == ("476173", "47617390")


def test_the_digits_of_a_lookup_are_eleven_at_most() -> None:
    assert Pan("4761739001010010").lookup_digits == "47617390010"
    assert Pan("47617390").lookup_digits == "47617390"
