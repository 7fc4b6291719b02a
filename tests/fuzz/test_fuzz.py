"""A short run of every fuzz target, on its seeds and on mutations of them."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS, get_target, seeds_of, target_names

RUNS = 800
RUNS_OF_SLOW = {"detection": 40, "layouts": 150, "annotation": 400}


def mutated(seed: bytes, chance: random.Random) -> bytes:
    """Change, repeat, drop or insert some bytes."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                data[place : place + 1] = chance.randbytes(1)
            case 1:
                del data[place : place + chance.randint(1, 8)]
            case 2:
                data[place:place] = data[place : place + chance.randint(1, 16)]
            case _:
                data[place:place] = chance.randbytes(chance.randint(1, 4))
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_seeds_raise_nothing_but_refusals(name: str) -> None:
    chance = random.Random(name)
    for seed in SEEDS[name]:
        TARGETS[name](seed)
    for _ in range(RUNS_OF_SLOW.get(name, RUNS)):
        TARGETS[name](mutated(chance.choice(SEEDS[name]), chance))


def test_every_target_has_seeds() -> None:
    assert set(SEEDS) == set(TARGETS)
    assert all(seeds_of(name) for name in target_names())


def test_a_part_of_a_target_is_the_target_with_its_first_byte_chosen() -> None:
    for seed in seeds_of("iso8583:visa-vip-like"):
        get_target("iso8583:visa-vip-like")(seed)
    with pytest.raises(LookupError, match="no target 'iso8583:nobody'"):
        get_target("iso8583:nobody")
