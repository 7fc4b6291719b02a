"""``isoswitch qr``, as people type it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from isoswitch.commands import qr
from isoswitch.commands.console import Failure

PROMPTPAY = "00020101021129370016A000000677010111011300668012345675802TH530376463046197"
PAYER = "hQVDUFYwMWEaTwegAAAAVVVVVw8SNFZ4kBI0WNGRIgESNF8="
PAYER_PAN = "1234567890123458"


def run(*words: str, given: str = "") -> str:
    result = CliRunner().invoke(qr.app, words, input=given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def refusal(*words: str) -> Failure:
    with pytest.raises(Failure) as refused:
        run(*words)
    assert refused.value.exit_code == 2
    return refused.value


def test_a_merchants_code_is_shown_and_drawn() -> None:
    output = run("show", PROMPTPAY)
    assert "PromptPay, Thailand" in output
    assert "0066801234567" in output
    assert "\u2588" in output
    assert "\u2588" not in run("show", PROMPTPAY, "--no-draw")


def test_a_code_is_read_from_standard_input() -> None:
    assert "PromptPay" in run("show", "-", given=PROMPTPAY + "\n")


def test_json_tells_every_part() -> None:
    answer = json.loads(run("show", PROMPTPAY, "--json"))
    assert answer["kind"] == "merchant-presented code, static"
    part = {"path": "29.01", "name": "mobile number", "value": "0066801234567"}
    assert part in answer["parts"]
    assert "payload" not in answer


def test_a_payers_code_is_masked_and_not_drawn() -> None:
    output = run("show", PAYER)
    assert "123456******3458" in output
    assert PAYER_PAN not in output
    assert PAYER not in output
    assert "\u2588" not in output
    assert PAYER_PAN in run("show", PAYER, "--unsafe")


def test_a_payers_code_becomes_a_file_only_by_intent(tmp_path: Path) -> None:
    svg = tmp_path / "code.svg"
    assert "secret" in refusal("show", PAYER, "--svg", str(svg)).what
    assert not svg.exists()
    run("show", PAYER, "--svg", str(svg), "--unsafe")
    assert svg.read_text(encoding="utf-8").startswith("<?xml")


def test_text_of_a_merchant_is_not_markup() -> None:
    output = run("make", "pix", "--set", "01=k", "--name", "[red]Shop", "--no-draw")
    assert "[red]Shop" in output


def test_a_code_is_made_and_written(tmp_path: Path) -> None:
    png = tmp_path / "code.png"
    words = ["make", "promptpay", "--set", "01=0066801234567", "--amount", "4.22"]
    more = ["--dynamic", "--tip", "percent:5", "--add", "05=REF1", "--json"]
    answer = json.loads(run(*words, *more, "--png", str(png)))
    values = {part["path"]: part["value"] for part in answer["parts"]}
    assert values["54"] == "4.22"
    assert values["57"] == "5"
    assert values["62.05"] == "REF1"
    assert png.read_bytes().startswith(b"\x89PNG")
    assert run("show", answer["payload"])


@pytest.mark.parametrize(
    ("words", "payload"),
    [
        (["upi", "--set", "pa=shop@bank"], "upi://pay?pa=shop@bank"),
        (["upi", "--set", "pa=a@b", "--amount", "5"], "upi://pay?pa=a@b&am=5"),
        (
            ["unionpay", "--set", "account=37210116372101160123456789ABCDE"],
            "153137210116372101160123456789ABCDE",
        ),
        (["pix", "--set", "01=k", "--tip", "prompt"], "550201"),
        (["pix", "--set", "01=k", "--tip", "fixed:1.00"], "56041.00"),
    ],
)
def test_codes_of_several_schemes_are_made(words: list[str], payload: str) -> None:
    assert payload in json.loads(run("make", *words, "--json"))["payload"]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["nopay"], "no scheme"),
        (["pix", "--set", "01"], "is not KEY=VALUE"),
        (["pix", "--set", "01=k", "--amount", "a lot"], "is not an amount"),
        (["pix", "--set", "01=k", "--amount", "-1"], "is not an amount"),
        (["pix", "--set", "01=k", "--tip", "some"], "is not a tip"),
        (["pix", "--set", "01=k", "--tip", "prompt:1"], "is not a tip"),
        (["pix", "--set", "01=k", "--tip", "fixed"], "is not a tip"),
    ],
)
def test_wrong_usage_says_what_and_the_fix(words: list[str], what: str) -> None:
    failure = refusal("make", *words)
    assert what in failure.what
    assert failure.fix
