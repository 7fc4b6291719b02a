"""Fuzz targets of the tools: detection, annotation, recordings, brought layouts.

Each takes bytes and returns, or raises what must never be raised.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from isoswitch.codecs.annotation import annotate
from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.captures import read_capture
from isoswitch.codecs.detection import Undetected, detect
from isoswitch.codecs.iso8583.diff import diff_messages
from isoswitch.codecs.iso8583.imports import import_jpos, import_pyiso8583
from isoswitch.codecs.iso8583.specs import get_codec, spec_names
from isoswitch.codecs.iso8583.userlayout import read_layout, write_layout
from isoswitch.codecs.surprise import surprise_of
from isoswitch.commands.inputs import interpretations
from tests.fuzz.clock import CLOCK

Target = Callable[[bytes], None]

NAMES = spec_names()
LINK_TYPES = (1, 101, 113, 147)


def fuzz_detection(data: bytes) -> None:
    """How unknown bytes speak, alone and as one side of a conversation."""
    for streams in ([data], [data[:40], data[40:]]):
        with suppress(Undetected):
            found = CLOCK.timed(detect, streams)
            assert found.confidence in {"sure", "likely", "unsure"}
            if not found.best.profile.framing:
                with suppress(DecodeError):
                    annotate(found.best.profile.read(data).message)


def fuzz_annotation(data: bytes) -> None:
    """Messages in words, whole or as far as they are good, by layout."""
    if not data:
        return
    codec = get_codec(NAMES[data[0] % len(NAMES)])
    try:
        message, _ = codec.salvage(data[1:])
    except DecodeError:
        return
    CLOCK.timed(annotate, message)
    annotate(message, unsafe=True)
    surprise_of(message)
    assert diff_messages(message, message) == []


def fuzz_captures(data: bytes) -> None:
    """Recordings as they are, and packets inside a good one, by link layer."""
    kind = data[0] % (len(LINK_TYPES) + 1) if data else 0
    data = data[1:]
    if kind:
        header = struct.pack(
            "<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, LINK_TYPES[kind - 1]
        )
        cut = len(data) // 2
        packets = (data, data[:cut], data[cut:])
        data = header + b"".join(
            struct.pack("<IIII", 0, 0, len(each), len(each)) + each for each in packets
        )
    with suppress(DecodeError):
        for stretch in CLOCK.timed(read_capture, data).stretches:
            assert stretch.octets


def fuzz_layouts(data: bytes) -> None:
    """Layouts that people bring: TOML, jPOS, pyiso8583; what is read is written."""
    with suppress(ValueError):
        spec = CLOCK.timed(read_layout, data.decode("utf-8", "replace"))
        assert read_layout(write_layout(spec)).fields.keys() == spec.fields.keys()
    with suppress(ValueError):
        write_layout(import_jpos("fuzz", data))
    with suppress(ValueError):
        write_layout(import_pyiso8583("fuzz", _settings(data)))


def fuzz_inputs(data: bytes) -> None:
    """What is typed, in any dress."""
    for streams in CLOCK.timed(lambda given: list(interpretations(given)), data):
        assert all(isinstance(each, bytes) for each in streams)


TARGETS: Mapping[str, Target] = {
    "detection": fuzz_detection,
    "annotation": fuzz_annotation,
    "captures": fuzz_captures,
    "layouts": fuzz_layouts,
    "inputs": fuzz_inputs,
}


def _settings(data: bytes) -> dict[str, dict[str, Any]]:
    """A specification in which the bytes choose settings that hold or do not."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and all(isinstance(v, dict) for v in found.values()):
        return found
    head = {"data_enc": "ascii", "len_enc": "ascii", "len_type": 0, "max_len": 4}
    rows = {"t": head, "p": {**head, "max_len": 16}}
    encodings = ("ascii", "b", "cp500", "latin1", "utf8", "nothing")
    for de, (a, b) in enumerate(zip(data[::2], data[1::2], strict=False), start=2):
        rows[str(de)] = {
            "data_enc": encodings[a % 6],
            "len_enc": (*encodings, "bcd")[b % 7],
            "len_type": a >> 5,
            "max_len": b,
            "len_count": "nibbles" if a & 8 else "bytes",
        }
    return rows
