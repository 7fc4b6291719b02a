"""Reading the fields of test vectors, and comparing what an engine makes of them.

A check is a function of an engine, the given fields of a vector and the expected ones.
It raises what the function under test raises, or ``WrongAnswer``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from isoswitch.codecs.canonical.errors import HsmError
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Engine, Use
from isoswitch.hsm.functions.key import DERIVE, ENCRYPT, Key

Fields = Mapping[str, Any]
Check = Callable[[Engine, Fields, Fields], None]

BOTH = frozenset({Use.ENCRYPT, Use.DECRYPT})


class WrongAnswer(HsmError):
    """An engine computes something else than was published."""


def expect(actual: object, published: object) -> None:
    """Compare what was computed with what was published.

    Raises
    ------
    WrongAnswer
        They differ.
    """
    if actual != published:
        raise WrongAnswer("the answer is not the published one")


def octets(fields: Fields, name: str) -> bytes:
    """Read a field that is hexadecimal or, by its name, text."""
    if name in fields:
        return bytes.fromhex(fields[name])
    text: str = fields[f"{name}_ascii"]
    return text.encode()


def value(fields: Fields, name: str) -> KeyValue:
    """Read a field that is a key."""
    return KeyValue(octets(fields, name))


def tdes(engine: Engine, key: KeyValue, uses: frozenset[Use] = ENCRYPT) -> Key:
    """Load a TDES key."""
    return Key.load(engine, key, Algorithm.TDES, uses)


def is_same_key(derived: Key, expected: KeyValue) -> bool:
    """Compare a key in the engine with a value, by what both derive."""
    given = Key.load(derived.engine, expected, derived.algorithm, DERIVE)
    data = bytes(range(derived.block_size))
    with (
        given,
        derived.derive(data, derived.algorithm, ENCRYPT) as ours,
        given.derive(data, derived.algorithm, ENCRYPT) as theirs,
    ):
        return ours.ecb(data) == theirs.ecb(data)
