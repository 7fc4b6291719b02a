"""``isoswitch schemas``, as people type it."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from isoswitch.codecs.iso20022.document import read_document
from isoswitch.codecs.iso20022.messages import build_message
from isoswitch.codecs.iso20022.schemas import MANIFEST, Schemas, read_manifest
from isoswitch.commands import schemas
from isoswitch.commands.console import Failure
from tests.codecs.iso20022.test_messages import TRANSFER
from tests.codecs.iso20022.test_official import SCHEMA


def run(*words: str) -> str:
    result = CliRunner().invoke(schemas.app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refusal(*words: str) -> Failure:
    with pytest.raises(Failure) as refused:
        run(*words)
    assert refused.value.fix
    return refused.value


def rows(*words: str) -> dict[str, dict[str, object]]:
    lines = map(json.loads, run(*words, "--json").splitlines())
    return {each["message"]: each for each in lines}


def archive(folder: Path) -> Path:
    octets = io.BytesIO()
    with zipfile.ZipFile(octets, "w") as file:
        file.writestr("cain.001.001.04.xsd", SCHEMA)
        file.writestr("readme.txt", "hello")
    path = folder / "area.zip"
    path.write_bytes(octets.getvalue())
    return path


def test_built_schemas_judge_messages(tmp_path: Path) -> None:
    assert "2 schemas" in run(
        "build", "pacs.008.001.08", "cain.001", "--to", str(tmp_path)
    )
    made = read_manifest(tmp_path).schemas
    assert made.keys() == {"pacs.008.001.08", "cain.001.001.04"}
    assert made["pacs.008.001.08"].source.startswith("pyiso20022 ")
    assert made["cain.001.001.04"].source.startswith("python-iso20022 ")
    assert "ICCRltdData" in made["cain.001.001.04"].changes[0]
    part = read_document(build_message(TRANSFER, None)).body
    assert part is not None
    judge = Schemas(tmp_path)
    assert judge.has_base("pacs.008.001.08")
    judge.verify(part)


def test_an_import_tells_what_it_mends_and_leaves_out(tmp_path: Path) -> None:
    output = run("import", str(archive(tmp_path)), "--to", str(tmp_path / "x"))
    assert "left out: readme.txt" in output
    assert "cain.001.001.04: 1 times: two blanks" in output
    listed = rows("list", "--to", str(tmp_path / "x"))
    assert listed["cain.001.001.04"]["source"] == "official download area.zip"
    assert listed["pacs.008.001.08"]["profile"] is True
    assert "area.zip" in run("list", "--to", str(tmp_path / "x"))


def test_what_was_imported_is_not_built_over(tmp_path: Path) -> None:
    run("import", str(archive(tmp_path)), "--to", str(tmp_path))
    assert rows("build", "cain.001", "--to", str(tmp_path)) == {}
    origin = read_manifest(tmp_path).schemas["cain.001.001.04"]
    assert origin.source.startswith("official")


def test_what_cannot_be_had_is_told(tmp_path: Path) -> None:
    assert refusal("build", "abcd.001", "--to", str(tmp_path)).exit_code == 2
    (tmp_path / "bad.zip").write_bytes(b"no")
    assert "not a ZIP" in str(refusal("import", str(tmp_path / "bad.zip")))
    with (tmp_path / "big.zip").open("wb") as file:
        file.truncate(65 << 20)
    assert "over 64 MiB" in str(refusal("import", str(tmp_path / "big.zip")))
    assert not (tmp_path / MANIFEST).exists()
