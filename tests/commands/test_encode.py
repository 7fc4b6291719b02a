"""``isoswitch encode`` and ``diff``, as people use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from isoswitch.codecs.iso8583.specs import ALIASES, get_codec
from tests.codecs.packets import pcap
from tests.codecs.vectors import name_of, vectors
from tests.commands.wire import invoke, refusal, run

PAN = "4761739001010010"


@pytest.mark.parametrize("case", vectors("iso8583_messages.json"), ids=name_of)
def test_what_decode_prints_encodes_back(case: dict[str, Any]) -> None:
    layout = ALIASES.get(case["layout"], case["layout"])
    decoded = run("decode", case["hex"], "--json", "--unsafe", "--dialect", layout)
    encoded = run("encode", "-", given=decoded.encode())
    assert encoded.strip() == case["hex"].upper()


def test_framing_header_and_parts_are_put_together() -> None:
    document = {
        "dialect": "cup-pos",
        "framing": "bin2",
        "header": {"kind": "tpdu", "hex": "6000030000"},
        "mti": "0800",
        "fields": {
            "11": "000001",
            "55": {"9F27": "80"},
            "60": {"1": "00", "2": "000001", "3": "003"},
        },
    }
    encoded = run("encode", json.dumps(document)).strip()
    decoded = json.loads(run("decode", encoded, "--json"))
    assert (decoded["framing"], decoded["header"]["hex"]) == ("bin2", "6000030000")
    assert decoded["fields"]["60"] == "00000001003"
    parts = {part["place"]: part["value"] for part in decoded["parts"]}
    assert (parts["55.9F27"], parts["60.2"]) == ("80", "000001")


def test_bytes_may_be_written_and_options_win(tmp_path: Path) -> None:
    text = '{"mti": "0800", "fields": {"11": "000001"}}'
    result = invoke("encode", text, "--binary", "--framing", "ascii4")
    assert result.stdout_bytes == b"002608000020000000000000000001"
    packed = run("encode", text, "--dialect", "iso87-bcd").strip()
    assert packed == "08000020000000000000000001"


def test_chip_data_in_a_layout_of_text_is_hexadecimal() -> None:
    text = '{"mti": "0100", "fields": {"55": {"9F27": "80"}}}'
    assert run("encode", text).strip().endswith(b"9F270180".hex().upper())


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"mti": "0800", "field": {}}, "unknown key 'field'"),
        ({"mti": 800}, "a message has a text mti"),
        ({"mti": "08000"}, "unknown message type indicator"),
        ({"mti": "0800", "fields": []}, "an object of fields"),
        ({"mti": "0800", "fields": {"x": "1"}}, "'x' is not the number of a field"),
        ({"mti": "0800", "fields": {"999": "1"}}, "field 999: not in the layout"),
        ({"mti": "0800", "fields": {"11": 1}}, "field 11: the value is not text"),
        (
            {"mti": "0800", "fields": {"11": "00001"}},
            "field 11: has 5 positions, not 6",
        ),
        ({"mti": "0800", "fields": {"52": "0G"}}, "field 52: the value is not hexadec"),
        ({"mti": "0800", "fields": {"52": "***"}}, "field 52: the value is masked"),
        (
            {"mti": "0800", "fields": {"2": "476173******0010"}},
            "field 2: the value is m",
        ),
        ({"mti": "0800", "fields": {"11": {"1": "0"}}}, "does not know parts"),
        ({"mti": "0800", "fields": {"55": {"9F27": "8"}}}, "field 55.9F27"),
        ({"mti": "0800", "header": "60"}, "a header is an object"),
        ({"mti": "0800", "header": {"kind": "tdpu"}}, "no header is called 'tdpu'"),
        ({"mti": "0800", "header": {"kind": "tpdu", "hex": "60"}}, "not a header of"),
        ({"mti": "0800", "header": {"kind": "base1", "hex": "60"}}, "not a header of"),
        ({"mti": "0800", "framing": "bin3"}, "no framing is called 'bin3'"),
        ({"mti": "0800", "dialect": "cup"}, "no dialect is called 'cup'"),
    ],
)
def test_what_cannot_be_encoded_is_refused(document: dict[str, Any], said: str) -> None:
    assert said in refusal("encode", json.dumps(document)).what


def test_two_messages_are_compared_across_dialects() -> None:
    values: dict[int, str | bytes] = {2: PAN, 11: "000001", 41: "TERM0001"}
    left = get_codec("iso87-ascii").build("0200", values).raw.hex()
    same = get_codec("iso87-bcd").build("0200", values).raw.hex()
    assert "no field differs" in run("diff", left, same)
    assert json.loads(run("diff", left, same, "--json"))["differences"] == []
    changed = {**values, 2: "4111111111111111", 39: "00"}
    right = get_codec("iso87-bcd").build("0210", changed).raw.hex()
    result = invoke("diff", left, right, "--json")
    assert result.exit_code == 1
    found = {row["place"]: row for row in json.loads(result.stdout)["differences"]}
    assert found.keys() == {"mti", "2", "39"}
    assert found["2"]["left"] == "476173******0010"
    assert found["39"]["left"] == "-"
    output = invoke("diff", left, right).stdout
    assert "476173******0010" in output
    assert PAN not in output
    assert PAN in invoke("diff", left, right, "--unsafe").stdout


def test_the_parts_of_a_field_are_compared() -> None:
    build = get_codec("iso87-bcd").build
    one, other = (
        build("0200", {11: "000001", 55: bytes.fromhex(chip)}).raw.hex()
        for chip in ("9F270180DF7F0101", "9F270140DF7F0102")
    )
    result = invoke("diff", one, other, "--json")
    rows = {row["place"]: row for row in json.loads(result.stdout)["differences"]}
    assert (rows["55.9F27"]["left"], rows["55.9F27"]["right"]) == ("80", "40")
    assert rows["55"]["right"] == "differs where it is hidden"


def test_only_single_messages_are_compared(tmp_path: Path) -> None:
    raw = get_codec("iso87-bcd").build("0800", {11: "000001", 70: "301"}).raw
    file = tmp_path / "two.txt"
    file.write_text(f"{raw.hex()}\n{raw.hex()}\n")
    assert "holds 2 messages" in refusal("diff", raw.hex(), str(file)).what
    assert "looks like" in refusal("diff", raw.hex(), "00" * 30).what
    capture = tmp_path / "capture.pcap"
    capture.write_bytes(pcap([]))
    assert "there is no message" in refusal("diff", raw.hex(), str(capture)).what
