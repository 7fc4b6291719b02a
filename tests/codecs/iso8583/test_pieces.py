"""Pieces say of any bitmap what its fields say one by one, and are few."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.iso8583.codec import Codec, compile_spec
from isoswitch.codecs.iso8583.layouts import Override, Wire, build_layout
from isoswitch.codecs.iso8583.specs import get_codec, get_spec, spec_names
from tests.codecs.iso8583.samples import Fault, fault_of_fields, messages

ABOVE: dict[int, Override] = {131: {"format": "ans..20"}, 192: {"format": "n 4"}}


def fault_of_codec(codec: Codec, raw: bytes) -> Fault | None:
    codec.forget()
    try:
        codec.decode(raw)
    except DecodeError as fault:
        return fault.field, fault.offset, fault.reason
    return None


def agree_on_mutants(codec: Codec) -> None:
    @settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(messages(codec.spec), st.data())
    def agree(drawn: tuple[str, dict[int, str | bytes]], data: st.DataObject) -> None:
        raw = codec.build(*drawn).raw
        assert fault_of_codec(codec, raw) is None
        for _ in range(4):
            place = data.draw(st.integers(codec.mti_end, len(raw)))
            removed = data.draw(st.integers(0, 3))
            inserted = data.draw(st.binary(max_size=3))
            mutant = raw[:place] + inserted + raw[place + removed :]
            assert fault_of_codec(codec, mutant) == fault_of_fields(codec, mutant)

    agree()


@pytest.mark.parametrize("name", spec_names())
def test_a_bitmap_never_seen_is_judged_as_its_fields_judge(name: str) -> None:
    agree_on_mutants(get_codec(name))


@pytest.mark.parametrize("third", ["after-second", "in-65"])
@pytest.mark.parametrize("bitmap", ["raw", "hex"])
def test_a_third_bitmap_is_judged_as_its_fields_judge(third: str, bitmap: str) -> None:
    wire = Wire(third_bitmap=third, bitmap=bitmap)  # type: ignore[arg-type]
    agree_on_mutants(compile_spec(build_layout("third", "1987", wire, ABOVE)))


def test_a_flood_of_bitmaps_makes_no_more_pieces_than_there_are_octets() -> None:
    codec = compile_spec(get_spec("iso87-ascii-raw"))
    chance = random.Random(8583)
    for _ in range(20_000):
        head = codec.write_mti("0200") + chance.randbytes(16)
        with pytest.raises(DecodeError):
            codec.decode(head + b"0" * 12)
    met = [len(pieces) for pieces in codec._pieces]
    assert max(met) <= 255
    assert sum(met[16:]) == 0
    assert not codec._by_head._sightings


def test_fields_of_a_bitmap_never_seen_are_read_in_order() -> None:
    codec = compile_spec(get_spec("iso87-ascii"))
    values: dict[int, str | bytes] = {2: "41", 11: "000001", 70: "301"}
    message = codec.decode(codec.build("0800", values).raw)
    assert message[70] == "301"
    assert list(message.values().items()) == list(values.items())
    assert message.fields == (2, 11, 70)
