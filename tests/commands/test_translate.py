"""``isoswitch translate``, as people type it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import typer
from typer.testing import CliRunner, Result

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.secrets import PinBlock, Secret, Track2
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.iso20022.cain import CainDialect
from isoswitch.codecs.iso20022.schemas import Mode, Schemas
from isoswitch.commands.console import Failure
from isoswitch.commands.translate import translate
from tests.codecs.dialects.test_dialect import LEG, PURCHASE

PAN = "4761739001010010"
TXN = replace(
    PURCHASE,
    track2=Track2(f"{PAN}=31122010000012300000"),
    pin_block=PinBlock(bytes(range(8))),
    emv=Secret(bytes.fromhex("9F2608C2C12B098F3DA6E3")),
)
DIALECT = get_dialect("iso87-ascii")
MESSAGE = DIALECT.to_request(TXN, LEG, mac=True, extra={60: "PRIVATE 1"})
CAIN = CainDialect(Schemas(), Mode.PROFILE)

app = typer.Typer()
app.command()(translate)


def invoke(*words: str, given: str = "") -> Result:
    return CliRunner().invoke(app, words, input=given, catch_exceptions=False)


def run(*words: str, given: str = "") -> str:
    result = invoke(*words, given=given)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_purchase_becomes_cain_with_a_report_of_what_is_lost() -> None:
    output = run(MESSAGE.raw.hex(), "--to", "cain.003", "--report")
    assert "cain.003.001.04" in output
    assert "TxId/SysTracAudtNb" in output
    assert "a MAC is of one link" in output
    assert "has no place in a transaction" in output
    assert PAN not in output
    assert "0001020304050607" not in output
    assert "9F2608" not in output


def test_losses_are_counted_where_nobody_asks_for_them() -> None:
    output = run(MESSAGE.raw.hex(), "--to", "cain")
    assert "2 fields have no place there; --report lists them" in output


def test_a_wrong_family_is_told() -> None:
    output = run(MESSAGE.raw.hex(), "--to", "cain.001")
    assert "what this message does is a cain.003, not a cain.001" in output


def test_the_way_there_and_back_gives_the_same_fields() -> None:
    there = json.loads(run(MESSAGE.raw.hex(), "--to", "cain.003", "--json", "--unsafe"))
    assert [each["place"] for each in there["losses"]] == ["60", "64"]
    back = json.loads(
        run("-", "--to", "iso87-ascii", "--json", "--unsafe", given=there["xml"])
    )
    again = DIALECT.codec.decode(bytes.fromhex(back["hex"]))
    assert {**again.values(), 60: "PRIVATE 1"} == {
        de: value for de, value in MESSAGE.values().items() if de != 64
    }
    assert {each["reason"] for each in back["losses"]} <= {
        "has no place in a transaction",
        "the other standard has no place for it",
    }


def test_a_purchase_becomes_a_terminals_message_and_comes_back() -> None:
    there = json.loads(run(MESSAGE.raw.hex(), "--to", "caaa.001", "--json", "--unsafe"))
    assert there["message"] == "caaa.001.001.13"
    back = json.loads(run(there["xml"], "--to", "iso87-ascii", "--json", "--unsafe"))
    again = DIALECT.codec.decode(bytes.fromhex(back["hex"]))
    assert {again[de] == MESSAGE[de] for de in (2, 3, 4, 11, 35, 37, 52, 55)} == {True}


def test_masked_json_shows_no_secret() -> None:
    for words in (
        (MESSAGE.raw.hex(), "--to", "cain.003"),
        (CAIN.to_request(TXN, LEG).raw.decode(), "--to", "iso87-ascii"),
    ):
        for more in ((), ("--json",), ("--report",)):
            output = run(*words, *more)
            assert PAN not in output
            assert "0001020304050607" not in output


def test_cain_becomes_iso_8583() -> None:
    xml = CAIN.to_request(TXN, LEG, mac=True).raw.decode()
    output = run(xml, "--to", "iso87-bcd", "--report")
    assert "0200" in output
    assert "a MAC is of one link" in output
    assert "nothing is lost" not in output
    reversal = CAIN.to_request(replace(PURCHASE, kind=Kind.REVERSAL), LEG)
    assert "0400" in run(reversal.raw.decode(), "--to", "iso87-ascii", "--unsafe")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((MESSAGE.raw.hex(), "--to", "pacs.008"), "does not become pacs.008"),
        ((MESSAGE.raw.hex(), "--to", "cain", "--currency", "EUR"), "not a currency"),
        (("<a/>", "--to", "iso87-ascii"), "neither a header nor a message"),
        (("<a>", "--to", "iso87-ascii"), "not well-formed"),
        (("ffff", "--to", "cain"), "\\w+"),
        ((CAIN.to_request(TXN, LEG).raw.decode(), "--to", "x"), "no dialect is called"),
        (
            (
                DIALECT.network_request(
                    Kind.ECHO, stan="1", transmitted_at=LEG.transmitted_at
                ).raw.hex(),
                "--to",
                "cain",
            ),
            "cain.04 has no echo",
        ),
    ],
)
def test_what_does_not_translate_is_told(words: tuple[str, ...], reason: str) -> None:
    with pytest.raises(Failure, match=reason) as refused:
        invoke(*words)
    assert refused.value.fix


def test_an_answer_does_not_translate_alone() -> None:
    answer = CAIN.to_request(TXN, LEG).raw.replace(b"cain.003", b"cain.004")
    with pytest.raises(Failure, match="not a request"):
        invoke(answer.decode(), "--to", "iso87-ascii")
