"""``isoswitch decode``, as people use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from isoswitch.codecs import headers
from isoswitch.codecs.canonical.errors import EncodeError
from isoswitch.codecs.composites.drift import ROWS_MAX
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.iso8583.specs import get_codec
from tests.codecs.dialects.test_dialect import LEG, PURCHASE
from tests.codecs.packets import ACK, SYN, Segment, ethernet, ipv4, pcap, pcapng
from tests.commands.wire import invoke, refusal, run

PAN = "4761739001010010"
TRACK = "4761739001010010D31122011212120531127"
PIN_BLOCK = bytes.fromhex("041277CDDEEFF669")
TPDU = bytes.fromhex("6000010002")


def request(stan: int = 1, name: str = "iso87-bcd") -> Message:
    return get_codec(name).build(
        "0200",
        {
            2: PAN,
            3: "000000",
            4: "000000001250",
            7: "0816170936",
            11: f"{stan:06}",
            41: "TERM0001",
            52: PIN_BLOCK,
            55: bytes.fromhex("9F270180"),
        },
    )


def answer(stan: int = 1) -> Message:
    return get_codec("iso87-bcd").build("0210", {11: f"{stan:06}", 39: "00"})


def frame(message: Message) -> bytes:
    return get_framing("bin2").encode(TPDU + message.raw)


def lines(*words: str, given: bytes = b"") -> list[dict[str, Any]]:
    result = invoke("decode", "--json", *words, given=given)
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_hexadecimal_is_decoded_and_the_guess_is_explained() -> None:
    output = run("decode", frame(request()).hex())
    headline, reasons, *_ = output.splitlines()
    assert headline.startswith("bin2 + tpdu + iso87-bcd  sure: ")
    assert "DE 2 is a card number by its check digit" in reasons
    assert "bin2 + tpdu + iso87-bcd-right" in " ".join(output.split())
    for shown in (
        "476173******0010",
        "TERM0001",
        "55.9F27",
        "ARQC",
        "header 6000010002",
    ):
        assert shown in output
    assert PAN not in output
    assert PAN in run("decode", frame(request()).hex(), "--unsafe")


def test_json_tells_everything_masked() -> None:
    (found,) = lines(frame(request()).hex())
    assert (found["framing"], found["dialect"]) == ("bin2", "iso87-bcd")
    assert found["header"] == {"kind": "tpdu", "hex": "6000010002"}
    assert found["confidence"] == "sure"
    assert found["margin_bits"] > 20
    assert "bin2 + tpdu + cup-pos" in found["ties"]
    assert found["fields"]["2"] == "476173******0010"
    parts = {part["place"]: part for part in found["parts"]}
    assert parts["55.9F27"]["meaning"] == "ARQC: asks the issuer"
    assert parts["11"]["offset"] == request().offset(11)
    (clear,) = lines(frame(request()).hex(), "--unsafe")
    assert clear["fields"]["52"] == PIN_BLOCK.hex().upper()


def test_the_bytes_are_shown_with_their_secrets_hidden() -> None:
    output = run("decode", request().raw.hex(), "-v")
    assert "0000  02 00 72 20" in output
    assert "47 61 73" not in output
    assert "47 61 73" in run("decode", request().raw.hex(), "-v", "--unsafe")


def test_a_file_of_bytes_and_a_pipe_are_read(tmp_path: Path) -> None:
    file = tmp_path / "messages"
    file.write_bytes(frame(request(1)) + frame(answer(1)) + frame(request(2)))
    found = lines(str(file))
    assert [each["mti"] for each in found] == ["0200", "0210", "0200"]
    assert lines("-", given=file.read_bytes()) == found
    assert run("decode", str(file)).count("message ") == 3


def test_a_line_of_hexadecimal_for_each_message_is_read(tmp_path: Path) -> None:
    file = tmp_path / "messages.txt"
    file.write_text("\n".join(each.raw.hex() for each in (request(), answer())))
    assert [each["mti"] for each in lines(str(file))] == ["0200", "0210"]


def test_a_message_in_text_may_be_typed() -> None:
    text = get_codec("iso87-ascii").build("0800", {11: "000001", 70: "301"}).raw
    (found,) = lines(text.decode())
    assert (found["dialect"], found["fields"]["70"]) == ("iso87-ascii", "301")


def conversation() -> list[Segment]:
    first, second = frame(request(1)), frame(request(2))
    return [
        Segment(sequence=0, flags=SYN),
        Segment(sequence=500, flags=SYN | ACK, from_server=True),
        Segment(payload=first[:9]),
        Segment(payload=first[9:] + second, sequence=10),
        Segment(payload=frame(answer(2)), sequence=501, from_server=True),
    ]


def test_a_recording_is_read_in_order_with_both_sides(tmp_path: Path) -> None:
    file = tmp_path / "capture.pcap"
    packets = [ethernet(ipv4(each)) for each in conversation()]
    file.write_bytes(pcap(packets, link_type=1))
    found = lines(str(file))
    assert [(each["mti"], each["packet"]) for each in found] == [
        ("0200", 4),
        ("0200", 4),
        ("0210", 5),
    ]
    assert found[0]["source"] == found[2]["destination"] == "10.0.0.1:40000"
    assert found[2]["time_s"] == 1.004
    output = run("decode", str(file))
    assert "message 3  10.0.0.2:8583 → 10.0.0.1:40000  packet 5  +0.001000 s" in output


def test_what_no_dictionary_knows_is_counted_over_a_recording(tmp_path: Path) -> None:
    file = tmp_path / "capture.pcap"
    known, unknown = request(1), request(2).replace({55: bytes.fromhex("DF7F020001")})
    again = request(3).replace({55: bytes.fromhex("DF7F0101")})
    payload = frame(known) + frame(unknown) + frame(again)
    segments = [
        Segment(sequence=0, flags=SYN),
        Segment(sequence=500, flags=SYN | ACK, from_server=True),
        Segment(payload=payload, sequence=1),
    ]
    file.write_bytes(pcap([ethernet(ipv4(each)) for each in segments], link_type=1))
    head, row = run("decode", str(file)).splitlines()[-2:]
    assert head.split() == ["unknown", "from", "messages", "first", "last", "bytes"]
    assert row.split() == ["55.DF7F", "10.0.0.1", "2", "2", "3", "1-2"]
    assert "DF7F" not in run("decode", request(1).raw.hex())


def test_unknown_parts_are_counted_up_to_a_limit(tmp_path: Path) -> None:
    tags = [bytes([0xDF, 0x90 + (n >> 7), n & 0x7F, 0]) for n in range(ROWS_MAX + 2)]
    messages = [
        frame(request(1).replace({55: b"".join(tags[start : start + 60])}))
        for start in range(0, len(tags), 60)
    ]
    file = tmp_path / "messages"
    file.write_bytes(b"".join(messages))
    assert run("decode", str(file)).endswith("and 2 more that did not fit\n")


def test_a_recording_that_begins_late_is_read_from_the_first_message(
    tmp_path: Path,
) -> None:
    first, second, third = (frame(request(n)) for n in (1, 2, 3))
    file = tmp_path / "late.pcapng"
    segments = [
        Segment(payload=first[20:], sequence=21),
        Segment(payload=second, sequence=1 + len(first)),
        Segment(payload=third[:-3], sequence=1 + len(first + second)),
    ]
    file.write_bytes(pcapng([ipv4(each) for each in segments]))
    found = lines(str(file))
    assert [each.get("fields", {}).get("11") for each in found] == ["000002", None]
    assert "ends inside a frame" in found[1]["error"]


def test_packets_that_are_left_out_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "capture.pcap"
    file.write_bytes(pcap([ipv4(Segment(payload=b"x"), protocol=17)]))
    result = invoke("decode", str(file))
    assert result.exit_code == 1
    assert "no TCP payload in this recording" in result.stderr
    assert "1 packets left out: not TCP" in result.stderr


def test_packets_without_framing_are_messages(tmp_path: Path) -> None:
    file = tmp_path / "capture.pcap"
    segments = [Segment(sequence=0, flags=SYN), Segment(payload=request().raw)]
    file.write_bytes(pcap([ipv4(each) for each in segments]))
    assert [each["mti"] for each in lines(str(file))] == ["0200"]


def test_a_recording_of_something_else_is_called_so(tmp_path: Path) -> None:
    file = tmp_path / "capture.pcap"
    segments = [Segment(sequence=0, flags=SYN), Segment(payload=b"GET / HTTP/1.1")]
    file.write_bytes(pcap([ipv4(each) for each in segments]))
    result = invoke("decode", str(file))
    assert result.exit_code == 1
    assert "nothing in it looks like" in result.stderr


def test_a_stream_that_goes_wrong_is_lost_from_there(tmp_path: Path) -> None:
    framing = get_framing("ascii4")
    good = framing.encode(request().raw)
    segments = [
        Segment(sequence=0, flags=SYN),
        Segment(payload=good),
        Segment(payload=b"!!!!" + good, sequence=1 + len(good)),
        Segment(sequence=0, flags=SYN, client_port=40001),
        Segment(payload=good, client_port=40001),
    ]
    file = tmp_path / "capture.pcap"
    file.write_bytes(pcap([ipv4(each) for each in segments]))
    found = lines(str(file))
    assert [each.get("mti") for each in found] == ["0200", None, "0200"]
    assert "the stream is lost here: length prefix is malformed" in found[1]["error"]
    output = invoke("decode", str(file)).stdout
    assert "✗ offset 0: the stream is lost here" in output


def test_a_file_that_ends_inside_a_frame_says_so(tmp_path: Path) -> None:
    file = tmp_path / "messages"
    file.write_bytes(frame(request(1)) + frame(request(2))[:-4])
    found = lines(str(file))
    assert found[0]["mti"] == "0200"
    assert "the input ends inside a frame" in found[1]["error"]


def test_a_line_that_is_no_frame_among_others_says_so(tmp_path: Path) -> None:
    file = tmp_path / "messages.txt"
    good = get_framing("ascii4").encode(request().raw).hex()
    file.write_text(f"{good}\n{'ff' * 30}\n{good}\n")
    found = lines(str(file))
    assert [each.get("mti") for each in found] == ["0200", None, "0200"]
    assert "length prefix is malformed" in found[1]["error"]


def test_a_broken_recording_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "capture.pcap"
    file.write_bytes(pcap([])[:20])
    assert "the recording is broken" in refusal("decode", str(file)).what


def test_a_broken_message_among_others_shows_its_good_fields(tmp_path: Path) -> None:
    file = tmp_path / "messages"
    broken = get_framing("bin2").encode(TPDU + answer().raw[:-1] + b"\xff")
    file.write_bytes(frame(request()) + broken + frame(answer(3)))
    result = invoke("decode", str(file))
    assert result.exit_code == 1
    assert "✗ field 39, offset 14" in result.stdout
    assert result.stdout.count("TERM0001") == 1
    found = lines(str(file))
    assert [each.get("mti") for each in found] == ["0200", None, "0210"]
    assert (found[1]["field"], found[1]["offset"]) == ("39", 14)


def test_a_cut_message_is_shown_as_far_as_it_goes() -> None:
    result = invoke("decode", request().raw[:-6].hex())
    assert result.exit_code == 1
    assert "reads the beginning only" in result.stdout
    assert "TERM0001" in result.stdout
    assert "also iso87-bcd-right: field 55, offset 52" in result.stderr
    assert "comes closest: message ends inside the length" in result.stderr
    assert "fix: name what you know" in result.stderr
    (found,) = lines(request().raw[:-6].hex())
    assert (found["field"], found["offset"]) == ("55", 52)
    assert found["near"][0]["profile"].endswith("bcd")


def test_what_is_no_message_is_called_so() -> None:
    result = invoke("decode", "00" * 40)
    assert result.exit_code == 1
    assert "nothing in it looks like an ISO 8583 message" in result.stderr


def test_what_is_known_may_be_said(tmp_path: Path) -> None:
    raw = request().raw.hex()
    words = ("--framing", "none", "--header", "none", "--dialect", "cup-pos")
    assert lines(raw, *words)[0]["dialect"] == "cup-pos"
    file = tmp_path / "own.toml"
    file.write_text(
        'name = "own"\nedition = "1987"\n[wire]\nmti = "bcd"\nbitmap = "raw"\n'
        'numeric = "bcd"\nlength = "bcd"\nbinary = "raw"\n[fields.55]\n'
        'format = "b...255"\n'
    )
    assert lines(raw, "--dialect", str(file))[0]["dialect"] == "own"


@pytest.mark.parametrize(
    ("words", "said", "fix"),
    [
        (("--framing", "bin3"), "no framing is called 'bin3'", "did you mean bin"),
        (("--header", "tdpu"), "no header is called 'tdpu'", "did you mean tpdu"),
        (("--header", "fixed:x"), "no header is called", "fixed:N"),
        (("--dialect", "cup"), "no dialect is called 'cup'", "cup"),
    ],
)
def test_names_that_are_not_known_are_refused(
    words: tuple[str, ...], said: str, fix: str
) -> None:
    refused = refusal("decode", "0800", *words)
    assert said in refused.what
    assert fix in refused.fix
    assert refused.exit_code == 2


def shown(message: Message, tmp_path: Path) -> str:
    """All that decode prints of a message, in every form, blanks left out."""
    file = tmp_path / "message"
    texts = []
    for raw in (message.raw, message.raw[:-1], b"\x01\x02\x03" + message.raw):
        file.write_bytes(raw)
        for words in ((), ("-v",), ("--json",)):
            result = invoke("decode", str(file), *words)
            texts.append(result.stdout + result.stderr)
        result = invoke(
            "diff", message.raw.hex(), message.replace({11: "999999"}).raw.hex()
        )
        texts.append(result.stdout + result.stderr)
    return "".join("".join(texts).split()).lower()


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("iso87-ascii", PAN),
        ("iso87-ascii", TRACK),
        ("iso93-ascii", PAN),
        ("cups-interchange", PAN),
        ("cup-pos", PAN),
        ("cup-pos", PAN.encode()),
        ("visa-vip-like", PAN),
        ("visa-vip-like", PAN.encode("cp500")),
        ("visa-vip-like", bytes.fromhex(PAN)),
        ("mastercard-cis-like", PAN.encode("cp500")),
        ("iso93-bcd", bytes.fromhex(PAN)),
    ],
)
def test_a_card_number_is_shown_nowhere(
    name: str, secret: str | bytes, tmp_path: Path
) -> None:
    """Planted in as many fields of one message as can hold it."""
    codec = get_codec(name)
    values: dict[int, str | bytes] = {11: "000001"}
    for de, field in codec.spec.fields.items():
        if de == 11 or (field.cls == "b") != isinstance(secret, bytes):
            continue
        try:
            codec.build("0100", {de: secret})
        except EncodeError:
            continue
        values[de] = secret
    version = "1" if codec.spec.edition == "1993" else "0"
    text = shown(codec.build(f"{version}100", values), tmp_path)
    assert len(values) > 2
    assert PAN not in text
    assert PAN.encode().hex() not in text
    assert PAN.encode("cp500").hex() not in text
    assert "31122011212" not in text


def test_pin_blocks_and_security_codes_are_shown_nowhere(tmp_path: Path) -> None:
    codec = get_codec("iso87-ascii-raw")
    message = codec.build(
        "0100",
        {
            11: "000001",
            48: "CVV2=8374",
            52: PIN_BLOCK,
            53: "9912345678374000",
            55: bytes.fromhex("DF7F0438333734"),
            61: "8374",
            123: "8374",
        },
    )
    text = shown(message, tmp_path)
    for secret in ("8374", b"8374".hex(), PIN_BLOCK.hex()):
        assert secret not in text


def test_a_header_of_no_known_kind_is_not_shown(tmp_path: Path) -> None:
    """Anything may stand there, a card number too."""
    raw = PAN.encode() + request().raw
    output = run("decode", raw.hex())
    assert "header *** (16 bytes)" in output
    assert PAN.encode().hex() not in output
    assert headers.split("fixed:16", raw)[0] == PAN.encode()


def test_a_card_message_of_iso_20022_is_shown_by_its_elements() -> None:
    raw = get_dialect("caaa").to_request(PURCHASE, LEG, mac=True).raw
    shown = run("decode", raw.decode())
    assert "caaa.001.001.13" in shown
    assert "476173******0010" in shown
    assert PAN not in shown
    (found,) = lines("-", given=raw)
    assert found["leaves"]["Hdr/MsgFctn"] == "FAUQ"


def test_another_document_is_refused() -> None:
    space = "urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08"
    document = f'<Document xmlns="{space}"/>'
    assert "not a card message" in str(refusal("decode", document))
