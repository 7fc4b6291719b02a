"""Checks of published MACs."""

from __future__ import annotations

from isoswitch.hsm.engine import Algorithm, Engine
from isoswitch.hsm.functions import mac
from isoswitch.hsm.functions.mac import MacAlgorithm, MacKey, Padding
from isoswitch.hsm.vectors.fields import Check, Fields, expect, octets, value


def check_mac(cipher: Algorithm, algorithm: MacAlgorithm) -> Check:
    """Give the check of a MAC algorithm: it is made and verified."""

    def check(engine: Engine, given: Fields, expected: Fields) -> None:
        padding = Padding(given.get("padding", 1))
        key = MacKey.load(engine, value(given, "key"), cipher, algorithm, padding)
        published = bytes.fromhex(expected["mac"])
        data = octets(given, "data")
        expect(mac.generate(key, data, length=len(published)), published)
        mac.verify(key, data, published)

    return check


def check_mac_alg3_k16k16(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check a retail MAC whose key halves are the first of two keys."""
    halves = octets(given, "key1")[:8] + octets(given, "key2")[:8]
    retail = {**given, "key": halves.hex()}
    check_mac(Algorithm.TDES, MacAlgorithm.ALG3)(engine, retail, expected)
