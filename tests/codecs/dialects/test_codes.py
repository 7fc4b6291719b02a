"""Response codes: every canonical code has a wire code, every wire code a meaning."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.dialects.codes import (
    CODES_1987,
    CODES_1993,
    CODES_2003,
    CODES_UNIONPAY,
    MEANINGS_1987,
    MEANINGS_1993,
    MEANINGS_2003,
    MEANINGS_UNIONPAY,
    Meanings,
    meanings_for,
    widen_action_code,
)
from tests.shared import reference

Codes = Mapping[ResponseCode, str]

TABLES = pytest.mark.parametrize(
    ("codes", "meanings", "length"),
    [
        (CODES_1987, MEANINGS_1987, 2),
        (CODES_UNIONPAY, MEANINGS_UNIONPAY, 2),
        (CODES_1993, MEANINGS_1993, 3),
        (CODES_2003, MEANINGS_2003, 4),
    ],
    ids=["1987", "unionpay", "1993", "2003"],
)


@TABLES
def test_every_canonical_code_has_a_wire_code_that_reads_back(
    codes: Codes, meanings: Meanings, length: int
) -> None:
    for code in ResponseCode:
        wire = codes[code]
        assert len(wire) == length
        assert meanings[wire][0] is code


@TABLES
def test_no_two_canonical_codes_share_a_wire_code(
    codes: Codes, meanings: Meanings, length: int
) -> None:
    assert len(set(codes.values())) == len(codes)


@TABLES
def test_every_meaning_has_words(codes: Codes, meanings: Meanings, length: int) -> None:
    for wire, (_, words) in meanings.items():
        assert len(wire) == length
        assert words.strip() == words != ""


@pytest.mark.parametrize(
    ("list_name", "meanings"),
    [
        ("response_code_1987", MEANINGS_1987),
        ("response_code_1987", MEANINGS_UNIONPAY),
        ("response_code_unionpay_pos", MEANINGS_UNIONPAY),
        ("action_code_1993", MEANINGS_1993),
        ("action_map_2003_to_1993_to_1987", MEANINGS_2003),
    ],
)
def test_every_published_code_has_a_meaning(list_name: str, meanings: Meanings) -> None:
    published = set(reference("iso8583-codes.json")[list_name]) - {"note"}
    assert published <= set(meanings)


def test_the_published_map_between_editions_agrees() -> None:
    published = reference("iso8583-codes.json")["action_map_2003_to_1993_to_1987"]
    for code_2003, (code_1993, code_1987) in published.items():
        assert widen_action_code(code_1993) == code_2003
        assert MEANINGS_1993[code_1993][0] is MEANINGS_1987[code_1987][0]


# The codes that move money, and no other: 1987 with the words of the published list.
APPROVALS_1987 = {
    "00": "approved",
    "08": "honour with identification",
    "10": "approved for partial amount",
    "11": "approved (VIP)",
    "16": "approved, update track 3",
    "85": "no reason to decline",
}


def test_only_these_codes_of_1987_approve() -> None:
    approvals = {
        wire: words for wire, (code, words) in MEANINGS_1987.items() if code.is_approval
    }
    assert approvals == APPROVALS_1987


@pytest.mark.parametrize(
    ("meanings", "function", "approvals"),
    [
        (MEANINGS_1993, "1", "000 001 002 003 004 005 006 007"),
        (MEANINGS_1993, "3", "000 001 002 003 004 005 006 007 900 901"),
        (MEANINGS_2003, "1", "0000 0001 0002 0003 0004 0005 0006 0007"),
        (MEANINGS_2003, "3", "0000 0001 0002 0003 0004 0005 0006 0007 9100 9101"),
    ],
)
def test_a_purchase_is_approved_by_no_acceptance_of_another_class(
    meanings: Meanings, function: str, approvals: str
) -> None:
    allowed = meanings_for(meanings, "2", function)
    assert {w for w, (code, _) in allowed.items() if code.is_approval} == set(
        approvals.split()
    )


@pytest.mark.parametrize(
    ("message_class", "accepted", "refused"),
    [
        ("3", "300", "400"),
        ("4", "400", "800"),
        ("4", "499", "500"),
        ("5", "500", "400"),
        ("6", "605", "800"),
        ("7", "700", "600"),
        ("8", "800", "400"),
    ],
)
def test_each_class_has_its_own_acceptances(
    message_class: str, accepted: str, refused: str
) -> None:
    allowed = meanings_for(MEANINGS_1993, message_class, "1")
    assert allowed[accepted][0] is ResponseCode.APPROVED
    assert refused not in allowed
