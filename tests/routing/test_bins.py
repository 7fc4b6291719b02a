"""The most specific BIN row covers a card; rows that cannot say which are refused."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.secrets import Pan
from isoswitch.routing.bins import (
    EVERYTHING,
    BinRow,
    BinsRefused,
    BinTable,
    Span,
    override,
    row_span,
)


def row(digits: str, name: str = "", line: int = 0, primary: str = "north") -> BinRow:
    """Give a row of a table."""
    return BinRow(digits=digits, primary=primary, name=name, line=line)


TABLE = BinTable(
    [
        row("411111"),
        row("4111111"),
        row("41111111"),
        row("41111112..41111115"),
        row("41111111122", "nine-and-more"),
        row("500000..599999"),
        row("510000"),
    ]
)


@pytest.mark.parametrize(
    ("number", "found"),
    [
        ("4111110000000000", "411111"),
        ("4111111900000000", "4111111"),
        ("4111111190000000", "41111111"),
        ("4111111299999999", "41111112..41111115"),
        ("4111111600000000", "4111111"),
        ("4111111112200000", "nine-and-more"),
        ("4111111112100000", "41111111"),
        ("5100009999999999", "510000"),
        ("5100010000000000", "500000..599999"),
        ("5999999999999999999", "500000..599999"),
        ("4111100000000000", None),
        ("6000000000000000", None),
        ("0000000000000000", None),
    ],
)
def test_the_most_specific_row_wins(number: str, found: str | None) -> None:
    it = TABLE.find(Span.of_card(Pan(number)))
    assert (it.label if it else None) == found


def test_a_card_shorter_than_a_row_does_not_fall_into_it() -> None:
    """A number of eight digits is not one that begins with eleven."""
    found = TABLE.find(Span.of_card(Pan("41111111")))
    assert found is not None
    assert found.label == "41111111"


def test_few_digits_find_the_row_that_covers_them_all() -> None:
    found = TABLE.find(Span.of_digits("411111"))
    assert found is not None
    assert found.label == "411111"
    assert TABLE.find(Span.of_digits("4")) is None


def test_segments_tell_where_more_digits_would_decide() -> None:
    parts = list(TABLE.segments(Span.of_digits("41111111")))
    assert [each.label if each else None for _, each in parts] == [
        "41111111",
        "nine-and-more",
        "41111111",
    ]
    assert parts[0][0].low == Span.of_digits("41111111").low
    assert parts[-1][0].high == Span.of_digits("41111111").high


def test_nothing_of_a_card_is_printed() -> None:
    assert repr(Span.of_card(Pan("4111111111111111"))) == "Span()"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        pytest.param([row("41111")], "not 6 to 11 digits", id="too short"),
        pytest.param([row("411111222233", "x")], "not 6 to 11", id="too long"),
        pytest.param([row("411111..4111112")], "different lengths", id="lengths"),
        pytest.param([row("411112..411111")], "before it begins", id="backwards"),
        pytest.param([row("411111x")], "not 6 to 11 digits", id="letters"),
        pytest.param(
            [row("411111"), row("411111..411111", line=7)],
            "BIN 411111..411111 stands in the configuration too",
            id="twice",
        ),
        pytest.param(
            [row("411110..411115", line=3), row("411113..411118", line=9)],
            "overlaps 411110..411115 of line 3, and neither lies in the other",
            id="crossing",
        ),
        pytest.param([row("411111222")], "has no name", id="nine digits, no name"),
        pytest.param(
            [row("411111", "a", 1), row("411112", "a", 2)],
            "the name 'a' belongs to line 1",
            id="name twice",
        ),
    ],
)
def test_rows_that_make_no_table_are_refused(rows: list[BinRow], said: str) -> None:
    with pytest.raises(BinsRefused, match=said):
        BinTable(rows)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    rows = [row("4", line=1), row("411111", line=2), row("411111", line=3)]
    with pytest.raises(BinsRefused) as caught:
        BinTable(rows)
    assert [problem.line for problem in caught.value.problems] == [1, 3]


def test_the_configuration_wins_over_the_file_digit_for_digit() -> None:
    file = [row("411111", line=2), row("411112", line=3)]
    own = [row("411111", primary="south")]
    table = BinTable(override(file, by=own))
    assert len(table) == 2
    moved = table.find(Span.of_digits("411111"))
    assert moved is not None
    assert (moved.primary, moved.line) == ("south", 0)


PREFIXES = st.lists(
    st.text("0123", min_size=6, max_size=8), min_size=1, max_size=12, unique=True
)


@given(PREFIXES, st.text("0123", min_size=11, max_size=11))
def test_it_finds_what_looking_at_every_row_finds(
    prefixes: list[str], digits: str
) -> None:
    """The oracle is the sentence itself: the longest prefix that fits."""
    table = BinTable([row(prefix) for prefix in prefixes])
    fitting = [prefix for prefix in prefixes if digits.startswith(prefix)]
    found = table.find(Span.of_digits(digits))
    assert (found.label if found else "") == max(fitting, key=len, default="")


@given(PREFIXES)
def test_segments_lie_side_by_side_and_leave_nothing_out(prefixes: list[str]) -> None:
    table = BinTable([row(prefix) for prefix in prefixes])
    parts = [span for span, _ in table.segments(EVERYTHING)]
    assert parts[0].low == EVERYTHING.low
    assert parts[-1].high == EVERYTHING.high
    ends = [part.high for part in parts]
    assert ends == sorted(ends)
    for before, after in pairwise(parts):
        assert after.low == before.high + 1
    for prefix in prefixes:
        assert bisect_left(ends, row_span(row(prefix)).high) < len(parts)
