"""A quick value is the same value: frozen, compared, shown, replaced, refused."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import (
    FrozenInstanceError,
    asdict,
    dataclass,
    field,
    fields,
    replace,
)

import pytest

from isoswitch.codecs.canonical.values import quick


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """A value as dataclasses make it."""

    name: str
    count: int = 1
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.count < 0:
            msg = "below zero"
            raise ValueError(msg)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    """The same, quick."""

    name: str
    count: int = 1
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.count < 0:
            msg = "below zero"
            raise ValueError(msg)


def test_it_looks_and_compares_like_the_plain_one() -> None:
    given = {"name": "a", "count": 2, "notes": ["x"]}
    assert repr(Quick(**given)) == repr(Plain(**given)).replace("Plain", "Quick")
    assert Quick(**given) == Quick(**given)
    assert Quick(**given) != Quick(name="a")
    assert type(Quick(**given)) is Quick
    assert asdict(Quick(**given)) == given
    assert [each.name for each in fields(Quick)] == list(given)
    plain, signed = inspect.signature(Plain), inspect.signature(Quick)
    assert list(signed.parameters) == list(plain.parameters)


def test_it_cannot_be_changed() -> None:
    value = Quick(name="a")
    with pytest.raises(FrozenInstanceError):
        value.name = "b"  # type: ignore[misc]  # that is the question
    with pytest.raises(FrozenInstanceError):
        del value.count  # type: ignore[misc]  # that is the question
    with pytest.raises((AttributeError, TypeError)):
        value.other = 1  # type: ignore[attr-defined]  # that is the question
    assert replace(value, name="b") == Quick(name="b")
    assert value.name == "a"


def test_every_value_has_defaults_of_its_own() -> None:
    one, other = Quick(name="a"), Quick(name="b")
    one.notes.append("mine")
    assert other.notes == []


def test_it_is_checked_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="below zero"):
        Quick(name="a", count=-1)
    with pytest.raises(TypeError, match="name"):
        Quick()  # type: ignore[call-arg]  # that is the question
    with pytest.raises(TypeError, match="colour"):
        Quick(name="a", colour="red")  # type: ignore[call-arg]  # that is the question
    with pytest.raises(TypeError, match="positional"):
        Quick("a")  # type: ignore[misc]  # that is the question


def test_copies_are_values_too() -> None:
    value = Quick(name="a", notes=["x"])
    for twin in (
        copy.copy(value),
        copy.deepcopy(value),
        pickle.loads(pickle.dumps(value)),
    ):
        assert twin == value
        assert type(twin) is Quick


def test_what_is_no_such_dataclass_is_refused() -> None:
    @dataclass(frozen=True, slots=True)
    class Positional:
        name: str

    with pytest.raises(AssertionError, match="by name"):
        quick(Positional)
