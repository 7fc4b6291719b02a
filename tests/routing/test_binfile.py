"""BIN files are read as a whole, or everything wrong with them is told by line."""

from __future__ import annotations

import pytest

from isoswitch.routing.binfile import read_bin_rows
from isoswitch.routing.bins import BinRow, BinsRefused

GOOD = """\
bin\tprimary\talternate\tname\tcountry\tgroup
# delivered monthly
411111\tnorth\tsouth\t\t276\t

41111125..41111129\tsouth\t\tgift-card\t\tprepaid
"""


def test_rows_know_their_lines() -> None:
    assert read_bin_rows(GOOD.splitlines()) == [
        BinRow(
            digits="411111", primary="north", alternate="south", country="276", line=3
        ),
        BinRow(
            digits="41111125..41111129",
            primary="south",
            name="gift-card",
            group="prepaid",
            line=5,
        ),
    ]


def test_commas_and_quotes_do_as_well() -> None:
    rows = read_bin_rows(["primary,bin,group", 'north,"411111", debit'])
    assert rows == [BinRow(digits="411111", primary="north", group="debit", line=2)]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        pytest.param("bin,primary,colour\n", 1, "unknown column", id="column"),
        pytest.param("bin,primary,bin\n", 1, "bin stands twice", id="column twice"),
        pytest.param("primary\n", 1, "no column bin", id="no column"),
        pytest.param("", 1, "no column", id="empty"),
        pytest.param("bin,primary\n\n411111\n", 3, "1 values under 2", id="short"),
        pytest.param("bin,primary\n411111,\n", 2, "primary is not", id="no endpoint"),
        pytest.param("bin,primary\n41x111,north\n", 2, "bin is not", id="letters"),
        pytest.param(
            "bin,primary,name\n411111,north,bin-411111\n",
            2,
            "name is not",
            id="a name that gives the digits away",
        ),
        pytest.param(
            "bin,primary,country\n411111,north,DE\n", 2, "country is not", id="country"
        ),
        pytest.param(
            'bin,primary\n411111,"' + "n" * 200_000, 2, "0 values", id="far too long"
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(BinsRefused, match=said) as caught:
        read_bin_rows(text.splitlines())
    assert caught.value.problems[0].line == line


def test_a_card_number_in_the_wrong_place_is_not_repeated() -> None:
    with pytest.raises(BinsRefused) as caught:
        read_bin_rows(["bin,primary", "411111,4111111111111111"])
    assert "4111111111111111" not in str(caught.value)
