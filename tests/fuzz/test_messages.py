"""A short run of the fuzz targets in :mod:`tests.fuzz.messages`."""

from __future__ import annotations

import random

import pytest

from isoswitch.codecs.framing import FRAMINGS, get_framing
from isoswitch.codecs.iso8583.specs import ALIASES
from tests.codecs.vectors import vectors
from tests.fuzz.messages import HEADER_NAMES, NAMES, TARGETS
from tests.fuzz.test_values import mutated

RUNS = 800


def message_seeds() -> list[bytes]:
    """Real messages, each behind the number of its layout."""
    cases = vectors("iso8583_messages.json") + vectors("iso8583_refused.json")
    return [
        bytes([NAMES.index(ALIASES.get(case["layout"], case["layout"]))])
        + bytes.fromhex(case["hex"])
        for case in cases
    ]


SEEDS: dict[str, list[bytes]] = {
    "iso8583": message_seeds(),
    "lanes": message_seeds(),
    "framing": [
        bytes([number, 7]) + get_framing(name).encode(b"0800 test") * 3
        for number, name in enumerate(FRAMINGS)
    ],
    "headers": [
        bytes([number]) + start + bytes(60)
        for number in range(len(HEADER_NAMES))
        for start in (b"\x60", b"\x2e\x820061", b"ISO", b"\x1a\x01\x02\x00\x3d")
    ],
}


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_seeds_raise_nothing_but_refusals(name: str) -> None:
    chance = random.Random(name)
    for seed in SEEDS[name]:
        TARGETS[name](seed)
    for _ in range(RUNS):
        TARGETS[name](mutated(chance.choice(SEEDS[name]), chance))


def test_every_target_has_seeds() -> None:
    assert set(SEEDS) == set(TARGETS)
