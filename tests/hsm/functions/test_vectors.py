"""Every published value in ``isoswitch/hsm/vectors``, on every engine.

A function that only verifies is checked with the published value here and with wrong
ones in the tests of its module.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

import pytest

from isoswitch.hsm.engine import Engine, Handle
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.vectors.selftest import CHECKS, Vector, load_vectors, run_vectors
from tests.shared import reference

VECTORS = load_vectors()


@pytest.mark.parametrize(
    "vector", VECTORS, ids=[f"{each.function} {each.name}" for each in VECTORS]
)
def test_the_published_value_comes_out(engine: Engine, vector: Vector) -> None:
    vector.check(engine, vector.given, vector.expected)


def test_no_vector_of_the_reference_is_missing() -> None:
    theirs = reference("crypto-vectors.json")["vectors"]
    counted = Counter(vector["function"] for vector in theirs)
    assert counted == Counter(vector.function for vector in VECTORS)
    assert len(VECTORS) == 178


def test_every_check_has_its_vectors() -> None:
    assert {vector.check for vector in VECTORS} == set(CHECKS.values())


def test_all_vectors_pass_in_one_run() -> None:
    passed, failures = run_vectors(SoftwareEngine())
    assert failures == []
    assert passed.total() == len(VECTORS)


class LyingEngine(SoftwareEngine):
    """Flips a bit of everything that a block cipher makes of it."""

    def ecb(self, handle: Handle, data: bytes, *, decrypt: bool = False) -> bytes:
        result = bytearray(super().ecb(handle, data, decrypt=decrypt))
        result[0] ^= 1
        return bytes(result)


def test_an_engine_that_computes_wrongly_is_found_out() -> None:
    passed, failures = run_vectors(LyingEngine())
    failed = {failure.vector.function for failure in failures}
    assert {"visa_pvv", "cvv", "kcv_tdes", "mac_alg3", "tdes_dukpt_txn"} <= failed
    assert "pinblock_iso0" in passed


def test_a_failure_says_why_without_a_key() -> None:
    _, failures = run_vectors(LyingEngine())
    secrets = {text for each in VECTORS for text in _texts(each.given, each.expected)}
    for failure in failures:
        assert failure.reason
        assert not any(secret in failure.reason for secret in secrets)


def _texts(*parts: Mapping[str, object]) -> set[str]:
    """Give what is long enough to be recognised."""
    numbers = json.loads(json.dumps([*parts]))
    return {
        text
        for part in numbers
        for text in part.values()
        if isinstance(text, str) and len(text) >= 8
    }
