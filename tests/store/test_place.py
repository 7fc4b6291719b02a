"""Addresses of databases, which may hold a password."""

from __future__ import annotations

import pytest

from isoswitch.store.place import DatabaseUrl

SECRET = "Tr0ub4dor"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://sw:{SECRET}@db-a,db-b:5433/isoswitch",
        f"postgres://sw:{SECRET}%40%2F%25@db/isoswitch?sslmode=require",
        f"postgresql:///isoswitch?user=sw&password={SECRET}",
    ],
)
def test_an_address_prints_without_its_password(url: str) -> None:
    address = DatabaseUrl(url)
    assert address.reveal() == url
    assert SECRET not in f"{address} {address!r}"
    assert str(address).startswith("postgresql://")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://sw:a/{SECRET}@db/isoswitch",
        f"postgresql://sw:a@{SECRET}@db/isoswitch",
        f"postgresql://sw:a%{SECRET}@db/isoswitch",
        f"postgresql://sw:\u2100{SECRET}@db/isoswitch",
        f"postgresql://[{SECRET}/isoswitch",
        f"mysql://sw:{SECRET}@db/isoswitch",
        f"postgresql://sw:{SECRET}@db",
    ],
)
def test_one_that_would_be_misunderstood_is_refused_unseen(url: str) -> None:
    with pytest.raises(ValueError, match="not the address of a database") as refusal:
        DatabaseUrl(url)
    assert SECRET not in str(refusal.value)
    assert refusal.value.__cause__ is None
