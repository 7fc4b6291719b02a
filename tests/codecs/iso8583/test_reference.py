"""pyiso8583, starkbank-iso8583 and this codec read the same from the same bytes."""

from __future__ import annotations

import iso8583.specs
import pytest
from hypothesis import HealthCheck, given, settings

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.iso8583.codec import compile_spec
from isoswitch.codecs.iso8583.imports import import_pyiso8583
from isoswitch.codecs.iso8583.reference import (
    NotExpressible,
    ReferenceCodec,
    compile_reference,
)
from isoswitch.codecs.iso8583.specs import get_codec, get_spec, spec_names
from tests.codecs.iso8583.samples import PURCHASE, messages

INEXPRESSIBLE = {"iso87-ascii-128", "iso93-ebcdic"}
EXPRESSIBLE = [name for name in spec_names() if name not in INEXPRESSIBLE]


@pytest.mark.parametrize("name", EXPRESSIBLE)
def test_both_engines_build_and_read_the_same(name: str) -> None:
    ours, theirs = get_codec(name), compile_reference(get_spec(name))

    @settings(
        max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(messages(ours.spec))
    def agree(drawn: tuple[str, dict[int, str | bytes]]) -> None:
        mti, drawn_values = drawn
        values = {de: v for de, v in drawn_values.items() if de in theirs.fields}
        built = ours.build(mti, values)
        assert theirs.build(mti, values).raw == built.raw
        read = theirs.decode(built.raw)
        assert (read.mti, read.values()) == (built.mti, built.values())
        assert (read.fields, list(read)) == (built.fields, list(built))

    agree()


@pytest.mark.parametrize("name", sorted(INEXPRESSIBLE))
def test_what_pyiso8583_cannot_express_is_said(name: str) -> None:
    with pytest.raises(NotExpressible):
        compile_reference(get_spec(name))


@pytest.fixture
def reference() -> ReferenceCodec:
    return compile_reference(get_spec("iso87-bcd"))


def test_the_reference_message_reads_like_a_message(reference: ReferenceCodec) -> None:
    message = reference.decode(get_codec("iso87-bcd").build("0200", PURCHASE).raw)
    assert (message[4], message.get(39), 52 in message) == ("000000001250", None, True)
    assert "4761739001010010" not in repr(message)


def test_errors_of_the_library_do_not_carry_its_values(
    reference: ReferenceCodec,
) -> None:
    raw = get_codec("iso87-bcd").build("0200", PURCHASE).raw
    with pytest.raises(DecodeError) as refused:
        reference.decode(raw[:-1])
    assert refused.value.field == "64"
    assert refused.value.__cause__ is None
    with pytest.raises(EncodeError):
        reference.build("0200", {3: "1"})
    with pytest.raises(EncodeError):
        reference.build("0200", {28: "C00000001"})


def test_a_field_the_library_does_not_know_is_refused(
    reference: ReferenceCodec,
) -> None:
    raw = get_codec("iso87-bcd").build("0200", {28: "C00000001"}).raw
    with pytest.raises(DecodeError):
        reference.decode(raw)


@pytest.mark.parametrize("name", ["default", "default_ascii"])
def test_a_specification_of_the_library_can_be_imported(name: str) -> None:
    library = getattr(iso8583.specs, name)
    codec = compile_spec(import_pyiso8583(name, library))
    texts = {"h": "", "t": "0200", "2": "4111111111111111", "3": "000000"}
    texts |= {"41": "TERM0001", "52": "0011223344556677"}
    raw, _ = iso8583.encode(texts, library)
    message = codec.decode(bytes(raw))
    assert message[2] == texts["2"]
    assert codec.build(message.mti, message.values()).raw == raw


def test_a_specification_without_a_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="len_type"):
        import_pyiso8583(
            "x",
            {
                "t": {"data_enc": "b"},
                "p": {"data_enc": "b"},
                "2": {"data_enc": "b", "max_len": 1},
            },
        )


def test_third_bitmaps_of_the_library_are_imported() -> None:
    library = dict(iso8583.specs.default_ascii)
    library["65"] = library["p"]
    library["130"] = library["48"]
    codec = compile_spec(import_pyiso8583("third", library))
    texts = {"h": "", "t": "0200", "3": "000000", "130": "above"}
    raw, _ = iso8583.encode(texts, library)
    assert codec.decode(bytes(raw)).values() == {3: "000000", 130: "above"}
