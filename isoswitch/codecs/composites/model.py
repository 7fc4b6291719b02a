"""What every layout gives: the elements of a field, in order, byte for byte.

A field arrives as text or as bytes and is cut without being changed, so the heads and
values of all elements joined are the field again. What a layout does not know stays an
element without a name, to be carried on and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from isoswitch.codecs.canonical.errors import EncodeError
from isoswitch.codecs.emv.describe import show_value
from isoswitch.codecs.iso8583.charsets import decode_text
from isoswitch.codecs.iso8583.masking import holds_card_number, scan

Value = str | bytes
Masking = Literal["show", "hide", "emv"]

ELEMENTS_MAX = 256


@dataclass(frozen=True, slots=True, repr=False)
class Element:
    """One element of a field.

    ``head`` is what stands before the value (tag, length, padding). ``name`` is empty
    where the layout does not know the element. ``masking`` says how it may be shown;
    for ``emv`` the key is a tag whose own rule holds. Bytes with a single-byte
    ``charset`` are shown as text.
    """

    key: str
    value: Value
    head: Value
    name: str = ""
    masking: Masking = "show"
    children: tuple[Element, ...] = ()
    charset: str = ""
    offset: int = field(default=0, compare=False)

    def shown(self, *, unsafe: bool = False) -> str:
        """Give the value as text, masked unless told otherwise."""
        if self.masking == "emv" and isinstance(self.value, bytes):
            return show_value(self.key, self.value, unsafe=unsafe)
        if self.masking == "hide" and not unsafe:
            return "***"
        text = self._text()
        if unsafe:
            return text
        if isinstance(self.value, bytes) and holds_card_number(self.value):
            return "***"
        return scan(text)

    def _text(self) -> str:
        if isinstance(self.value, str):
            return self.value
        text = decode_text(self.value, self.charset) if self.charset else ""
        return text if text.isprintable() and text else self.value.hex().upper()

    def __repr__(self) -> str:
        return f"Element({self.key}, {len(self.value)} long)"


@dataclass(frozen=True, slots=True, repr=False)
class Composite:
    """The elements of one field and the layout that found them.

    ``empty`` is an empty value of the field's kind, text or bytes.
    """

    layout: Layout
    elements: tuple[Element, ...]
    empty: Value = b""

    def encode(self) -> Value:
        """Give back the field."""
        parts = [part for each in self.elements for part in (each.head, each.value)]
        return join([self.empty, *parts])

    def walk(self) -> Iterator[tuple[str, Element]]:
        """Visit each element with its path, outer ones before inner ones."""
        pending = [(each.key, each) for each in reversed(self.elements)]
        while pending:
            path, each = pending.pop()
            yield path, each
            pending.extend(
                (f"{path}.{child.key}", child) for child in reversed(each.children)
            )

    def find(self, path: str) -> Value | None:
        """Give the value of the first element at a path such as ``"56.01"``."""
        return next((each.value for at, each in self.walk() if at == path), None)

    def replace(self, values: Mapping[str, Value | None]) -> Composite:
        """Set elements of the outer level; None removes, a new key is added.

        Raises
        ------
        EncodeError
            The layout cannot carry the values.
        """
        merged: dict[str, Value | None] = {e.key: e.value for e in self.elements}
        merged.update(values)
        kept = {key: value for key, value in merged.items() if value is not None}
        return self.layout.build(kept)

    def unknown(self) -> Iterator[tuple[str, int]]:
        """Give path and length of each element that the layout does not know."""
        for path, each in self.walk():
            if not each.name:
                yield path, len(each.value)

    def describe(self, *, unsafe: bool = False) -> list[tuple[str, str, str]]:
        """Give path, name and value of each element, masked unless told otherwise."""
        return [
            (
                path,
                each.name or "unknown",
                "" if each.children else each.shown(unsafe=unsafe),
            )
            for path, each in self.walk()
        ]

    def __repr__(self) -> str:
        return f"Composite({', '.join(each.key for each in self.elements)})"


class Layout(Protocol):
    """How a field is cut into elements and put together from values."""

    def decode(self, value: Value, *, path: str = "", offset: int = 0) -> Composite:
        """Cut a field; raises DecodeError with path and offset."""

    def build(self, values: Mapping[str, Value]) -> Composite:
        """Make a field from values by key; raises EncodeError."""


def join(parts: list[Value]) -> Value:
    """Join parts that are all text or all bytes.

    Raises
    ------
    EncodeError
        Text and bytes are mixed.
    """
    texts = [part for part in parts if isinstance(part, str)]
    octets = [part for part in parts if isinstance(part, bytes)]
    if texts and octets:
        raise EncodeError("text and bytes in one field")
    return "".join(texts) if texts else b"".join(octets)
