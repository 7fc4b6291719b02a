"""What kind of network a story has: a table of features, each drawn with its chance.

A feature adapts the settings of the nodes before they start. Most are there in every
story; what changes much of what else happens is drawn now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from isoswitch.simulators.plan import Plan
from isoswitch.simulators.world import (
    HOUSE,
    ISSUERS,
    KEKS,
    MERCHANT,
    MERCHANT_ACCOUNT,
    MERCHANT_BANK,
    house_settings,
)
from isoswitch.switch.settings import (
    KeyExchangeSettings,
    PayeeSettings,
    StandInSettings,
    SwitchSettings,
)

KEY_OVERLAP_S = 60.0
STAND_IN = StandInSettings(
    name="generous",
    currency="978",
    floor_minor=15_000,
    card_count_max=2,
    card_minor_max=25_000,
    total_minor_max=60_000,
    with_pin=True,
    with_chip=True,
    after_silence=True,
)

Adapt = Callable[[SwitchSettings], SwitchSettings]


@dataclass(frozen=True, slots=True)
class Feature:
    """What a feature changes in the settings, and how often it is there."""

    adapt: Adapt
    chance: float = 1.0


def with_house(settings: SwitchSettings) -> SwitchSettings:
    """Let the merchant be paid over the clearing house."""
    payee = PayeeSettings(
        house=HOUSE,
        account=MERCHANT_ACCOUNT,
        bank=MERCHANT_BANK,
        city="Berlin",
        country="DE",
        callback_url="https://shop.example/hook",
    )
    merchant = replace(MERCHANT, payee=payee)
    return replace(
        settings, houses={HOUSE: house_settings()}, merchants={MERCHANT.id: merchant}
    )


def with_key_exchange(settings: SwitchSettings) -> SwitchSettings:
    """Let links and terminals change their working keys."""
    changing = {
        name: replace(
            settings.endpoints[name],
            key_exchange=KeyExchangeSettings(
                under=kek,
                is_legacy=kek.endswith("/zmk"),
                overlap_s=KEY_OVERLAP_S,
                retry_s=10.0,
            ),
        )
        for name, kek in KEKS.items()
    }
    terminals = {
        name: replace(
            each, tmk=f"{name}/tmk", is_legacy=True, key_overlap_s=KEY_OVERLAP_S
        )
        for name, each in settings.terminals.items()
    }
    return replace(
        settings, endpoints={**settings.endpoints, **changing}, terminals=terminals
    )


def with_reconciliation(settings: SwitchSettings) -> SwitchSettings:
    """Tell the issuers the totals of each day."""
    return _with_issuers(settings, reconciles=True)


def with_stand_in(settings: SwitchSettings) -> SwitchSettings:
    """Decide for issuers that are away or silent."""
    standing_in = replace(settings, stand_in={STAND_IN.name: STAND_IN})
    return _with_issuers(standing_in, stand_in=STAND_IN.name)


def with_leases(settings: SwitchSettings) -> SwitchSettings:
    """Let one node at a time have the link to each issuer."""
    return _with_issuers(settings, leased=True)


def _with_issuers(settings: SwitchSettings, **changes: Any) -> SwitchSettings:
    issuers = {name: replace(settings.endpoints[name], **changes) for name in ISSUERS}
    return replace(settings, endpoints={**settings.endpoints, **issuers})


FEATURES: Mapping[str, Feature] = {
    "clearing house": Feature(with_house),
    "key exchange": Feature(with_key_exchange),
    "reconciliation": Feature(with_reconciliation),
    "stand-in": Feature(with_stand_in, 0.25),
    "leased links": Feature(with_leases, 0.3),
}


def draw_features(plan: Plan) -> tuple[str, ...]:
    """Draw what the network of a story has."""
    random = plan.source("features")
    return tuple(
        name for name, each in FEATURES.items() if random.random() < each.chance
    )


def equip(settings: SwitchSettings, features: tuple[str, ...]) -> SwitchSettings:
    """Give the settings of a network that has these features."""
    for name in features:
        settings = FEATURES[name].adapt(settings)
    return settings
