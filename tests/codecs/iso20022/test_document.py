"""The door lets documents in by their namespaces and keeps attacks out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import DecodeError, DocumentError
from isoswitch.codecs.iso20022.document import BYTES_MAX, read_document
from tests.codecs.iso20022.hostile import END, HOSTILE, SECRET, START
from tests.iso20022 import FOLDER, samples

ROOT = Path(__file__).parents[3]
MEMORY_MAX = 50 << 20

HEADER = (
    b'<h:AppHdr xmlns:h="urn:iso:std:iso:20022:tech:xsd:head.001.001.02">'
    b"<h:BizMsgIdr>M1</h:BizMsgIdr></h:AppHdr>"
)
BODY = START + b"<FIToFICstmrCdtTrf/>" + END

ENVELOPES = {
    "alone": (BODY, None, ""),
    "with a mark": (b"\xef\xbb\xbf" + BODY, None, ""),
    "BusMsg": (b"<BusMsg>" + HEADER + BODY + b"</BusMsg>", "head.001.001.02", "BusMsg"),
    "deep": (
        b'<D xmlns="urn:swift:saa:xsd:saa.2.0"><B><C>'
        + HEADER
        + BODY
        + b"</C></B></D>",
        "head.001.001.02",
        "D",
    ),
    "one after the other": (
        b'<?xml version="1.0" encoding="utf-8"?>\n' + HEADER + BODY,
        "head.001.001.02",
        "Siblings",
    ),
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_parts_are_found_by_namespace_in_any_envelope(name: str) -> None:
    data, header, envelope = ENVELOPES[name]
    document = read_document(data)
    assert document.body is not None
    assert document.body.message_id == "pacs.008.001.08"
    assert document.body.family == "pacs.008"
    assert (document.header.message_id if document.header else None) == header
    assert document.envelope == envelope
    assert document.raw == data


def test_parts_without_their_own_element_get_one() -> None:
    document = read_document(
        b'<Message xmlns="urn:tch" xmlns:h="urn:iso:std:iso:20022:tech:xsd:'
        b'head.001.001.01" xmlns:p="urn:iso:std:iso:20022:tech:xsd:admi.004.001.02">'
        b"<AppHdr><h:Fr/><h:To/></AppHdr><Event><p:SysEvtNtfctn/></Event></Message>"
    )
    assert document.header is not None
    assert document.body is not None
    assert document.pieces == 3
    assert document.header.element.tag.endswith("}AppHdr")
    assert [each.tag[-3:] for each in document.header.element] == ["}Fr", "}To"]
    assert document.body.element.tag.endswith("}Document")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_is_refused_without_a_value(name: str) -> None:
    data, reason = HOSTILE[name]
    with pytest.raises(DocumentError) as refused:
        read_document(data)
    assert reason in str(refused.value)
    assert SECRET.decode() not in str(refused.value) + repr(refused.value)


def test_a_hostile_document_costs_little_memory() -> None:
    """Peak memory of a process of its own; times are printed, machines differ."""
    script = """
import json, resource, sys, time
from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.iso20022.document import read_document
from tests.codecs.iso20022.hostile import HOSTILE
cost = {}
for name, (data, _) in HOSTILE.items():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    try:
        read_document(data)
    except DecodeError:
        pass
    spent = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cost[name] = [spent * 1000, (after - before) * 1024]
json.dump(cost, sys.stdout)
"""
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    cost = json.loads(run.stdout)
    slowest = max(cost, key=lambda name: cost[name][0])
    print(f"slowest: {slowest}, {cost[slowest][0]:.1f} ms")  # noqa: T201
    assert cost.keys() == HOSTILE.keys()
    assert {
        name: grown for name, (_, grown) in cost.items() if grown > MEMORY_MAX
    } == {}


def test_limits_are_the_callers_too() -> None:
    assert len(BODY) < BYTES_MAX
    with pytest.raises(DocumentError, match="longer than 50 bytes"):
        read_document(BODY, bytes_max=50)


def test_a_refusal_names_the_line() -> None:
    with pytest.raises(DocumentError) as refused:
        read_document(START + b"\n\n<a></b>" + END)
    assert refused.value.line == 3
    assert isinstance(refused.value, DecodeError)


@given(cut=st.integers(0, len(BODY) - 1))
def test_half_a_document_is_none(cut: int) -> None:
    with pytest.raises(DocumentError):
        read_document(BODY[:cut])


@given(data=st.binary(max_size=200), at=st.integers(0, len(BODY)))
def test_whatever_comes_is_a_document_or_refused(data: bytes, at: int) -> None:
    for each in (data, BODY[:at] + data + BODY[at:], BODY[:at] + data):
        try:
            document = read_document(each)
        except DocumentError:
            continue
        assert document.body is not None or document.header is not None


@pytest.mark.skipif(not samples(), reason="no iso20022/samples beside the repository")
def test_every_real_message_comes_through_the_door() -> None:
    for path, verdict in samples().items():
        document = read_document((FOLDER / path).read_bytes())
        if "RTP style" in verdict:
            assert f" {document.pieces} namespaced parts" in verdict, path
