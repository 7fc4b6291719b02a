"""A short run of the fuzz targets in :mod:`tests.fuzz.values`."""

from __future__ import annotations

import random

import pytest

from tests.codecs.vectors import vectors
from tests.fuzz.values import TARGETS

RUNS = 1500

SEEDS: dict[str, list[bytes]] = {
    "tlv": [bytes.fromhex(case["hex"]) for case in vectors("emv_tlv.json")],
    "merchant-codes": [c["payload"].encode() for c in vectors("qr_mpm.json")],
    "other-codes": [
        *(case["base64"].encode() for case in vectors("qr_cpm.json")),
        b"upi://pay?pa=shop@bank&pn=Tea%20Shop&am=10.50&cu=INR",
        b"289431869362714645",
    ],
    "tracks": [
        b";4761739001010010=31122011234567800000?",
        b"%B4761739001010010^CARDHOLDER/TEST^31122011234567?",
        bytes.fromhex("4761739001010010D31122011234567800000F"),
    ],
    "composites": [
        *(bytes([n]) + bytes.fromhex("8000000000000000E8") for n in range(40)),
        *(bytes([n]) + b"PI0120402020502AB" for n in range(40)),
    ],
}
SEEDS["meaning"] = SEEDS["tlv"]


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
    for _ in range(RUNS):
        TARGETS[name](mutated(chance.choice(SEEDS[name]), chance))


def test_every_target_has_seeds() -> None:
    assert set(SEEDS) == set(TARGETS)
