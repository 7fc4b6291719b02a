"""The limits on what may begin at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.codes import Function, Kind
from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.switch.admission import (
    REASONS,
    Buckets,
    Limit,
    Load,
    begins_anew,
    find_limit,
)
from isoswitch.switch.settings import AdmissionSettings

SETTINGS = AdmissionSettings(
    terminal_per_s=2.0, terminal_burst=3, merchant_in_flight_max=4, in_flight_max=8
)
QUIET = Load(total=1, merchant=1)


def limit_of(
    load: Load, buckets: Buckets, *, terminal: str = "T1", now: float = 0.0
) -> Limit | None:
    """Ask for something new while the clock is right."""
    return find_limit(
        SETTINGS, load, buckets, is_clock_trusted=True, terminal_id=terminal, now=now
    )


@pytest.mark.parametrize(
    ("kind", "function", "is_repeat", "may_be_refused"),
    [
        (Kind.PURCHASE, Function.REQUEST, False, True),
        (Kind.BALANCE_INQUIRY, Function.REQUEST, False, True),
        (Kind.PURCHASE, Function.REQUEST, True, False),
        (Kind.PURCHASE, Function.ADVICE, False, False),
        (Kind.REVERSAL, Function.REQUEST, False, False),
        (Kind.REVERSAL, Function.ADVICE, False, False),
    ],
)
def test_only_what_begins_anew_may_be_refused(
    kind: Kind, function: Function, *, is_repeat: bool, may_be_refused: bool
) -> None:
    txn = Transaction(kind=kind, function=function, is_repeat=is_repeat, stan="000001")
    assert begins_anew(txn) is may_be_refused


@pytest.mark.parametrize(
    ("load", "limit"),
    [
        (Load(total=8, merchant=4), None),
        (Load(total=9, merchant=1), Limit.TOTAL),
        (Load(total=5, merchant=5), Limit.MERCHANT),
    ],
)
def test_what_is_in_flight_is_bounded(load: Load, limit: Limit | None) -> None:
    assert limit_of(load, Buckets()) is limit


def test_a_terminal_may_burst_and_then_has_its_rate() -> None:
    buckets = Buckets()
    # Three at once, then one for every half second.
    times = [0.0, 0.0, 0.0, 0.0, 0.4, 0.5, 0.6, 1.0, 1.1]
    refused = [limit_of(QUIET, buckets, now=now) for now in times]
    limit = Limit.TERMINAL
    assert refused == [None, None, None, limit, limit, None, limit, None, limit]


def test_terminals_do_not_take_each_others_tokens() -> None:
    buckets = Buckets()
    for _ in range(3):
        assert limit_of(QUIET, buckets) is None
    assert limit_of(QUIET, buckets, terminal="T2") is None


def test_what_another_limit_refuses_costs_no_token() -> None:
    buckets = Buckets()
    full = Load(total=9, merchant=1)
    for _ in range(10):
        limit_of(full, buckets)
    assert limit_of(QUIET, buckets) is None


def test_a_flood_of_ids_costs_a_fixed_amount_of_memory() -> None:
    buckets = Buckets(buckets_max=10)
    for number in range(1000):
        assert buckets.take(f"T{number}", per_s=1.0, burst=1, now=0.0)
    assert len(buckets) == 10


def test_the_bucket_used_least_recently_is_forgotten_first() -> None:
    buckets = Buckets(buckets_max=2)
    for name in ("old", "new", "old", "third"):
        buckets.take(name, per_s=0.001, burst=2, now=0.0)
    # "new" was forgotten and is full again; "old" has used both of its tokens.
    assert not buckets.take("old", per_s=0.001, burst=2, now=0.0)


@given(
    burst=st.integers(1, 20),
    per_s=st.floats(0.1, 50),
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=80),
)
def test_no_more_than_burst_and_rate_pass_in_any_time(
    burst: int, per_s: float, gaps: list[float]
) -> None:
    buckets, now, passed = Buckets(), 0.0, 0
    for gap in gaps:
        now += gap
        passed += buckets.take("T1", per_s=per_s, burst=burst, now=now)
    assert passed <= burst + per_s * now + 1e-6


def test_nothing_new_begins_while_the_clock_is_in_doubt() -> None:
    limit = find_limit(
        SETTINGS, QUIET, Buckets(), is_clock_trusted=False, terminal_id="T1", now=0
    )
    assert limit is Limit.CLOCK


def test_every_limit_says_why() -> None:
    assert set(REASONS) == set(Limit)
