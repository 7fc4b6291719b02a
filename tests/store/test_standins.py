"""Every store keeps the limits of stand-in, and counts what issuers do not know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from isoswitch.journal.records import RecordKind
from isoswitch.store.inspection import inspect_store
from isoswitch.store.port import Move, SafState, Store, TransactionState, UnitOfWork
from isoswitch.store.reader import open_reader
from isoswitch.store.sqlite import open_sqlite_store
from isoswitch.store.standins import CardUse, Exposure, StandInRefused
from tests.store.conftest import Open
from tests.store.units import record, saf_update, standing_in, transaction


def untold(count: int, minor: int) -> list[Exposure]:
    """Give what ``alpha`` was not told of."""
    return [
        Exposure(
            profile="small", endpoint="alpha", currency="978", count=count, minor=minor
        )
    ]


async def test_an_approval_counts_until_its_advice_is_delivered(store: Store) -> None:
    committed = await store.commit(standing_in("1"))
    assert await store.exposures() == untold(1, 1250)
    entry = committed.saf_entries[0].id
    await store.commit(saf_update(entry, state=SafState.QUARANTINED))
    assert await store.exposures() == untold(1, 1250)
    await store.commit(saf_update(entry, state=SafState.DELIVERED))
    assert await store.exposures() == []


async def test_a_reversed_approval_counts_no_more(store: Store) -> None:
    await store.commit(standing_in("1"))
    move = Move(
        id="1",
        expect=TransactionState.CLOSED,
        state=TransactionState.CLOSED,
        mark_reversed=True,
    )
    await store.commit(
        UnitOfWork(records=(record(RecordKind.EXCEPTION, "1"),), moves=(move,))
    )
    assert await store.exposures() == []
    # The card's count stays, its amount is free again.
    await store.commit(standing_in("2", amount_minor=3_000))
    with pytest.raises(StandInRefused, match="number of stand-in approvals"):
        await store.commit(standing_in("3", amount_minor=1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"card_count_max": 1}, "number of stand-in approvals", id="count"),
        pytest.param({"amount_minor": 1751}, "card's stand-in amount", id="amount"),
        pytest.param(
            {"pan_hash": "other", "total_minor_max": 2499}, "for the issuer", id="total"
        ),
    ],
)
async def test_what_exceeds_a_limit_is_refused_with_its_whole_unit(
    store: Store, changes: dict[str, object], said: str
) -> None:
    await store.commit(standing_in("1"))
    with pytest.raises(StandInRefused, match=said):
        await store.commit(standing_in("2", **changes))
    assert await store.find_transaction("2") is None
    assert len(await store.pending_saf()) == 1
    assert await store.exposures() == untold(1, 1250)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"amount_minor": 1750}, id="at the card's amount"),
        pytest.param({"pan_hash": "b", "total_minor_max": 2500}, id="at the total"),
        pytest.param(
            {"pan_hash": "b", "endpoint": "beta", "total_minor_max": 1250},
            id="another issuer",
        ),
        pytest.param(
            {"currency": "840", "card_count_max": 1, "total_minor_max": 1250},
            id="another currency",
        ),
    ],
)
async def test_what_reaches_a_limit_is_taken(
    store: Store, changes: dict[str, object]
) -> None:
    await store.commit(standing_in("1"))
    await store.commit(standing_in("2", **changes))
    assert sum(each.count for each in await store.exposures()) == 2


async def test_units_of_one_batch_see_each_other(store: Store) -> None:
    refused = 0

    async def commit(name: str) -> None:
        nonlocal refused
        try:
            await store.commit(standing_in(name, pan_hash=name))
        except StandInRefused:
            refused += 1

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(commit, f"t{number}")
    assert refused == 6
    assert await store.exposures() == untold(4, 5000)


async def test_exposure_outlives_the_store(open_store: Open) -> None:
    async with open_store() as opened:
        await opened.commit(standing_in("1"))
    async with open_store() as again:
        assert await again.exposures() == untold(1, 1250)


async def test_a_unit_that_is_refused_otherwise_is_not_counted(store: Store) -> None:
    await store.commit(standing_in("1"))
    taken = replace(standing_in("2"), opens=(transaction("2", dedup_key="key-1"),))
    with pytest.raises(Exception, match="holds this dedup key"):
        await store.commit(taken)
    assert await store.exposures() == untold(1, 1250)


async def test_the_use_of_each_card_is_told_masked(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with open_sqlite_store(path) as store:
        await store.commit(standing_in("1"))
        await store.commit(standing_in("2", amount_minor=100))
    with open_reader(path) as reader:
        assert reader.stand_in_cards("2026-01-31") == [
            CardUse(
                pan_masked="476173******0010",
                profile="small",
                endpoint="alpha",
                currency="978",
                count=2,
                minor=1350,
            )
        ]
        assert reader.stand_in_cards("2026-02-01") == []


async def test_an_approval_that_nobody_is_told_of_shows_in_an_inspection(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.db"
    async with open_sqlite_store(path) as store:
        await store.commit(standing_in("1"))
        assert inspect_store(path).is_sound
        await store.commit(replace(standing_in("2"), saf_puts=()))
    assert inspect_store(path).findings == (
        (
            "transaction 2: it does not hold that what is owed stands in store and "
            "forward, and nothing else does: 1 advice to alpha by the journal, 0 stored"
        ),
    )
