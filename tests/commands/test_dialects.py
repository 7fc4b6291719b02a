"""``isoswitch dialect``, as people use it."""

from __future__ import annotations

import json
from pathlib import Path

import iso8583.specs
import pytest

from isoswitch.codecs.iso8583.codec import compile_spec
from isoswitch.codecs.iso8583.specs import get_codec, get_spec, spec_names
from isoswitch.codecs.iso8583.userlayout import read_layout, write_layout
from tests.codecs.iso8583.samples import PURCHASE
from tests.commands.wire import invoke, refusal, run

OWN = """name = "own"
edition = "1987"
[wire]
mti = "bcd"
bitmap = "raw"
numeric = "bcd"
length = "bcd"
[fields.48]
format = "ans...50"
"""

PACKAGER = """<!DOCTYPE isopackager PUBLIC "-//jPOS//DTD" "http://jpos.org/dtd/x.dtd">
<isopackager>
<isofield id="0" length="4" name="MTI" class="org.jpos.iso.IFA_NUMERIC"/>
<isofield id="1" length="16" name="Bitmap" class="org.jpos.iso.IFA_BITMAP"/>
<isofield id="11" length="6" name="STAN" class="org.jpos.iso.IFA_NUMERIC"/>
</isopackager>"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    return file


def test_dialects_are_listed_and_shown() -> None:
    listed = run("dialect", "list")
    assert "framings: bin2, " in listed
    assert all(name in listed for name in spec_names())
    assert json.loads(run("dialect", "list", "--json"))["headers"][0] == "tpdu"
    assert "Systems trace audit number" in run("dialect", "show", "cup-pos")
    found = json.loads(run("dialect", "show", "visa-vip", "--json"))
    assert found["fields"]["2"]["length_encoding"] == "bin"


def test_a_dialect_of_ones_own_is_checked_and_tried(own: Path) -> None:
    output = run("dialect", "check", str(own))
    assert "✓ own: " in output
    assert "field 48: ans...50 instead of text...999" in output
    message = compile_spec(read_layout(OWN)).build("0800", {11: "000001", 48: "x"})
    tried = run("dialect", "check", str(own), "--sample", message.raw.hex())
    assert "000001" in tried
    raw = message.raw.hex()
    found = json.loads(run("dialect", "check", str(own), "--sample", raw, "--json"))
    assert found["dialect"] == "own"
    assert json.loads(run("dialect", "check", str(own), "--json"))["ok"] is True
    assert "field 48" not in run("dialect", "show", str(own))


@pytest.mark.parametrize(
    ("line", "what", "place"),
    [
        ("lenght = 3", "fields.48.lenght: unknown key", "own.toml:10:1"),
        ('pad = "up"', "fields.48.pad: one of left, right", "own.toml:10:1"),
        ('encoding = "utf9"', "field 48: unknown encoding 'utf9'", "own.toml:8:2"),
        ('length_encoding = "x"', "field 48: a prefix is not in this", "own.toml:8:2"),
        ("[fields.x]", "fields.x: not the number", "own.toml:10:2"),
        ("[fields.300]\nformat = 'n 3'", "field 300: not a data elem", "own.toml:10:2"),
        ("[wires]", "wires: unknown key", "own.toml:10:2"),
        ("[", "not TOML", "own.toml:10:"),
    ],
)
def test_what_does_not_hold_is_shown_where_it_stands(
    line: str, what: str, place: str, own: Path
) -> None:
    own.write_text(OWN + line + "\n")
    result = invoke("dialect", "check", str(own))
    assert result.exit_code == 1
    assert f"error: {what}" in result.stderr
    assert place in result.stderr
    told = json.loads(invoke("dialect", "check", str(own), "--json").stdout)
    assert told["problems"][0]["file"] == str(own)


@pytest.mark.parametrize("name", spec_names())
def test_every_layout_is_written_and_read_again(name: str) -> None:
    spec = get_spec(name)
    again = compile_spec(read_layout(write_layout(spec)))
    assert again.spec.fields.keys() == spec.fields.keys()
    codec = get_codec(name)
    for de, field in codec.spec.fields.items():
        assert again.spec.fields[de].format == field.format
        assert again.spec.fields[de].masking == field.masking
    message = codec.build("0800", {2: PURCHASE[2], 7: PURCHASE[7]})
    assert again.decode(message.raw).values() == message.values()


def test_a_pyiso8583_specification_is_imported(tmp_path: Path) -> None:
    theirs = iso8583.specs.default_ascii
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(theirs))
    imported = run("dialect", "import", str(file), "--name", "theirs")
    raw, _ = iso8583.encode({"h": "", "t": "0800", "11": "000001", "48": "x"}, theirs)
    spec = read_layout(imported)
    assert spec.name == "theirs"
    assert compile_spec(spec).decode(bytes(raw))[11] == "000001"
    python = tmp_path / "spec.py"
    python.write_text(
        f"import os\nSPEC: dict = {theirs!r}\nOTHER = {theirs!r}\nname = os.name\n"
    )
    assert "choose one with --variable: SPEC, OTHER" in (
        refusal("dialect", "import", str(python)).fix
    )
    again = run("dialect", "import", str(python), "--variable", "SPEC")
    assert read_layout(again).fields == spec.fields


def test_a_jpos_packager_is_imported(tmp_path: Path) -> None:
    file = tmp_path / "packager.xml"
    file.write_text(PACKAGER)
    spec = read_layout(run("dialect", "import", str(file)))
    assert (spec.name, spec.fields[11].name) == ("packager", "STAN")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("<a", "not well-formed XML"),
        (PACKAGER.replace("IFA_NUM", "IFX_NUM"), "unknown packager class"),
        ("{}", "no specification of pyiso8583"),
        ("x = = 1", "no specification of pyiso8583"),
        ('{"t": {}, "p": {}}', "the setting 'data_enc' is missing"),
        ('{"t": {}, "p": {"max_len": null}}', "no specification of pyiso8583"),
        ("\0", "no specification of pyiso8583"),
    ],
)
def test_what_cannot_be_imported_is_refused(
    text: str, what: str, tmp_path: Path
) -> None:
    file = tmp_path / "theirs"
    file.write_text(text)
    assert what in refusal("dialect", "import", str(file)).what


def test_wrong_usage_is_refused(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    assert "cannot read" in refusal("dialect", "import", missing).what
    refused = refusal("dialect", "import", missing, "--edition", "1999")
    assert "no edition is called '1999'" in refused.what
