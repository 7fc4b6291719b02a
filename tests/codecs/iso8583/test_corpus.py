"""Real messages decode to their known fields and are built again byte for byte."""

from __future__ import annotations

from typing import Any

import cardutil.config
import cardutil.iso8583
import pytest
import starkbank.iso8583

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.iso8583.codec import Codec, compile_spec
from isoswitch.codecs.iso8583.imports import import_pyiso8583
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.iso8583.specs import get_codec
from tests.codecs.vectors import vectors
from tests.shared import corpus

ESSENTIAL = vectors("iso8583_messages.json")
REFUSED = vectors("iso8583_refused.json")

FAMILIES = (
    "amex",
    "ascii87",
    "bcd87",
    "cup-pos",
    "cups",
    "iso93",
    "mastercard",
    "mixed-hosts",
    "moov-fixed-bitmap",
    "pos-bcd",
    "visa",
)

# Layouts of one sample each: they are read through their own specification only.
IMPORTED_ONLY = {"iso87-ascii-llll", "rust-sample-spec"}

# The second map is used while bit 1 is off.
NOT_IN_PYISO8583 = {"moov-ascii-fixed128-bitmap", "moov-spec87ascii"}


def shown(message: Message) -> dict[str, str]:
    """The values as the corpus writes them."""
    return {
        str(de): value.hex().upper() if isinstance(value, bytes) else value
        for de, value in message.values().items()
    }


def check(codec: Codec, raw: bytes, fields: dict[str, str], mti: str) -> None:
    for _ in range(2):
        # First field by field, then as a message of a known kind.
        message = codec.decode(raw)
        assert (message.mti, shown(message)) == (mti, fields)
        built = codec.build(message.mti, message.values())
        # Two real senders write bitmaps and a MAC in lower-case hexadecimal.
        assert built.raw.upper() == raw.upper()
        codec.teach(raw)


@pytest.mark.parametrize("case", ESSENTIAL, ids=lambda case: case["id"])
def test_an_essential_message_is_read_and_built_again(case: dict[str, Any]) -> None:
    raw = bytes.fromhex(case["hex"])
    check(get_codec(case["layout"]), raw, case["fields"], case["mti"])


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case["id"])
def test_a_malformed_message_is_refused_where_it_is_wrong(case: dict[str, Any]) -> None:
    with pytest.raises(DecodeError) as refused:
        get_codec(case["layout"]).decode(bytes.fromhex(case["hex"]))
    place = (refused.value.field, refused.value.offset)
    assert place == (case["field"], case["offset"])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_corpus_is_read_and_built_again(family: str) -> None:
    for case in corpus(f"iso8583/{family}.json"):
        name = case["dialect"]["name"]
        if name not in IMPORTED_ONLY:
            check(get_codec(name), message_of(case), case["fields"], case["mti"])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_corpus_is_read_through_imported_specifications(family: str) -> None:
    for case in corpus(f"iso8583/{family}.json"):
        if case["dialect"]["name"] not in NOT_IN_PYISO8583:
            codec = compile_spec(import_pyiso8583(case["id"], case["pyiso8583_spec"]))
            check(codec, message_of(case), case["fields"], case["mti"])


def test_the_negative_corpus_is_refused_at_its_field() -> None:
    for case in corpus("iso8583/negative.json"):
        with pytest.raises(DecodeError) as refused:
            get_codec(case["dialect"]["name"]).decode(message_of(case))
        assert refused.value.field == case["where"], case["id"]


def test_every_cut_of_every_real_message_is_refused() -> None:
    for case in ESSENTIAL:
        codec, raw = get_codec(case["layout"]), bytes.fromhex(case["hex"])
        for size in range(len(raw)):
            with pytest.raises(DecodeError):
                codec.decode(raw[:size])


def test_clearing_records_agree_with_cardutil() -> None:
    for case in corpus("iso8583/mastercard.json"):
        if case["id"] not in {"ipm-1144-ascii", "ipm-1144-ebcdic-hex"}:
            continue
        raw = bytes.fromhex(case["hex"])
        encoding = "ascii" if case["id"].endswith("ascii") else "cp500"
        theirs = cardutil.iso8583.loads(
            raw,
            encoding=encoding,
            hex_bitmap="hex" in case["id"],
            iso_config=cardutil.config.config["bit_config"],
        )
        ours = get_codec(case["dialect"]["name"]).decode(raw)
        assert theirs["MTI"] == ours.mti
        # Amounts, dates and free text are turned into Python values there.
        for de in (2, 3, 24, 26, 31, 33, 38, 42, 49, 63, 94):
            assert str(theirs[f"DE{de}"]).strip() == str(ours[de]).strip()


def test_authorisations_agree_with_starkbank() -> None:
    for case in corpus("iso8583/mastercard.json"):
        if case["dialect"]["name"] != "mastercard-cis":
            continue
        raw = bytes.fromhex(case["hex"])
        theirs = starkbank.iso8583.parse(
            raw, template=starkbank.iso8583.mastercard, encoding="cp500"
        )
        ours = get_codec("mastercard-cis-like").decode(raw)
        assert theirs["MTI"] == ours.mti
        # The second bitmap is an element of its own there.
        present = {int(key[2:]) for key in theirs if key.startswith("DE")}
        assert present - {1} == set(ours)
        # There, DE 48 comes in parts and DE 55 in base 64.
        for de in set(ours) - {48, 55}:
            assert theirs[f"DE{de:03}"] == ours[de], (case["id"], de)


def message_of(case: dict[str, Any]) -> bytes:
    header = case["header"]["bytes"] if case.get("header") else 0
    return bytes.fromhex(case["hex"])[header:]
