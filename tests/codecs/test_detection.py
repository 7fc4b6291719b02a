"""Unknown bytes tell how they were sent, and how sure that is."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs import headers
from isoswitch.codecs.detection import Detection, Undetected, detect
from isoswitch.codecs.framing import FRAMINGS, get_framing
from isoswitch.codecs.iso8583.specs import ALIASES, get_codec, spec_names
from isoswitch.codecs.surprise import surprise_of
from tests.codecs.iso8583.samples import PURCHASE
from tests.codecs.vectors import name_of, vectors
from tests.shared import corpus

ESSENTIAL = vectors("iso8583_messages.json")
FAMILIES = (
    *("amex", "ascii87", "bcd87", "cup-pos", "cups", "iso93", "mastercard"),
    *("mixed-hosts", "moov-fixed-bitmap", "pos-bcd", "visa"),
)
TPDU = bytes.fromhex("6000030000")
POS_HEADER = bytes.fromhex("6000030000603100310100")


def dialects(found: Detection) -> list[str]:
    """The dialect believed in, and those that read the same."""
    return [found.best.profile.dialect, *(each.dialect for each in found.ties)]


def values_of(case: dict[str, Any]) -> dict[str, str]:
    """What the best candidate reads in a message of the corpus."""
    profile = detect([bytes.fromhex(case["hex"])]).best.profile
    message = profile.read(bytes.fromhex(case["hex"])).message
    return {
        str(de): value if isinstance(value, str) else value.hex().upper()
        for de, value in message.values().items()
    }


@pytest.mark.parametrize("case", ESSENTIAL, ids=name_of)
def test_a_real_message_tells_its_dialect(case: dict[str, Any]) -> None:
    found = detect([bytes.fromhex(case["hex"])])
    assert ALIASES.get(case["layout"], case["layout"]) in dialects(found)
    assert found.best.profile.framing == found.best.profile.header == ""
    assert found.confidence in {"sure", "likely"}


def test_most_of_the_corpus_is_read_as_it_was_meant() -> None:
    """Layouts that one program alone uses are not among ours."""
    wrong = []
    cases = [case for name in FAMILIES for case in corpus(f"iso8583/{name}.json")]
    for case in cases:
        try:
            if values_of(case) == case["fields"]:
                continue
        except Undetected:
            pass
        wrong.append(case["dialect"]["name"])
    assert len(wrong) <= 0.05 * len(cases), wrong


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("case", ESSENTIAL[:5], ids=name_of)
def test_the_framing_is_found(framing: str, case: dict[str, Any]) -> None:
    payload = bytes.fromhex(case["hex"])
    if framing == "etx" and b"\x03" in payload:
        pytest.skip("the payload holds the end mark")
    found = detect([get_framing(framing).encode(payload) * 2])
    assert found.best.profile.framing == framing
    assert case["layout"] in dialects(found)


@pytest.mark.parametrize(
    ("name", "header", "dialect"),
    [
        ("tpdu", TPDU, "iso87-bcd"),
        ("tpdu", TPDU, "iso87-ascii"),
        ("cup-pos", POS_HEADER, "cup-pos"),
        ("base24", b"ISO026000050", "base24-like"),
        ("fixed:4", b"\x01\x02\x03\x04", "iso87-ascii"),
    ],
)
def test_the_header_is_found(name: str, header: bytes, dialect: str) -> None:
    message = get_codec(dialect).build("0800", {7: "0816170936", 11: "000001"})
    payload = headers.join(name, header, message.raw)
    found = detect([get_framing("bin2").encode(payload)])
    assert found.best.profile.header == name
    assert dialect in dialects(found)
    assert found.best.profile.read(payload).header == header


def test_a_network_header_speaks_for_its_network() -> None:
    """The same bytes without it are read by many dialects."""
    message = get_codec("cup-pos").build("0800", {11: "000001"})
    assert detect([POS_HEADER + message.raw]).best.profile.dialect == "cup-pos"
    alone = detect([message.raw])
    assert "cup-pos" in dialects(alone)
    assert alone.best.profile.dialect == "iso87-bcd"


def purchase(name: str) -> bytes:
    """A purchase with those of its values that the layout can carry."""
    codec = get_codec(name)
    version = {"1987": "0", "1993": "1", "2003": "2"}[codec.spec.edition]
    dates = {"1987": {12: "140936", 13: "0816"}, "1993": {12: "260816140936"}}
    values: dict[int, str | bytes] = {
        **{de: PURCHASE[de] for de in (2, 3, 7, 14, 37, 42)},
        **dates.get(codec.spec.edition, {12: "20260816140936"}),
    }
    if codec.spec.edition != "2003":
        values |= {4: PURCHASE[4], 11: PURCHASE[11], 49: "978"}
    return codec.build(f"{version}200", values).raw


@pytest.mark.parametrize("name", spec_names())
def test_every_dialect_is_found_or_tied(name: str) -> None:
    found = detect([purchase(name)])
    assert name in dialects(found)
    assert found.confidence == "sure"


def test_dialects_that_read_the_same_are_a_tie_and_the_usual_one_leads() -> None:
    found = detect([purchase("iso87-ascii")])
    assert found.best.profile.dialect == "iso87-ascii"
    assert "base24-like" in dialects(found)
    rivals = {each.profile.dialect for each in found.candidates}
    assert rivals.isdisjoint(each.dialect for each in found.ties)


def test_a_message_that_says_little_leaves_little_certainty() -> None:
    """Six bytes of noise and six of a message are hard to tell apart."""
    found = detect([bytes.fromhex("08000000000000000000")])
    assert found.margin_bits < detect([purchase("iso87-bcd")]).margin_bits
    assert found.confidence in {"unsure", "likely", "sure"}


def test_evidence_and_doubts_are_told() -> None:
    build = get_codec("iso87-ascii").build
    good = surprise_of(build("0200", {2: "4761739001010010", 7: "0816170936"}))
    odd = surprise_of(build("0200", {2: "4761739001010011", 7: "9916170936"}))
    assert good.evidence == (
        "DE 2 is a card number by its check digit",
        "DE 7 is a date and time",
    )
    assert odd.doubts == tuple(
        words.replace("is a", "is not a") for words in good.evidence
    )
    assert odd.bits > good.bits + 10


def test_a_track_without_a_card_number_is_a_doubt() -> None:
    told = surprise_of(get_codec("iso87-ascii").build("0200", {35: "1=2"}))
    assert told.doubts == ("DE 35 is not a track with a card number",)


def test_a_masked_card_number_speaks_neither_way() -> None:
    """Senders of samples put stars into DE 2 where it may hold text."""
    build = get_codec("amex-gcag-like").build
    masked = surprise_of(build("1100", {2: "370012*****2345"}))
    assert (masked.evidence, masked.doubts) == ((), ())


def test_chip_data_speaks_for_a_layout() -> None:
    build = get_codec("iso87-bcd").build
    chip = surprise_of(build("0100", {55: bytes.fromhex("9F27018095050000000000")}))
    noise = surprise_of(build("0100", {55: bytes.fromhex("9F277F8095050000000000")}))
    assert chip.evidence == ("DE 55 is made of known parts",)
    assert noise.doubts == ("DE 55 is not made of its known parts",)
    assert chip.bits < noise.bits


def test_what_is_known_is_not_guessed() -> None:
    payload = TPDU + purchase("cup-pos")
    frame = get_framing("bin2").encode(payload)
    found = detect([frame], framing="bin2", header="tpdu", dialect="cup-pos")
    assert str(found.best.profile) == "bin2 + tpdu + cup-pos"
    assert found.ties == ()
    codec = get_codec("iso87-bcd-right")
    assert detect([frame], dialect=codec).best.profile.codec is codec
    for wrong in ({"framing": "ascii4"}, {"header": ""}, {"dialect": "iso93-ascii"}):
        with pytest.raises(Undetected):
            detect([frame], **wrong)  # type: ignore[arg-type]


def test_both_sides_of_a_conversation_speak_alike() -> None:
    codec, framing = get_codec("iso87-bcd"), get_framing("bin2")
    requests = [codec.build("0800", {11: f"{n:06}", 70: "301"}).raw for n in range(3)]
    answers = [codec.build("0810", {11: f"{n:06}", 39: "00"}).raw for n in range(3)]
    streams = [b"".join(map(framing.encode, side)) for side in (requests, answers)]
    found = detect(streams)
    assert str(found.best.profile) == "bin2 + iso87-bcd"
    cut = [streams[0], streams[1][:-5]]
    assert detect(cut).best.profile == found.best.profile
    strangers = [b"GET / HTTP/1.1\r\n", *streams]
    assert detect(strangers).best.profile == found.best.profile


def test_one_broken_message_does_not_spoil_a_conversation() -> None:
    codec, framing = get_codec("iso87-bcd"), get_framing("bin2")
    good = framing.encode(codec.build("0800", {11: "000001", 70: "301"}).raw)
    broken = framing.encode(codec.build("0800", {11: "000001"}).raw[:-1] + b"\xff")
    found = detect([good + broken + good])
    assert str(found.best.profile) == "bin2 + iso87-bcd"


def test_a_cut_message_says_who_came_closest_and_where() -> None:
    raw = get_codec("iso87-ascii").build(
        "0200", {2: "4761739001010010", 41: "TERM0001"}
    )
    with pytest.raises(Undetected) as refused:
        detect([raw.raw[:-3]])
    near = refused.value.near[0]
    assert near.profile.dialect == "iso87-ascii"
    assert near.message.fields == (2,)
    assert (refused.value.field, refused.value.offset) == ("41", 38)
    assert "message ends inside the field" in str(refused.value)
    assert "4761739001010010" not in f"{refused.value!r} {near!r}"


def test_a_frame_that_was_cut_off_is_read_behind_its_prefix() -> None:
    frame = get_framing("bin2").encode(purchase("iso87-bcd"))
    with pytest.raises(Undetected) as refused:
        detect([frame[:-1]])
    near = refused.value.near[0]
    assert (near.profile.header, near.fault.reason) == (
        "fixed:2",
        "message ends inside the field",
    )


@pytest.mark.parametrize("data", [b"", b"\0" * 40, b"hello world, how are you"])
def test_what_is_no_message_is_called_so(data: bytes) -> None:
    with pytest.raises(Undetected, match="nothing in it looks like"):
        detect([data])


@given(st.binary(max_size=80))
def test_noise_is_refused_or_doubted(data: bytes) -> None:
    with suppress(Undetected):
        assert detect([data]).best.profile.framing in {"", *FRAMINGS}
