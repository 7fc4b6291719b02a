"""Arithmetic on byte strings of equal length."""

from __future__ import annotations


def xor(left: bytes, right: bytes) -> bytes:
    """Add two byte strings without carry.

    Examples
    --------
    >>> xor(b"\\x0f\\xf0", b"\\xff\\xff").hex()
    'f00f'
    """
    assert len(left) == len(right), "only equal lengths are added"
    return (int.from_bytes(left) ^ int.from_bytes(right)).to_bytes(len(left))
