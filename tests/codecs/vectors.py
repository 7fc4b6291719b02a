"""Vectors of the repository for codec tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from isoswitch.codecs.canonical.errors import DecodeError

D = TypeVar("D")
R = TypeVar("R")

VECTORS = Path(__file__).resolve().parents[1] / "vectors"


def vectors(name: str) -> list[dict[str, Any]]:
    """Read the cases of one file; each has an id."""
    cases: list[dict[str, Any]] = json.loads(
        (VECTORS / name).read_text(encoding="utf-8")
    )
    return cases


def name_of(case: dict[str, Any]) -> str:
    """Give a case's id for pytest."""
    return str(case["id"])


def attempt(decode: Callable[[D], R], data: D) -> R | DecodeError:
    """Decode, or give the refusal; nothing else may be raised."""
    try:
        return decode(data)
    except DecodeError as refusal:
        return refusal
