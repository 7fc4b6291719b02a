"""Schemas built from data classes say what the published ones say."""

from __future__ import annotations

import importlib

import pytest

from isoswitch.codecs.iso20022.generation import find_top, generate_schema
from isoswitch.codecs.iso20022.messages import HEADER, MESSAGE_TYPES
from isoswitch.codecs.iso20022.repair import repair_schema
from isoswitch.codecs.iso20022.schemas import compile_schema
from tests.codecs.iso20022.structure import differences
from tests.iso20022 import published

OLD = (
    "camt.052.001.02",
    "camt.029.001.13",
    "head.001.001.01",
    "pacs.002.001.03",
    "pacs.009.001.12",
    "pain.008.001.02",
)
CARDS = (
    *(f"cain.{n:03}.001.04" for n in range(1, 7)),
    *(f"caaa.{n:03}.001.13" for n in (1, 2, 3, 5)),
    "caaa.004.001.12",
    "caaa.006.001.12",
)


def _generated(message_id: str) -> bytes:
    package, module = ("pyiso20022", "")
    if message_id in CARDS:
        package, module = ("python_iso20022", ".models")
    name = f"{package}.{message_id[:4]}.{message_id.replace('.', '_')}{module}"
    top = find_top(vars(importlib.import_module(name)), message_id)
    assert top is not None
    return generate_schema(message_id, top).content


@pytest.mark.parametrize(
    "message_id",
    [HEADER.message_id, *(each.message_id for each in MESSAGE_TYPES), *OLD, *CARDS],
)
def test_a_built_schema_says_what_the_published_one_says(message_id: str) -> None:
    built = _generated(message_id)
    compile_schema(built)
    assert (
        differences(built, repair_schema(published(message_id).read_bytes()).content)
        == []
    )


def test_a_difference_would_be_found() -> None:
    one = _generated("pacs.002.001.10")
    for right, wrong in (
        (b'value="35"', b'value="34"'),
        (b"<xs:choice>", b"<xs:sequence>"),
        (b'minOccurs="0" maxOccurs="unbounded"', b'minOccurs="0" maxOccurs="9"'),
        (b'value="CLRG"', b'value="CLRX"'),
    ):
        assert right in one
        other = one.replace(right, wrong).replace(
            b"</xs:choice>",
            b"</xs:sequence>" if b"choice" in right else b"</xs:choice>",
        )
        assert differences(one, other)


def test_a_module_without_the_message_has_none() -> None:
    assert find_top({"Document": 1}, "pacs.008.001.08") is None
