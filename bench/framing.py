"""What cutting a stream into frames costs, beside the obvious way to do it.

The frames are purchases of 326 bytes. A terminal that waits for its answers brings one
frame a read; a busy link brings many. The obvious stack's cutter knows one framing and
no limit.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

from bench.codec import LAYOUTS, measure, purchase_of, row_of
from bench.obvious import FrameCutter
from bench.rows import Row
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso8583.specs import get_codec

FRAMES = 16
OBVIOUS = "the obvious stack's cutter"


def run(quick: bool) -> list[Row]:
    """Measure and give a row for each framing and direction."""
    codec = get_codec(LAYOUTS["ASCII"])
    payload = codec.build("0200", purchase_of(codec)).raw
    costs = measure(_contestants(payload), rounds=9 if quick else 31, calls=500)
    rows = [
        row_of(f"framing: {name}", costs[name], theirs, costs[theirs], goal)
        for name, theirs, goal in (
            ("bin2, one frame a read", f"{OBVIOUS}, one a read", None),
            ("ascii4, one frame a read", f"{OBVIOUS}, one a read", None),
            (f"bin2, {FRAMES} frames a read", f"{OBVIOUS}, {FRAMES} a read", None),
            ("bin2, encode", f"{OBVIOUS}, one a read", None),
        )
    ]
    many = rows[2]
    # One operation is a frame.
    for key in ("cpu_us", "p50_ms", "p99_ms"):
        many[key] = round(many[key] / FRAMES, 6)
    many["per_second"] = round(many["per_second"] * FRAMES)
    median_us = statistics.median(costs[f"{OBVIOUS}, {FRAMES} a read"]) / FRAMES
    many["baseline"] = f"{OBVIOUS}, {FRAMES} a read, {median_us:.2f} us"
    return rows


def _contestants(payload: bytes) -> dict[str, Callable[[], object]]:
    bin2, ascii4 = get_framing("bin2"), get_framing("ascii4")
    frame, other = bin2.encode(payload), ascii4.encode(payload)
    cutter = FrameCutter()
    return {
        "bin2, one frame a read": partial(bin2.decoder().feed, frame),
        "ascii4, one frame a read": partial(ascii4.decoder().feed, other),
        f"bin2, {FRAMES} frames a read": partial(bin2.decoder().feed, frame * FRAMES),
        "bin2, encode": partial(bin2.encode, payload),
        f"{OBVIOUS}, one a read": partial(cutter.feed, frame),
        f"{OBVIOUS}, {FRAMES} a read": partial(cutter.feed, frame * FRAMES),
    }
