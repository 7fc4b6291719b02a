"""What a terminal is told unasked of its code, in every dialect that carries codes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.dialects.notice import CodeNotice, build_notice, read_notice
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.dialects.scanned import CODE_FIELDS
from tests.codecs.dialects.strategies import NOW
from tests.codecs.dialects.test_dialect import LEG, PURCHASE

NOTICE = CodeNotice(
    rrn="000100000002",
    code=ResponseCode.APPROVED,
    amount=Money(1250, "978"),
    terminal_id="TERM0001",
    merchant_id="KIOSK0000000001",
)


@pytest.mark.parametrize("name", CODE_FIELDS)
@pytest.mark.parametrize("code", [ResponseCode.APPROVED, ResponseCode.ANSWER_TOO_LATE])
@pytest.mark.parametrize("mac", [False, True])
def test_a_notice_says_the_same_over_the_wire(
    name: str, code: ResponseCode, *, mac: bool
) -> None:
    dialect, notice = get_dialect(name), replace(NOTICE, code=code)
    built = build_notice(dialect, notice, stan="000007", transmitted_at=NOW, mac=mac)
    read = dialect.codec.decode(built.raw)
    assert read.mti[1:] == "640"
    assert str(read[11]).lstrip("0") == "7"
    assert (dialect.mac_field(read) is not None) is mac
    assert read_notice(dialect, read) == notice


@pytest.mark.parametrize(
    "changes", [{3: "000000"}, {3: None}, {39: None}, {39: "ZZ"}, {4: None}]
)
def test_another_message_is_none(changes: dict[int, str | bytes | None]) -> None:
    dialect = get_dialect("iso87-ascii")
    built = build_notice(dialect, NOTICE, stan="1", transmitted_at=NOW, mac=False)
    assert read_notice(dialect, built.replace(changes)) is None
    asked = replace(PURCHASE, kind=Kind.CODE_STATUS, amount=None)
    question = dialect.to_request(asked, LEG, mac=False)
    assert read_notice(dialect, question) is None
    cards = get_dialect("caaa")
    assert read_notice(cards, cards.to_request(PURCHASE, LEG, mac=False)) is None
