"""Calls merchants back over HTTP: signed, to public addresses only, once for each call.

A merchant names the address, so it could name one of ours: only public addresses are
called. The name is resolved once and the connection goes to what was found, so that it
cannot be another address by then; no redirect is followed, no proxy is asked.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Mapping

import httpx
import trio

from isoswitch.codecs.canonical.secrets import Secret
from isoswitch.portal.settings import PortalSettings
from isoswitch.portal.signing import (
    KEY,
    NONCE,
    SIGNATURE,
    TIMESTAMP,
    Signable,
    make_signature,
)
from isoswitch.store.rows import Callback
from isoswitch.switch.ports import Clock
from isoswitch.switch.settings import MerchantSettings

DEADLINE_S = 10.0

Merchants = Callable[[], Mapping[str, MerchantSettings]]


class AddressRefused(ValueError):
    """A callback is not sent to such an address; says why, without the address."""


class Caller:
    """Sends callbacks; ``deliver`` is what `call_back_forever` asks for."""

    def __init__(
        self, settings: PortalSettings, merchants: Merchants, clock: Clock
    ) -> None:
        self._settings = settings
        self._merchants = merchants
        self._clock = clock

    async def deliver(self, callback: Callback) -> str:
        """Send one callback; gives "" when the merchant took it, else why not."""
        merchant = self._merchants().get(callback.merchant_id)
        secret = self._settings.callback_secrets.get(callback.merchant_id)
        if merchant is None or merchant.payee is None or secret is None:
            return "the configuration names no address or no secret for this merchant"
        try:
            url = httpx.URL(merchant.payee.callback_url)
            headers = self._sign(callback, secret, url)
            with trio.fail_after(DEADLINE_S):
                return await self._post(url, headers, callback.body.encode())
        except AddressRefused as error:
            return str(error)
        except (httpx.InvalidURL, ValueError):
            # Names are looked at piece by piece: on the way to DNS, and on that to TLS.
            return "callback_url names no host that can be called"
        except trio.TooSlowError:
            return f"no answer within {DEADLINE_S:g} s"
        except (httpx.HTTPError, OSError) as error:
            return f"not sent: {type(error).__name__}"

    def _sign(
        self, callback: Callback, secret: Secret[bytes], url: httpx.URL
    ) -> dict[str, str]:
        """Give the headers that tell a merchant who calls, and when."""
        request = Signable(
            key=callback.merchant_id,
            method="POST",
            path=url.raw_path.partition(b"?")[0].decode(),
            query=url.query.decode(),
            body=callback.body.encode(),
            idempotency_key=callback.id,
            timestamp=str(int(self._clock.now().timestamp())),
            nonce=f"{callback.id.replace('.', '_')}_{callback.attempts:012d}",
        )
        return {
            "Content-Type": "application/json",
            "Idempotency-Key": callback.id,
            KEY: request.key,
            TIMESTAMP: request.timestamp,
            NONCE: request.nonce,
            SIGNATURE: make_signature(secret, request),
        }

    async def _post(self, url: httpx.URL, headers: dict[str, str], body: bytes) -> str:
        address = await self._resolve(url)
        async with (
            httpx.AsyncClient(trust_env=False, follow_redirects=False) as client,
            client.stream(
                "POST",
                url.copy_with(host=address),
                headers={**headers, "Host": url.netloc.decode()},
                content=body,
                # The certificate must be that of the name.
                extensions={"sni_hostname": url.host},
            ) as answer,
        ):
            # What else the answer says is not read.
            return "" if answer.is_success else f"HTTP {answer.status_code}"

    async def _resolve(self, url: httpx.URL) -> str:
        """Give an address of a URL's host, if all of them may be called."""
        if url.scheme != "https" and not self._settings.calls_private:
            raise AddressRefused("only https is called")
        found = await trio.socket.getaddrinfo(
            url.host, url.port, type=socket.SOCK_STREAM
        )
        addresses = [str(sockaddr[0]) for *_, sockaddr in found]
        if not self._settings.calls_private and not all(map(is_public, addresses)):
            raise AddressRefused("its host has an address that is not public")
        return addresses[0]


def is_public(address: str) -> bool:
    """Whether an address is one of the internet, and not of a network of ours.

    Examples
    --------
    >>> [is_public(each) for each in ("93.184.216.34", "10.0.0.1", "169.254.169.254")]
    [True, False, False]
    >>> [is_public(each) for each in ("::ffff:8.8.8.8", "64:ff9b::7f00:1", "::1")]
    [False, False, False]
    """
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        # Forms of IPv6 that lead to an IPv4 address, whichever it is.
        inner = found.ipv4_mapped or found.sixtofour or found.teredo
        if inner is not None or found in _NAT64:
            return False
    return found.is_global and not found.is_multicast


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
