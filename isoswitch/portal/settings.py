"""What the portal is told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalSettings:
    """Where the portal listens."""

    host: str
    port: int
