"""Messages drawn from a schema: whatever our profiles admit.

Only what the profiles use of XML Schema is understood; anything else is an error.
"""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

from hypothesis import strategies as st
from lxml import etree

from isoswitch.codecs.iso20022.schemas import PROFILES

XS = "{http://www.w3.org/2001/XMLSchema}"
TEXTS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 /-?:().,'+"
REPEATS_MAX = 2

BUILT_IN = {
    "xs:date": st.dates().map(lambda day: f"{max(day.year, 1000)}-01-{day.day:02}"),
    "xs:dateTime": st.datetimes().map(
        lambda at: f"{max(at.year, 1970)}-02-03T{at:%H:%M:%S}Z"
    ),
    "Number": st.integers(0, 10**17).map(str),
    "PositiveNumber": st.integers(1, 10**17).map(str),
    "xs:time": st.times().map(lambda at: f"{at:%H:%M:%S}"),
    "xs:gYearMonth": st.integers(1, 12).map(lambda month: f"2031-{month:02}"),
    **dict.fromkeys(
        ("Octets", "MacOctets"),
        st.binary(min_size=1, max_size=9).map(
            lambda octets: base64.b64encode(octets).decode()
        ),
    ),
    "ChipData": st.binary(min_size=1, max_size=9).map(
        lambda octets: octets.hex().upper()
    ),
    "xs:boolean": st.sampled_from(["true", "false"]),
    "Amount": st.integers(0, 10**15).map(
        lambda minor: f"{minor // 100}.{minor % 100:02}"
    ),
    "AmountNumber": st.integers(0, 10**15).map(
        lambda minor: f"{minor // 100}.{minor % 100:02}"
    ),
    "Currency": st.sampled_from(["EUR", "USD", "CNY"]),
    "Count": st.integers(0, 10**15 - 1).map(str),
    "PageNumber": st.integers(0, 10**5 - 1).map(str),
    "Sum": st.decimals(0, 10**12, places=2).map("{:f}".format),
}


@cache
def _schema(message_id: str) -> tuple[Any, dict[str, Any]]:
    """Give the outermost element of a profile, and its named types."""
    root = etree.parse(PROFILES / f"{message_id}.xsd").getroot()
    types = {}
    for include in root.findall(XS + "include"):
        included = etree.parse(PROFILES / include.get("schemaLocation")).getroot()
        types.update({each.get("name"): each for each in included if each.get("name")})
    types.update({each.get("name"): each for each in root if each.get("name")})
    return root.find(XS + "element"), types


@st.composite
def instances(draw: st.DrawFn, message_id: str) -> Any:
    """Draw an element tree that the profile of this message admits."""
    top, types = _schema(message_id)
    space = f"urn:iso:std:iso:20022:tech:xsd:{message_id}"
    element = etree.Element(f"{{{space}}}{top.get('name')}", nsmap={None: space})
    _fill(draw, element, top, types)
    return element


def _fill(draw: st.DrawFn, element: Any, declared: Any, types: dict[str, Any]) -> None:
    name = declared.get("type")
    if name in BUILT_IN and name != "Amount":
        element.text = draw(BUILT_IN[name])
        return
    kind = types[name] if name else declared[0]
    if kind.tag == XS + "simpleType":
        element.text = draw(_simple(kind))
        return
    content = next(each for each in kind if each.tag != XS + "annotation")
    if content.tag == XS + "simpleContent":
        element.text = draw(BUILT_IN["AmountNumber"])
        for attribute in content.iter(XS + "attribute"):
            element.set(attribute.get("name"), draw(BUILT_IN[attribute.get("type")]))
        return
    particles = list(content)
    if content.tag == XS + "choice":
        particles = [draw(st.sampled_from(particles))]
    else:
        assert content.tag == XS + "sequence"
    counts = [_count(draw, each) for each in particles]
    if not any(counts):
        counts[draw(st.integers(0, len(counts) - 1))] = 1
    for particle, count in zip(particles, counts, strict=True):
        assert particle.tag == XS + "element"
        for _ in range(count):
            space = element.tag.rpartition("}")[0] + "}"
            child = etree.SubElement(element, space + particle.get("name"))
            _fill(draw, child, particle, types)


def _count(draw: st.DrawFn, particle: Any) -> int:
    least = int(particle.get("minOccurs", "1"))
    most = particle.get("maxOccurs", "1")
    highest = REPEATS_MAX if most == "unbounded" else min(int(most), REPEATS_MAX)
    return draw(st.integers(least, highest))


def _simple(kind: Any) -> st.SearchStrategy[str]:
    restriction = kind.find(XS + "restriction")
    facets: dict[str, list[str]] = {}
    for facet in restriction:
        name = facet.tag.removeprefix(XS)
        facets.setdefault(name, []).append(facet.get("value"))
    if "enumeration" in facets:
        return st.sampled_from(facets["enumeration"])
    if "pattern" in facets:
        [pattern] = facets["pattern"]
        return _matching(pattern)
    if "length" in facets:
        size = int(facets["length"][0])
        return st.text(TEXTS, min_size=size, max_size=size)
    least, most = int(facets["minLength"][0]), int(facets["maxLength"][0])
    return (
        st.text(TEXTS, min_size=least, max_size=most)
        .map(lambda words: " ".join(words.split()))
        .filter(lambda words: len(words) >= least)
    )


@cache
def _matching(pattern: str) -> st.SearchStrategy[str]:
    return st.from_regex(pattern, fullmatch=True, alphabet=st.characters(codec="ascii"))
