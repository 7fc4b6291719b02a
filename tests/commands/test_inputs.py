"""What people paste is read in any of its dresses."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from isoswitch.commands import inputs
from isoswitch.commands.console import Failure
from isoswitch.commands.inputs import interpretations, read_input, read_json

MESSAGE = b"0800822000000000000004000000000000001029110554000001301\x00\x01"
HEXADECIMAL = MESSAGE.hex()


def pairs(size: int, between: str) -> str:
    octets = [HEXADECIMAL[at : at + size] for at in range(0, len(HEXADECIMAL), size)]
    return between.join(octets)


def dump(line: str, size: int, octets_per_line: int = 16) -> str:
    """Write a dump; the line says how one looks."""
    lines = []
    for at in range(0, len(MESSAGE), octets_per_line):
        piece = MESSAGE[at : at + octets_per_line]
        text = "".join(chr(octet) if 32 <= octet < 127 else "." for octet in piece)
        digits = piece.hex()
        octets = " ".join(digits[n : n + size] for n in range(0, len(digits), size))
        width = 47 if size == 2 else 39
        lines.append(line.format(at=at, octets=octets.ljust(width), text=text))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(HEXADECIMAL, id="plain"),
        pytest.param(HEXADECIMAL.upper() + "\n", id="upper case"),
        pytest.param(pairs(2, " "), id="blanks"),
        pytest.param(pairs(2, ":"), id="colons"),
        pytest.param(pairs(2, "-"), id="dashes"),
        pytest.param("0x" + pairs(2, ", 0x"), id="C"),
        pytest.param("\\x" + pairs(2, "\\x"), id="escapes"),
        pytest.param(pairs(32, "\n"), id="lines"),
        pytest.param(dump("{at:08x}  {octets}  |{text}|", 2), id="hexdump -C"),
        pytest.param(dump("{at:08x}: {octets}  {text}", 4), id="xxd"),
        pytest.param(dump("{at:04x}  {octets}   {text}", 2), id="Wireshark"),
        pytest.param(dump("{at:04X}: {octets}", 2), id="no characters"),
        pytest.param(dump("{at:05}:{octets} [{text}]", 2, 20), id="brackets"),
    ],
)
def test_hexadecimal_is_read_in_any_dress(text: str) -> None:
    assert next(interpretations(text.encode())) == [MESSAGE]


def test_a_line_for_each_message_is_read_as_several() -> None:
    text = f"{HEXADECIMAL}\n\n{HEXADECIMAL}\n".encode()
    assert [MESSAGE, MESSAGE] in list(interpretations(text))


def test_messages_in_text_stand_for_themselves() -> None:
    text = b"08002000000000000000000001\n08002000000000000000000002\n"
    assert [each.encode() for each in text.decode().split()] in list(
        interpretations(text)
    )
    assert list(interpretations(b"0800822000000000000\n"))[-1] == [
        b"0800822000000000000"
    ]


def test_a_message_in_text_may_be_broken_into_lines() -> None:
    text = b"08002000000000000000\n00000A00TERM\n"
    assert [b"0800200000000000000000000A00TERM"] in list(interpretations(text))


def test_bytes_stand_for_themselves() -> None:
    assert list(interpretations(b"\x08\x00\xff")) == [[b"\x08\x00\xff"]]


def test_a_line_that_looks_like_a_dump_costs_no_time() -> None:
    """Found by fuzzing: a pattern that tried every way to part the digits."""
    line = "0001  30" + "d" * 4000 + "\n0004 3Z\n"
    assert list(interpretations(line.encode()))[-1] == [line.strip().encode()]


def test_a_file_a_pipe_and_the_argument_itself_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "message"
    file.write_bytes(MESSAGE)
    assert read_input(str(file)) == MESSAGE
    assert read_input("0800") == b"0800"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(MESSAGE)))
    assert read_input("-") == MESSAGE


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("", "the argument is neither a file nor"),
        ("capture.pcap", "capture.pcap is neither a file nor"),
        ("x4761739001010010=31122011", "the argument is neither a file nor"),
        ("nowhere/4761739001010010", r"nowhere/476173\*\*\*\*\*\*0010 is neither"),
        (f"x{HEXADECIMAL * 100}", "the argument is neither a file nor"),
    ],
)
def test_what_is_nothing_is_refused(what: str, said: str) -> None:
    with pytest.raises(Failure, match=said) as refused:
        read_input(what)
    assert refused.value.fix
    assert refused.value.exit_code == 2


def test_a_folder_an_empty_file_and_too_much_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Failure, match="is a folder"):
        read_input(str(tmp_path))
    file = tmp_path / "file"
    file.write_bytes(b"\n")
    with pytest.raises(Failure, match="the input is empty"):
        read_input(str(file))
    file.write_bytes(bytes(20))
    monkeypatch.setattr(inputs, "INPUT_BYTES_MAX", 19)
    with pytest.raises(Failure, match="the input is over"):
        read_input(str(file))


def test_json_is_read_from_the_argument_or_a_file(tmp_path: Path) -> None:
    assert read_json('{"mti": "0800"}') == {"mti": "0800"}
    file = tmp_path / "message.json"
    file.write_text('{"mti": "0810"}')
    assert read_json(str(file)) == {"mti": "0810"}


@pytest.mark.parametrize("text", ["{", '{"mti": }', "[1]"])
def test_other_json_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "message.json"
    file.write_text(text)
    with pytest.raises(Failure) as refused:
        read_json(str(file))
    assert refused.value.fix
