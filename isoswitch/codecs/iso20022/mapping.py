"""Tables that read a message into a typed value and build it again.

A ``Shape`` is the table of one element: a row for each attribute of its model, in the
order in which the schema wants the elements. A ``Form`` is how one value crosses: text,
a date, an amount, or another shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Generic, NamedTuple, TypeVar

from lxml import etree

from isoswitch.codecs.canonical.errors import DocumentError, EncodeError
from isoswitch.codecs.iso20022.document import Element, path_of

Model = TypeVar("Model")
_ABSENT: tuple[Any, ...] = (None, "", ())


class Form(NamedTuple):
    """How one value crosses between an element and a model.

    ``read`` raises ``ValueError`` with words that hold no value; ``write`` fills an
    empty element, and raises the same.
    """

    read: Callable[[Element], Any]
    write: Callable[[Element, Any], None]


class Row(NamedTuple):
    """One attribute of a model: where its element stands and how it crosses.

    A path may name, after ``|``, where other versions have it; those are only read.
    """

    name: str
    path: str
    form: Form
    many: bool = False


class Shape(Generic[Model]):
    """The table of one element.

    Parameters
    ----------
    model
        The dataclass it is read into; attributes without a default must be there.
    rows
        One row for each attribute, in the order of the elements.
    """

    def __init__(self, model: type[Model], rows: Sequence[Row]) -> None:
        self.model = model
        self.rows = rows
        assert is_dataclass(model)
        self._needed = frozenset(
            each.name for each in fields(model) if each.default is MISSING
        )

    def read(self, element: Element) -> Model:
        """Read an element that may have more than the rows tell.

        Raises
        ------
        DocumentError
            An element that the model needs is missing, holds no such value, or is there
            twice where the model has one.
        """
        space = _space(element)
        # Most rows of most tables find nothing, which must cost nothing.
        by_tag: dict[str, list[Element]] = {}
        for child in element:
            by_tag.setdefault(child.tag, []).append(child)
        values = {}
        for name, path, form, many in self.rows:
            found = _find(by_tag, _places(path, space))
            if not found:
                if name in self._needed:
                    where = f"{path_of(element)}/{path.partition('|')[0]}"
                    raise DocumentError("missing", path=where, line=_line(element))
                continue
            if len(found) > 1 and not many:
                # Another reader might take the other one.
                second = found[1]
                where, line = path_of(second), _line(second)
                raise DocumentError("there more than once", path=where, line=line)
            values[name] = (
                tuple(_read(form, each) for each in found)
                if many
                else _read(form, found[0])
            )
        return self.model(**values)

    def write(self, element: Element, value: Model) -> None:
        """Fill an element.

        Raises
        ------
        EncodeError
            A value that its form cannot carry.
        """
        space = _space(element)
        for name, path, form, many in self.rows:
            each_value = getattr(value, name)
            if each_value in _ABSENT:
                continue
            for one in each_value if many else (each_value,):
                leaf = _reach(element, _places(path, space)[0])
                try:
                    form.write(leaf, one)
                except ValueError as fault:
                    raise EncodeError(str(fault), field=path_of(leaf)) from None


def of(shape: Shape[Any]) -> Form:
    """Give the form of a value that has a table of its own."""
    return Form(shape.read, shape.write)


def text(read: Callable[[str], Any], write: Callable[[Any], str] = str) -> Form:
    """Give the form of a value that is one text."""

    def write_text(element: Element, value: Any) -> None:
        written = write(value)
        try:
            element.text = written
        except ValueError:
            msg = "a character that XML cannot carry"
            raise ValueError(msg) from None

    return Form(lambda element: read((element.text or "").strip()), write_text)


def _find(
    by_tag: Mapping[str, Sequence[Element]], places: Sequence[Sequence[str]]
) -> Sequence[Element]:
    """Give the elements of the first place that has any, in their order."""
    for first, *deeper in places:
        found = by_tag.get(first, ())
        for tag in deeper:
            found = [child for each in found for child in each if child.tag == tag]
        if found:
            return found
    return ()


def _read(form: Form, element: Element) -> Any:
    try:
        return form.read(element)
    except ValueError as fault:
        where = path_of(element)
        raise DocumentError(str(fault), path=where, line=_line(element)) from None


def _reach(element: Element, tags: Sequence[str]) -> Element:
    """Make the element of a path; the ones above it are shared with the row before."""
    *above, last = tags
    for tag in above:
        if len(element) and element[-1].tag == tag:
            element = element[-1]
        else:
            element = etree.SubElement(element, tag)
    return etree.SubElement(element, last)


def _space(element: Element) -> str:
    """Give the namespace of an element as the tags of its children begin."""
    tag: str = element.tag
    return tag.rpartition("}")[0] + "}"


@cache
def _places(path: str, space: str) -> Sequence[Sequence[str]]:
    """Give the tags that lead to each place of a path."""
    return tuple(
        tuple(space + name for name in each.split("/")) for each in path.split("|")
    )


def _line(element: Element) -> int:
    return element.sourceline or 0
