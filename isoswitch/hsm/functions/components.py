"""Keys formed from components that different people hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from isoswitch.codecs.canonical.errors import KeyRefused
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions.kcv import verify_kcv
from isoswitch.hsm.octets import xor


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One holder's part of a key, with the check value on the holder's form."""

    value: KeyValue
    check_value: bytes


def form_key(components: Sequence[Component], algorithm: Algorithm) -> KeyValue:
    """Add two or three components to a key; a TDES key gets odd parity.

    Raises
    ------
    VerificationFailed
        A component does not have its check value: it was mistyped.
    KeyRefused
        Not two or three components, of different lengths, or they cancel out, as one
        component entered twice does.
    """
    if len(components) not in {2, 3}:
        msg = "a key is formed from two or three components"
        raise KeyRefused(msg)
    for component in components:
        verify_kcv(component.value, algorithm, component.check_value)
    parts = [component.value.reveal() for component in components]
    if len({len(part) for part in parts}) != 1:
        msg = "the components have different lengths"
        raise KeyRefused(msg)
    if len(set(parts)) != len(parts):
        msg = "two components are the same"
        raise KeyRefused(msg)
    formed = reduce(xor, parts)
    if not any(formed):
        msg = "the components cancel out"
        raise KeyRefused(msg)
    return KeyValue(with_odd_parity(formed) if algorithm is Algorithm.TDES else formed)


def with_odd_parity(value: bytes) -> bytes:
    """Set the lowest bit of each byte so that its ones are odd in number.

    Examples
    --------
    >>> with_odd_parity(bytes.fromhex("0022FF")).hex()
    '0123fe'
    """
    return bytes(octet ^ (octet.bit_count() % 2 == 0) for octet in value)


def has_odd_parity(value: bytes) -> bool:
    """Whether every byte has an odd number of ones, as a DES key should."""
    return all(octet.bit_count() % 2 for octet in value)
