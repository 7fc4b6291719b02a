"""What people give to ``decode`` and ``diff``: hexadecimal, files, pipes, captures."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from isoswitch.codecs.iso8583.masking import scan
from isoswitch.commands.console import USAGE, Failure

INPUT_BYTES_MAX = 256 * 1024 * 1024

# Offset, octets, and perhaps the characters: single octets as hexdump and Wireshark
# write them, or pairs as xxd does.
_OFFSET = r"\s*[0-9A-Fa-f]{4,8}(?::\s{0,2}|\s{1,2})"
_DUMP_LINES = (
    re.compile(
        _OFFSET
        + r"((?:[0-9A-Fa-f]{2}(?: {1,2}|-))*[0-9A-Fa-f]{2})(?:(?:\s\s|\s?[|\[]).*)?\s*"
    ),
    re.compile(
        _OFFSET + r"((?:[0-9A-Fa-f]{4} )*(?:[0-9A-Fa-f]{2}){1,2})(?:\s\s.*)?\s*"
    ),
)
_BETWEEN = re.compile(r"[\s:,_-]|0[xX](?=[0-9A-Fa-f]{2})|\\x")
_HEXADECIMAL = re.compile(r"(?:[0-9A-Fa-f]{2})+")


def read_input(what: str) -> bytes:
    """Give what an argument names: standard input, a file, or itself.

    Raises
    ------
    Failure
        A file that is not there, is a folder or is too large.
    """
    if what == "-":
        return _limited(sys.stdin.buffer.read(INPUT_BYTES_MAX + 1))
    if _is_file(what):
        with Path(what).open("rb") as file:
            return _limited(file.read(INPUT_BYTES_MAX + 1))
    text = what.encode(errors="replace")
    if is_document(text):
        return text
    if any(interpretations(text)) and not _looks_like_a_path(what):
        return text
    raise Failure(
        f"{_shown(what)} is neither a file nor hexadecimal nor a message",
        fix="give hexadecimal, a file (bytes, hexadecimal, pcap), or - for a pipe",
        exit_code=USAGE,
    )


def is_document(data: bytes) -> bool:
    """Whether an input is XML."""
    return data.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<")


def read_json(what: str) -> dict[str, Any]:
    """Give the JSON object that an argument is or names."""
    is_object = what.lstrip().startswith("{")
    text = what.encode() if is_object else read_input(what)
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as fault:
        place = f"line {fault.lineno}, column {fault.colno}"
        fix = "give one JSON object, or a file that holds one, or - for a pipe"
        what_is_wrong = f"not JSON at {place}: {fault.msg}"
        raise Failure(what_is_wrong, fix=fix, exit_code=USAGE) from None
    if not isinstance(document, dict):
        fix = '{"dialect": "iso87-ascii", "mti": "0800", "fields": {"11": "000001"}}'
        raise Failure("the JSON is not an object", fix=fix, exit_code=USAGE)
    return document


def interpretations(data: bytes) -> Iterator[list[bytes]]:
    """Give what the bytes may stand for, the likely first: one or more messages.

    Hexadecimal in any of its dresses is read; text that is a message itself, and
    bytes, stand for themselves.

    Examples
    --------
    >>> list(interpretations(b"30 38 30 30"))
    [[b'0800'], [b'30 38 30 30']]
    >>> next(interpretations(b"0000  30 38 30 30   0800\\n0004  42 32\\n"))
    [b'0800B2']
    >>> list(interpretations(b"0800822000000000000"))
    [[b'0800822000000000000']]
    """
    if not _is_text(data):
        yield [data]
        return
    lines = [line for line in data.decode("ascii").splitlines() if line.strip()]
    for pattern in _DUMP_LINES:
        dumps = [pattern.fullmatch(line) for line in lines]
        if len(lines) > 1 and all(dumps):
            yield [b"".join(_octets(dump[1]) or b"" for dump in dumps if dump)]
    apart = [_octets(line) or b"" for line in lines]
    joined = _octets("".join(lines))
    ways = [[joined]] if joined is not None else []
    if len(lines) > 1 and all(apart):
        # Hexadecimal that was broken into lines fills all of them but the last.
        is_broken = len({len(line) for line in lines[:-1]}) == 1
        ways.insert(len(ways) if is_broken else 0, apart)
    yield from ways
    if len(lines) > 1 and all(line[:4].isdecimal() for line in lines):
        yield [line.encode() for line in lines]
    if len(lines) > 1 and lines[0][:4].isdecimal():
        yield ["".join(lines).encode()]
    if lines and lines[0][:1].isdigit():
        yield [data.rstrip(b"\r\n")]


def _is_file(what: str) -> bool:
    """Whether there is such a file; a pipe is one too: decode <(xxd -p message)."""
    try:
        path = Path(what)
        if what and path.is_dir():
            fix = "name one of the files in it"
            raise Failure(f"{what} is a folder", fix=fix, exit_code=USAGE)
        return path.exists() and bool(what)
    except (OSError, ValueError):
        # A message is no name of a file, be it for its length or for its bytes.
        return False


def _octets(text: str) -> bytes | None:
    digits = _BETWEEN.sub("", text)
    return bytes.fromhex(digits) if _HEXADECIMAL.fullmatch(digits) else None


def _is_text(data: bytes) -> bool:
    return data.isascii() and not re.search(rb"[^\x09\x0a\x0d\x20-\x7e]", data)


def _looks_like_a_path(text: str) -> bool:
    return "/" in text or re.search(r"\.[A-Za-z]{1,6}$", text) is not None


def _limited(data: bytes) -> bytes:
    if len(data) > INPUT_BYTES_MAX:
        fix = "cut the recording, such as with editcap -c 100000"
        raise Failure(f"the input is over {INPUT_BYTES_MAX >> 20} MiB", fix=fix)
    if not data.strip():
        raise Failure("the input is empty", fix="give hexadecimal or a file, - a pipe")
    return data


def _shown(what: str) -> str:
    """A file name may be repeated; what may be a message may not."""
    is_path = _looks_like_a_path(what) and len(what) < 256
    return scan(what) if is_path else "the argument"
