"""Message type indicators: requests, repeats, answers."""

from __future__ import annotations

import pytest

from isoswitch.codecs.canonical.codes import Function
from isoswitch.codecs.dialects.mti import ANSWERS, REQUESTS
from tests.shared import reference


@pytest.mark.parametrize(
    ("mti", "answer"),
    [
        ("0200", "0210"),
        ("0201", "0210"),
        ("0221", "0230"),
        ("0302", "0312"),
        ("0303", "0312"),
        ("0401", "0410"),
        ("0421", "0430"),
        ("1804", "1814"),
        ("1805", "1814"),
        ("2100", "2110"),
    ],
)
def test_an_answer_drops_the_repeat(mti: str, answer: str) -> None:
    assert ANSWERS[mti] == answer


def test_the_published_pairs_agree() -> None:
    for mti, answer in reference("iso8583-codes.json")["mti_pairs"].items():
        assert ANSWERS[mti] == answer[:4]


@pytest.mark.parametrize(
    ("mti", "message_class", "function", "is_repeat"),
    [
        ("0100", "1", Function.REQUEST, False),
        ("0201", "2", Function.REQUEST, True),
        ("0420", "4", Function.ADVICE, False),
        ("1421", "4", Function.ADVICE, True),
        ("0240", "2", Function.NOTIFICATION, False),
        ("0303", "3", Function.REQUEST, True),
    ],
)
def test_a_request_tells_its_class_function_and_repeat(
    mti: str, message_class: str, function: Function, is_repeat: bool
) -> None:
    assert REQUESTS[mti] == (mti[0], message_class, function, is_repeat)


@pytest.mark.parametrize("mti", ["0210", "0430", "0290", "0000", "0207", "9200"])
def test_what_is_no_request_is_not_among_them(mti: str) -> None:
    assert mti not in REQUESTS
    assert mti not in ANSWERS


def test_a_notification_has_no_answer() -> None:
    assert "0240" in REQUESTS
    assert "0240" not in ANSWERS
