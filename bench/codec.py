"""What the ISO 8583 codec costs beside pyiso8583, on the same messages in one run.

The message is a chip purchase (0200) of 18 fields. Rounds of all contestants
alternate, thread CPU time is measured, and a ratio is the median over all rounds.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import cycle
from operator import truediv

import iso8583

from bench.rows import Row, row
from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.iso8583.codec import (
    SIGHTINGS_MAX,
    SIGHTINGS_TO_FUSE,
    SIGHTINGS_TO_SHAPE,
    Codec,
    compile_spec,
)
from isoswitch.codecs.iso8583.compiled import KNOWN_MTIS
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.iso8583.reference import pyiso8583_spec
from isoswitch.codecs.iso8583.specs import get_codec, get_spec

Value = str | bytes

ICC = (
    "9F2608C2C12B098F3DA6E39F2701809F10120110A00003220000000000000000000000FF9F3704"
    "A1B2C3D49F36020102950500800480009A032608169C01009F02060000000012505F2A02097882"
    "0219809F1A0208409F3303E0F8C89F34034103029F3501229F1E083830303030303030"
    "8407A00000000310109F090200965F340101"
)

PURCHASE: Mapping[int, Value] = {
    2: "4761739001010010",
    3: "000000",
    4: "000000001250",
    7: "0816170936",
    11: "000011",
    12: "140936",
    13: "0816",
    14: "3112",
    22: "051",
    25: "00",
    35: "4761739001010010D31122011212120531127",
    37: "322817000011",
    41: "TERM0001",
    42: "MERCHANT0000001",
    49: "978",
    52: bytes(range(8)),
    55: bytes.fromhex(ICC),
    64: bytes(8),
}

CHANGED = {7: "0816170999", 11: "000099", 37: "123456789012"}

GOALS = {"decode": 4.5, "encode": 6.0, "forward, full": 6.0, "forward, spliced": 25.0}

BITMAPS = SIGHTINGS_MAX + 1000

LAYOUTS = {"ASCII": "iso87-ascii-raw", "BCD": "iso87-bcd"}

Contestants = Mapping[str, Callable[[], object]]


def run(quick: bool) -> list[Row]:
    """Measure and give one row per operation and layout."""
    rows = []
    for label, name in LAYOUTS.items():
        codec = get_codec(name)
        message = codec.build("0200", purchase_of(codec)).raw
        attacks = _hostile(codec, message)
        contestants = _contestants(codec, message) | attacks
        costs = measure(contestants, rounds=9 if quick else 31)
        for ours, theirs in _PAIRS.items():
            goal = GOALS.get(ours)
            made = row_of(
                f"codec: {ours} {label}", costs[ours], theirs, costs[theirs], goal
            )
            rows.append(made)
        normal = "decode, all fields read"
        for attack in attacks:
            bound = 0.5 if attack.startswith("hostile") else None
            made = row_of(
                f"codec: {attack} {label}", costs[attack], normal, costs[normal], bound
            )
            rows.append(made)
    return rows


_PAIRS = {
    "decode": "pyiso8583 decode",
    "decode, all fields read": "pyiso8583 decode",
    "encode": "pyiso8583 encode",
    "forward, full": "pyiso8583 forward",
    "forward, spliced": "pyiso8583 forward",
}


def purchase_of(codec: Codec) -> dict[int, Value]:
    """Give the fields of the purchase, as a layout writes them."""
    values = dict(PURCHASE)
    if codec.spec.fields[35].encoding == "ascii":
        values[35] = str(values[35]).replace("D", "=")
    return values


def _contestants(codec: Codec, raw: bytes) -> dict[str, Callable[[], object]]:
    library = pyiso8583_spec(get_spec(codec.name))
    values = purchase_of(codec)
    texts, _ = iso8583.decode(raw, library)

    def forward_full() -> bytes:
        message = codec.decode(raw)
        return codec.build(message.mti, {**message.values(), **CHANGED}).raw

    def forward_library() -> object:
        found, _ = iso8583.decode(raw, library)
        found.update((str(de), value) for de, value in CHANGED.items())
        return iso8583.encode(found, library)

    return {
        "decode": lambda: codec.decode(raw),
        "decode, all fields read": lambda: codec.decode(raw).values(),
        "encode": lambda: codec.build("0200", values),
        "forward, full": forward_full,
        "forward, spliced": lambda: codec.decode(raw).replace(CHANGED).raw,
        "pyiso8583 decode": lambda: iso8583.decode(raw, library),
        "pyiso8583 encode": lambda: iso8583.encode(texts, library),
        "pyiso8583 forward": forward_library,
    }


def _hostile(codec: Codec, raw: bytes) -> dict[str, Callable[[], object]]:
    """Refusals, and good messages of bitmaps made to be learnt in vain.

    The baseline is a decode of the purchase with all fields read, as a host does with
    every good message. A refused message is never read, so its decode is all it costs.
    """
    head = codec.mti_end
    icc = raw.index(bytes.fromhex(ICC[:8])) - codec.fields[55].prefix
    refused = {
        "trailing byte": lambda raw: raw + b"0",
        "cut short": lambda raw: raw[:-1],
        "first length": lambda raw: raw[: head + 8] + b"\xff" + raw[head + 9 :],
        "last length": lambda raw: raw[:icc] + b"\xff" + raw[icc + 1 :],
        "all bits set": lambda raw: raw[:head] + b"\xff" * 16 + raw[head + 8 :],
    }
    # The codec learns type indicator and bitmaps together: another type is as new
    # as another bitmap. There are more of both than it counts at a time.
    strange = [codec.write_mti(mti) + raw[head:] for mti in sorted(KNOWN_MTIS)]
    rare = [codec.build("0200", values).raw for values in _renumbered(codec)]
    often = SIGHTINGS_TO_FUSE + SIGHTINGS_TO_SHAPE
    attacks: dict[str, Callable[[], object]] = {
        f"hostile: {name}": partial(_refuse_each, codec, cycle([spoil(raw)]))
        for name, spoil in refused.items()
    }
    attacks |= {
        f"hostile: unknown bitmap, {name}": partial(
            _refuse_each, compile_spec(codec.spec), cycle(list(map(spoil, strange)))
        )
        for name, spoil in refused.items()
    }
    orders = {
        "hostile: unknown bitmap": rare,
        "hostile: unknown type": strange,
        "hostile: bitmap used in vain": [one for one in strange for _ in range(often)],
    }
    for name, messages in orders.items():
        attacks[name] = _decode_each(compile_spec(codec.spec), messages)
    decode = _decode_each(compile_spec(codec.spec), rare)
    attacks["unknown bitmap, all fields read"] = lambda: decode().values()
    return attacks


def _renumbered(codec: Codec) -> list[dict[int, Value]]:
    """The values of the purchase under any other numbers of the same format."""
    by_format: dict[tuple[object, ...], list[int]] = {}
    for field in codec.spec.fields.values():
        key = field.format, field.encoding, field.length
        by_format.setdefault(key, []).append(field.de)
    values = purchase_of(codec)
    places = [
        (numbers, [values[de] for de in numbers if de in values])
        for numbers in by_format.values()
        if any(de in values for de in numbers)
    ]
    chance = random.Random(8583)
    found: dict[tuple[int, ...], dict[int, Value]] = {}
    while len(found) < BITMAPS:
        chosen = {
            de: value
            for numbers, group in places
            for de, value in zip(chance.sample(numbers, len(group)), group, strict=True)
        }
        found[tuple(sorted(chosen))] = chosen
    return list(found.values())


def _decode_each(codec: Codec, messages: list[bytes]) -> Callable[[], Message]:
    following = cycle(messages).__next__
    return lambda: codec.decode(following())


def _refuse_each(codec: Codec, attacks: Iterator[bytes]) -> None:
    try:
        codec.decode(next(attacks))
    except DecodeError:
        return
    msg = "a hostile message was accepted"
    raise AssertionError(msg)


def measure(
    contestants: Contestants, *, rounds: int, calls: int = 400
) -> dict[str, list[float]]:
    """CPU microseconds per call of each contestant, one number per round."""
    costs: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds + 1):
        for name, call in contestants.items():
            start = time.thread_time_ns()
            for _ in range(calls):
                call()
            costs[name].append((time.thread_time_ns() - start) / calls / 1000)
    # The first round warms up.
    return {name: taken[1:] for name, taken in costs.items()}


def row_of(
    name: str,
    costs: list[float],
    against: str,
    baseline: list[float],
    goal: float | None,
) -> Row:
    """Give a row of the table: one contestant against another."""
    cpu_us = statistics.median(costs)
    baseline_us = statistics.median(baseline)
    return row(
        name,
        cpu_us=round(cpu_us, 3),
        per_second=round(1e6 / cpu_us),
        p50_ms=round(cpu_us / 1000, 6),
        p99_ms=round(max(costs) / 1000, 6),
        baseline=f"{against}, {baseline_us:.2f} us",
        ratio=round(statistics.median(map(truediv, baseline, costs)), 2),
        goal=f">= {goal:g}x" if goal else "",
    )


if __name__ == "__main__":
    for measured_row in run(quick="--quick" in sys.argv):
        print(measured_row)
