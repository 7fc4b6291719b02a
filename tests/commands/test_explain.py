"""``isoswitch explain``, as people type it."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.commands.console import Failure
from isoswitch.commands.explain import explain

app = typer.Typer()
app.command()(explain)

TRACK = ";4761739001010010=31122011234567800000?"


def run(*words: str) -> str:
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def rows(*words: str) -> list[tuple[str, str]]:
    answer = json.loads(run(*words, "--json"))
    return [(row["place"], row["meaning"]) for row in answer["rows"]]


def test_terminal_verification_results_are_explained() -> None:
    assert rows("TVR", "8000048000") == [
        ("95", "Terminal Verification Results: 8000048000"),
        ("byte 1 bit 8", "offline data authentication not performed"),
        ("byte 3 bit 3", "online PIN entered"),
        ("byte 4 bit 8", "floor limit exceeded"),
    ]


def test_a_table_says_the_same() -> None:
    assert "online PIN entered" in run("tvr", "80000", "48000")


def test_a_field_is_explained_by_its_edition() -> None:
    assert any("chip" in meaning.lower() for _, meaning in rows("DE", "22", "051"))


def test_a_field_is_named_and_its_codes_are_those_of_the_dialect() -> None:
    assert rows("DE", "39", "A0", "--dialect", "cup-pos") == [
        ("39", "Response code, an 2: A0"),
        ("A0", "MAC check failed: sign in again -> cryptographic_error"),
    ]
    assert rows("DE", "39", "A0")[1] == ("A0", "not assigned")
    assert rows("DE", "39", "116", "--edition", "1993")[1][1].startswith("not suff")
    assert rows("DE", "41", "TERM0001") == [
        ("41", "Card acceptor terminal identification, ans 8: TERM0001")
    ]


def test_a_card_number_is_named_and_masked() -> None:
    words = ("DE", "2", "4761739001010010")
    assert rows(*words) == [
        ("2", "Primary account number (PAN), n..19: 476173******0010")
    ]
    assert rows(*words, "--unsafe")[0][1].endswith("4761739001010010")
    assert (
        "*" in rows("DE", "90", "0200000001081617093647617390010100100000000000")[0][1]
    )


def test_a_message_type_is_explained_digit_by_digit() -> None:
    assert rows("MTI", "0421")[3] == ("1 origin", "acquirer repeat")


def test_a_tag_is_explained_by_its_application() -> None:
    visa = rows("9F6E", "23880000", "--aid", "A0000000031010")
    assert visa[1] == ("device", "consumer mobile phone")
    mastercard = rows("9F6E", "0840000030330000", "--aid", "A0000000041010")
    assert mastercard[1] == ("device", "watch")


def test_chip_data_is_explained_object_by_object() -> None:
    explained = rows("DE", "55", "9F27018070039C0100")
    assert ("9F27", "Cryptogram Information Data: 80") in explained
    assert ("  bits 8-7", "ARQC: asks the issuer") in explained
    assert ("70", "READ RECORD Response Message Template") in explained
    assert rows("TLV", "9F2701", "8070039C0100") == explained


def test_private_fields_are_explained_by_dialect() -> None:
    assert rows("DE", "60", "07000727", "--dialect", "cup-pos") == [
        ("60.1", "transaction type: 07"),
        ("60.2", "batch number: 000727"),
    ]
    visa = rows("DE", "62", "8000000000000000E8", "--dialect", "visa-vip-like")
    assert visa[1] == ("62.1", "authorisation characteristics indicator: Y")
    wrapped = "56000C0102F1F20203F1F2F30301F1"
    inner = rows("DE", "104", wrapped, "--dialect", "visa-vip-like")
    assert inner[0] == ("104.56", "payment facilitator data")


def test_a_service_code_is_explained() -> None:
    assert rows("SERVICE", "201")[0][1] == "international, use the chip where possible"


def test_a_stripe_is_explained_masked() -> None:
    output = str(rows("TRACK2", TRACK))
    assert "476173******0010" in output
    assert "4761739001010010" not in output
    assert "1234567800000" not in output
    clear = dict(rows("TRACK2", TRACK, "--unsafe"))
    assert clear["card number"] == "4761739001010010"
    assert clear["discretionary"] == "1234567800000"
    assert dict(rows("TRACK2", "4761739001010010=3112="))["service code"] == "absent"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["NOTHING", "00"], "no tag NOTHING"),
        (["TVR", "XY"], "not hexadecimal"),
        (["9F6E", "00", "--aid", "X"], "not hexadecimal"),
        (["MTI", "042"], "four digits"),
        (["DE", "999", "1"], "iso87-ascii has no field 999"),
        (["DE", "22", "051", "--edition", "1999"], "no edition '1999'"),
        (["DE", "22", "051", "--dialect", "cupp"], "no dialect is called 'cupp'"),
        (["SERVICE", "20"], "three digits"),
        (["SERVICE", "2", "01"], "three digits"),
        (["SERVICE", "2O1"], "three digits"),
        (["DE", "22"], "takes a field number"),
        (["DE", "XX", "051"], "takes a field number"),
        (["DE", "62", "hello", "--dialect", "visa-vip-like"], "not hexadecimal"),
    ],
)
def test_wrong_usage_says_what_and_the_fix(words: list[str], what: str) -> None:
    with pytest.raises(Failure) as refused:
        run(*words)
    assert what in refused.value.what
    assert refused.value.fix
    assert refused.value.exit_code == 2


def test_broken_chip_data_says_where() -> None:
    with pytest.raises(DecodeError, match=r"field 55\.9F27, offset 2"):
        run("DE", "55", "9F2702")
