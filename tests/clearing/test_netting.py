"""The positions of a window sum to zero, and no cap is exceeded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.clearing.netting import CapExceeded, Window

NAMES = ("BANKA", "BANKB", "BANKC")
moves = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(1, 900))
)


@given(moves, st.dictionaries(st.sampled_from(NAMES), st.integers(0, 1000)))
def test_whatever_moves_the_sum_is_zero_and_caps_hold(
    story: list[tuple[str, str, int]], caps: dict[str, int]
) -> None:
    window = Window("1", "978", caps)
    for debtor, creditor, minor in story:
        before = dict(window.minor_by_participant)
        try:
            window.move(debtor=debtor, creditor=creditor, minor=minor)
        except CapExceeded:
            assert window.minor_by_participant == before
    assert sum(each.amount.minor for each in window.positions()) == 0
    for name, cap in caps.items():
        assert window.minor_by_participant.get(name, 0) >= -cap


def test_a_cap_is_for_the_net_and_not_for_what_was_sent() -> None:
    window = Window("1", "978", {"BANKA": 500})
    window.move(debtor="BANKA", creditor="BANKB", minor=500)
    with pytest.raises(CapExceeded):
        window.move(debtor="BANKA", creditor="BANKB", minor=1)
    window.move(debtor="BANKB", creditor="BANKA", minor=200)
    window.move(debtor="BANKA", creditor="BANKC", minor=200)
