"""``isoswitch standin``: what was approved in issuers' places, against its limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isoswitch.codecs.canonical.money import Money
from isoswitch.commands.console import OK, plain_table, print_json, stdout
from isoswitch.config.load import load_network
from isoswitch.config.settings import stand_in_profiles
from isoswitch.store.days import open_date
from isoswitch.store.reader import open_reader
from isoswitch.store.standins import CardUse, Exposure
from isoswitch.switch.settings import StandInSettings

Profiles = dict[str, StandInSettings]


def show_exposure(config: Path | None, *, cards_max: int, as_json: bool) -> int:
    """Print what issuers have not been told of, and what cards got today."""
    loaded = load_network(config)
    profiles = stand_in_profiles(loaded)
    with open_reader(loaded.store) as reader:
        exposures = reader.exposures()
        day = open_date({day.date: day for day in reader.days()})
        cards = reader.stand_in_cards(day)[:cards_max]
    if as_json:
        print_json(
            {
                "issuers": [_exposure_json(each, profiles) for each in exposures],
                "business_date": day,
                "cards": [_card_json(each, profiles) for each in cards],
            }
        )
        return OK
    console = stdout()
    if not exposures:
        console.print("Every issuer knows what was approved in its place.")
    else:
        table = plain_table("issuer", "profile", "approvals", "owed", "limit", "used")
        for each in exposures:
            row = _exposure_json(each, profiles)
            table.add_row(
                each.endpoint,
                each.profile,
                str(each.count),
                str(Money(each.minor, each.currency)),
                _limit(row["limit_minor"], each.currency),
                "" if row["used_percent"] is None else f"{row['used_percent']} %",
            )
        console.print(table)
    if cards:
        console.print(f"Cards on {day}, most first:")
        table = plain_table("card", "issuer", "approvals", "limit", "amount", "limit")
        for use in cards:
            row = _card_json(use, profiles)
            table.add_row(
                use.pan_masked,
                use.endpoint,
                str(use.count),
                str(row["count_limit"] or "none now"),
                str(Money(use.minor, use.currency)),
                _limit(row["limit_minor"], use.currency),
            )
        console.print(table)
    return OK


def _exposure_json(each: Exposure, profiles: Profiles) -> dict[str, Any]:
    profile = profiles.get(each.profile)
    limit = profile.total_minor_max if profile else None
    return {
        "endpoint": each.endpoint,
        "profile": each.profile,
        "currency": each.currency,
        "count": each.count,
        "owed_minor": each.minor,
        "limit_minor": limit,
        "used_percent": each.minor * 100 // limit if limit else None,
    }


def _card_json(use: CardUse, profiles: Profiles) -> dict[str, Any]:
    profile = profiles.get(use.profile)
    return {
        "pan": use.pan_masked,
        "endpoint": use.endpoint,
        "profile": use.profile,
        "currency": use.currency,
        "count": use.count,
        "count_limit": profile.card_count_max if profile else None,
        "minor": use.minor,
        "limit_minor": profile.card_minor_max if profile else None,
    }


def _limit(minor: int | None, currency: str) -> str:
    # The profile may have gone from the configuration meanwhile.
    return "none now" if minor is None else str(Money(minor, currency))
