"""Schemas judge messages, and say where one is wrong but not what stands there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import xmlschema

from isoswitch.codecs.canonical.errors import ConfigError, DecodeError, DocumentError
from isoswitch.codecs.iso20022.document import Part, read_document
from isoswitch.codecs.iso20022.messages import build_message
from isoswitch.codecs.iso20022.schemas import (
    MANIFEST,
    PROFILES,
    Mode,
    Schemas,
    compile_schema,
    read_manifest,
)
from tests.codecs.iso20022.mutations import mutated
from tests.codecs.iso20022.test_messages import REPORT, TRANSFER
from tests.iso20022 import FOLDER, published_into, samples

GOOD = build_message(TRANSFER, None)
SECRET = "4111111111111111"

FAULTS = {
    "missing": (b"<EndToEndId>E1</EndToEndId>", b"", "PmtId/UETR: a wrong or missing"),
    "unexpected": (b"<MsgId>", b"<X>1</X><MsgId>", "here may stand MsgId"),
    "pattern": (b"BANKDEFFXXX", SECRET.encode(), "BICFI: not of the pattern"),
    "length": (b">E1<", b">" + SECRET.encode() * 3 + b"<", "EndToEndId: too long"),
    "empty": (b">E1<", b"><", "EndToEndId: too short"),
    "code": (b">SLEV<", SECRET.encode().join([b">", b"<"]), "ChrgBr: not one of"),
    "type": (b">12.50<", b">" + SECRET.encode() + b"x<", "not a value of the type"),
    "decimals": (b">12.50<", b">12.5050505<", "too many decimals"),
    "digits": (b">12.50<", b">" + SECRET.encode() + b"99999<", "too many digits"),
    "attribute": (b' Ccy="EUR"', b"", "a missing attribute"),
    "other attribute": (b"<MsgId>", b'<MsgId a="1">', "attribute that does not belong"),
    "text": (b"<GrpHdr>", b"<GrpHdr>" + SECRET.encode(), "GrpHdr: text between"),
    "other root": (b"FIToFICstmrCdtTrf", b"PmtRtr", "may stand FIToFICstmrCdtTrf"),
}


def _part(data: bytes) -> Part:
    part = read_document(data).body
    assert part is not None
    return part


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_a_path_and_a_line_and_no_value(name: str) -> None:
    right, wrong, said = FAULTS[name]
    assert right in GOOD
    with pytest.raises(DocumentError) as refused:
        Schemas().verify(_part(GOOD.replace(right, wrong)), Mode.PROFILE)
    assert said in str(refused.value)
    assert refused.value.line == 2
    assert refused.value.field.startswith("Document")
    assert SECRET not in str(refused.value)


def test_a_fault_is_found_below_any_prefix() -> None:
    prefixed = (
        GOOD.replace(b"xmlns=", b"xmlns:p=")
        .replace(b"<", b"<p:")
        .replace(b"<p:/", b"</p:")
        .replace(b"<p:?", b"<?")
        .replace(b">E1<", b"><")
    )
    with pytest.raises(DocumentError, match="PmtId/EndToEndId: too short"):
        Schemas().verify(_part(prefixed), Mode.PROFILE)


def test_a_message_without_a_schema_is_refused() -> None:
    other = GOOD.replace(b"pacs.008.001.08", b"pacs.008.001.99")
    for mode in Mode:
        with pytest.raises(DocumentError, match="no schema for this message"):
            Schemas().verify(_part(other), mode)


def test_a_profile_stands_in_for_a_base_schema_that_is_not_there(
    tmp_path: Path,
) -> None:
    for schemas in (Schemas(), Schemas(tmp_path)):
        schemas.verify(_part(GOOD), Mode.BASE)
        assert not schemas.has_base("pacs.008.001.08")


def test_a_base_schema_admits_what_the_profile_does_not(tmp_path: Path) -> None:
    schemas = Schemas(published_into(tmp_path, "pacs.008.001.08"))
    more = _part(GOOD.replace(b"<Dbtr>", b"<UltmtDbtr><Nm>X</Nm></UltmtDbtr><Dbtr>"))
    schemas.verify(more)
    for mode in (Mode.PROFILE, Mode.BOTH):
        with pytest.raises(DocumentError, match="UltmtDbtr"):
            schemas.verify(more, mode)


def test_a_schema_that_was_changed_is_not_used(tmp_path: Path) -> None:
    published_into(tmp_path, "pacs.008.001.08")
    file = tmp_path / "pacs.008.001.08.xsd"
    file.write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(ConfigError, match="not what was put there"):
        Schemas(tmp_path).verify(_part(GOOD))


def test_a_broken_manifest_is_told(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(json.dumps({"schemas": 1}))
    with pytest.raises(ConfigError, match="no list of schemas"):
        read_manifest(tmp_path)


def test_what_is_no_schema_is_refused() -> None:
    for content in (b"", b"<a/>", GOOD):
        with pytest.raises(ValueError, match="no XML schema"):
            compile_schema(content)


@pytest.mark.skipif(not samples(), reason="no iso20022/samples beside the repository")
def test_every_real_message_gets_its_known_verdict(tmp_path: Path) -> None:
    schemas = Schemas(published_into(tmp_path))
    judged = 0
    for path, known in samples().items():
        if "RTP style" in known:
            continue
        document = read_document((FOLDER / path).read_bytes())
        verdicts = [
            f"{part.message_id} {name} {_verdict(schemas, part)}"
            for name, part in (("AppHdr", document.header), ("Document", document.body))
            if part is not None
        ]
        assert "; ".join(verdicts) == known, path
        judged += 1
    assert judged == len(samples()) - 23


def _verdict(schemas: Schemas, part: Part) -> str:
    try:
        schemas.verify(part)
    except DecodeError:
        return "invalid"
    return "valid"


def test_two_validators_judge_a_mutated_corpus_alike(tmp_path: Path) -> None:
    """The other one is ``xmlschema``, written without libxml2."""
    corpus = {
        "pacs.008.001.08": TRANSFER,
        "pacs.002.001.10": REPORT,
    }
    schemas = Schemas()
    verdicts = []
    for message_id, message in corpus.items():
        other = xmlschema.XMLSchema10(PROFILES / f"{message_id}.xsd", allow="local")
        element = _part(build_message(message, None)).element
        for seed in range(400):
            wrong = mutated(element, seed)
            verdict = _verdict(schemas, Part(message_id=message_id, element=wrong))
            assert (verdict == "valid") is other.is_valid(wrong), (message_id, seed)
            verdicts.append(verdict)
    assert 20 < verdicts.count("valid") < len(verdicts) / 2


def test_two_validators_judge_real_messages_alike(tmp_path: Path) -> None:
    directory = published_into(tmp_path, "pacs.008.001.08", "head.001.001.02")
    schemas = Schemas(directory)
    others = {
        message_id: xmlschema.XMLSchema10(directory / f"{message_id}.xsd")
        for message_id in ("pacs.008.001.08", "head.001.001.02")
    }
    judged = 0
    for path in samples():
        document = read_document((FOLDER / path).read_bytes())
        for part in (document.header, document.body):
            if part is not None and part.message_id in others:
                for seed in range(5):
                    wrong = Part(
                        message_id=part.message_id, element=mutated(part.element, seed)
                    )
                    verdict = _verdict(schemas, wrong)
                    valid = others[part.message_id].is_valid(wrong.element)
                    assert (verdict == "valid") is valid, (path, seed)
                    judged += 1
    assert judged > 300
