"""A simulated merchant or wallet: it signs what it asks of the merchants' API."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from isoswitch.codecs.canonical.secrets import Secret
from isoswitch.portal.signing import (
    IDEMPOTENCY_KEY,
    KEY,
    NONCE,
    SIGNATURE,
    TIMESTAMP,
    Signable,
    make_signature,
)
from isoswitch.switch.ports import Clock

TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiClient:
    """A client by the name and the secret that the API knows it by."""

    name: str
    secret: Secret[bytes]
    base_url: str
    clock: Clock

    async def post(
        self, path: str, wanted: Mapping[str, Any], *, key: str = ""
    ) -> httpx.Response:
        """Ask for something that is done once, under this key or one of its own."""
        body = json.dumps(wanted).encode()
        signable = Signable(
            key=self.name,
            method="POST",
            path=path,
            query="",
            body=body,
            idempotency_key=key or secrets.token_urlsafe(16),
            timestamp=str(int(self.clock.now().timestamp())),
            nonce=secrets.token_urlsafe(16),
        )
        headers = {
            "Content-Type": "application/json",
            KEY: self.name,
            TIMESTAMP: signable.timestamp,
            NONCE: signable.nonce,
            IDEMPOTENCY_KEY: signable.idempotency_key,
            SIGNATURE: make_signature(self.secret, signable),
        }
        async with httpx.AsyncClient(base_url=self.base_url) as http:
            return await http.post(
                path, content=body, headers=headers, timeout=TIMEOUT_S
            )
