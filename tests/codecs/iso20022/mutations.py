"""Messages made wrong in small ways, as a corpus that two validators judge."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

TEXTS = ("", "X", "x" * 36, "4111111111111111", "-1", "1.5", "2026-02-30", "ü", " ")


def mutated(element: Any, seed: int) -> Any:
    """Give a copy with one to three things changed."""
    random = Random(seed)
    copy = deepcopy(element)
    for _ in range(random.randint(1, 3)):
        inner = [each for each in copy.iter() if each is not copy]
        if inner:
            random.choice(CHANGES)(random.choice(inner), random)
    return copy


def _remove(element: Any, _: Random) -> None:
    element.getparent().remove(element)


def _repeat(element: Any, _: Random) -> None:
    element.addnext(deepcopy(element))


def _move(element: Any, random: Random) -> None:
    parent = element.getparent()
    parent.insert(random.randrange(len(parent)), element)


def _rename(element: Any, random: Random) -> None:
    element.tag = element.tag[:-1] + random.choice("Xd")


def _rewrite(element: Any, random: Random) -> None:
    if not len(element):
        element.text = random.choice(TEXTS)


def _mark(element: Any, random: Random) -> None:
    element.set(random.choice(["Ccy", "a"]), random.choice(["EUR", "eur", ""]))


def _estrange(element: Any, _: Random) -> None:
    element.tag = "{urn:other}" + element.tag.rpartition("}")[2]


CHANGES: tuple[Callable[[Any, Random], None], ...] = (
    _remove,
    _repeat,
    _move,
    _rename,
    _rewrite,
    _rewrite,
    _mark,
    _estrange,
)
