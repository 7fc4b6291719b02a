"""What the client of payment HSMs is told."""

from __future__ import annotations

import ssl
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PayshieldSettings:
    """Which units to ask, and how.

    ``units`` are hosts and ports; all of them hold the same local master key.
    ``lmk`` chooses among several master keys in a unit, as two digits;
    ``lmk_check_value`` is what a unit with the right one reports, or the beginning
    of it. ``tls`` is the context of links that are not within one rack.
    """

    units: tuple[tuple[str, int], ...]
    profile: str = "payshield"
    connections_per_unit: int = 4
    in_flight_max: int = 64
    deadline_s: float = 2.0
    reconnect_max_s: float = 1.0
    lmk: str = ""
    lmk_check_value: str = ""
    ksn_descriptor: str = "A05"
    tls: ssl.SSLContext | None = None
