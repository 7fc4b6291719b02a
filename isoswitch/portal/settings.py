"""What the portal is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from isoswitch.codecs.canonical.secrets import Secret

KEPT_S = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Whoever may ask the API for something, and how it proves that it asks.

    It acts for ``merchant_id``, or where that is empty it is a wallet. Under
    ``terminal_id``, where it has one, it takes payments by payers' codes. It signs with
    ``secret`` (HMAC-SHA-256) or with the private key to ``public`` (DER; ECDSA P-256 or
    RSA-PSS). ``per_minute`` bounds its requests in the long run and in a row.
    """

    name: str
    merchant_id: str = ""
    terminal_id: str = ""
    secret: Secret[bytes] | None = None
    public: bytes = b""
    per_minute: int = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalSettings:
    """Where the portal listens, to whom it listens, and how it calls back.

    ``callback_secrets`` sign what merchants are called back with. Only with
    ``calls_private`` may a callback go to a private address. Answers under idempotency
    keys, and callbacks that have ended, are kept for ``kept_s``. Who connects while
    ``connections_max`` are there is closed at once.
    """

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None
    clients: Mapping[str, ClientSettings] = field(default_factory=dict)
    callback_secrets: Mapping[str, Secret[bytes]] = field(default_factory=dict)
    calls_private: bool = False
    kept_s: float = KEPT_S
    connections_max: int = 256
