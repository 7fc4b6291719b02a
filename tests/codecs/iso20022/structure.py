"""Do two schemas say the same: names, order, choice, occurrence, facets?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lxml import etree

XS = "{http://www.w3.org/2001/XMLSchema}"


def differences(left: bytes, right: bytes) -> list[str]:
    """Give where two schemas differ, by the path of the element; empty where not.

    Names of types do not matter, nor does whether a type has one.
    """
    found: list[str] = []
    one, other = _Schema(left), _Schema(right)
    waiting = [("", one.top, other.top)]
    seen = set()
    while waiting:
        path, mine, theirs = waiting.pop()
        key = (id(mine), id(theirs))
        if key in seen:
            continue
        seen.add(key)
        ours, yours = one.facts(mine), other.facts(theirs)
        if ours != yours:
            found.append(f"{path}: {ours} {yours}")
            continue
        pairs = zip(one.children(mine), other.children(theirs), strict=True)
        waiting += [(f"{path}/{a.get('name')}", a, b) for a, b in pairs]
    return found


class _Schema:
    def __init__(self, content: bytes) -> None:
        root = etree.fromstring(content)
        self._types = {
            each.get("name"): each
            for each in root
            if each.tag in {XS + "complexType", XS + "simpleType"}
        }
        [self.top] = root.findall(XS + "element")
        self._keep = root

    def facts(self, declared: Any) -> Any:
        """Give what a schema says of one element or attribute."""
        kind = self._type(declared)
        if isinstance(kind, str):
            return ("text", kind, ())
        if kind.tag == XS + "simpleType":
            return ("text", *self._simple(kind))
        content = next(each for each in kind if each.tag != XS + "annotation")
        if content.tag == XS + "simpleContent":
            [extension] = content
            attributes = [
                (each.get("name"), each.get("use"), self.facts(each))
                for each in extension
            ]
            return ("content", self._base(extension.get("base")), attributes)
        content = _flat(content)
        return (content.tag, [self._particle(each) for each in content])

    def children(self, declared: Any) -> Iterator[Any]:
        """Give the elements in an element."""
        kind = self._type(declared)
        if not isinstance(kind, str) and kind.tag == XS + "complexType":
            for content in kind:
                if content.tag in {XS + "sequence", XS + "choice"}:
                    inner = _flat(content)
                    yield from (each for each in inner if each.tag == XS + "element")

    def _particle(self, particle: Any) -> Any:
        told = (particle.get("minOccurs", "1"), particle.get("maxOccurs", "1"))
        if particle.tag == XS + "any":
            how = particle.get("processContents")
            return (particle.get("namespace", "##any"), how, *told)
        return (particle.get("name"), *told)

    def _type(self, declared: Any) -> Any:
        name = declared.get("type")
        if name is None:
            return declared[0]
        return self._types.get(name, name)

    def _base(self, name: str) -> Any:
        kind = self._types.get(name)
        return (name, ()) if kind is None else self._simple(kind)

    def _simple(self, kind: Any) -> Any:
        [restriction] = [each for each in kind if each.tag == XS + "restriction"]
        base, inherited = self._base(restriction.get("base"))
        facets = tuple(
            (each.tag.removeprefix(XS), each.get("value")) for each in restriction
        )
        return base, tuple(sorted((*inherited, *facets)))


def _flat(content: Any) -> Any:
    """Give the choice in a sequence of nothing else, as old versions have it."""
    return content[0] if [each.tag for each in content] == [XS + "choice"] else content
