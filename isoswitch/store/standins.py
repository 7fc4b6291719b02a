"""Approvals given in an issuer's place: what was given, and what may still be.

The store itself holds the limits: two requests that are decided at the same moment, on
one node or on two, cannot both take the last of one. What counts as exposure is an
approval whose advice the issuer has not acknowledged, unless it was reversed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from isoswitch.codecs.canonical.errors import IsoswitchError


class StandInRefused(IsoswitchError):
    """A limit of stand-in is reached; nothing was approved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """An approval in place of an endpoint, and the limits that it must keep.

    Per card and business day at most ``card_count_max`` approvals over
    ``card_minor_max`` together; of one endpoint at most ``total_minor_max`` that it has
    not been told of.
    """

    transaction_id: str
    profile: str
    endpoint: str
    pan_hash: str
    business_date: str
    currency: str
    amount_minor: int
    card_count_max: int
    card_minor_max: int
    total_minor_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What is used of the limits already; what was reversed counts as an approval."""

    card_count: int
    card_minor: int
    total_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What an endpoint has not been told of yet: approvals under one profile."""

    profile: str
    endpoint: str
    currency: str
    count: int
    minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CardUse:
    """What was approved for one card on one business day in the issuer's place."""

    pan_masked: str
    profile: str
    endpoint: str
    currency: str
    count: int
    minor: int


# What is used, what may be used, and what is said when it is too much.
_LIMITS: tuple[
    tuple[Callable[[StandIn, Usage], int], Callable[[StandIn], int], str], ...
] = (
    (
        lambda each, used: used.card_count + 1,
        lambda each: each.card_count_max,
        "the card has had its number of stand-in approvals for the day",
    ),
    (
        lambda each, used: used.card_minor + each.amount_minor,
        lambda each: each.card_minor_max,
        "above the card's stand-in amount for the day",
    ),
    (
        lambda each, used: used.total_minor + each.amount_minor,
        lambda each: each.total_minor_max,
        "above the stand-in amount for the issuer",
    ),
)


def check_stand_in(stand_in: StandIn, used: Usage) -> None:
    """Raise StandInRefused when an approval would exceed a limit."""
    for use, limit, reason in _LIMITS:
        if use(stand_in, used) > limit(stand_in):
            raise StandInRefused(reason)


def count_usage(
    wanted: StandIn,
    *,
    given: Iterable[StandIn],
    unreversed: Iterable[StandIn],
    untold: Iterable[StandIn],
) -> Usage:
    """Count what approvals have used of the limits of one that is wanted."""

    def of_card(each: StandIn) -> bool:
        return (each.pan_hash, each.business_date, each.currency) == (
            wanted.pan_hash,
            wanted.business_date,
            wanted.currency,
        )

    def of_issuer(each: StandIn) -> bool:
        return (each.endpoint, each.currency) == (wanted.endpoint, wanted.currency)

    return Usage(
        card_count=sum(map(of_card, given)),
        card_minor=sum(each.amount_minor for each in unreversed if of_card(each)),
        total_minor=sum(each.amount_minor for each in untold if of_issuer(each)),
    )


def gather_exposures(untold: Iterable[StandIn]) -> list[Exposure]:
    """Sum the approvals that nobody was told of, by endpoint, profile and currency."""
    sums: dict[tuple[str, str, str], tuple[int, int]] = {}
    for each in untold:
        key = each.endpoint, each.profile, each.currency
        count, minor = sums.get(key, (0, 0))
        sums[key] = count + 1, minor + each.amount_minor
    return [
        Exposure(
            profile=profile,
            endpoint=endpoint,
            currency=currency,
            count=count,
            minor=minor,
        )
        for (endpoint, profile, currency), (count, minor) in sorted(sums.items())
    ]
