"""``isoswitch qr pay``: a customer's bank app pays a merchant's code."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import httpx
import trio

from isoswitch.commands.console import FAILED, OK, UNREACHABLE, USAGE, Failure, stdout
from isoswitch.commands.ends import simulators_of
from isoswitch.config.load import LoadedNetwork, load_network
from isoswitch.config.portal import portal_settings
from isoswitch.simulators.api_client import ApiClient
from isoswitch.switch.ports import SystemClock


def api_client(loaded: LoadedNetwork, name: str) -> ApiClient:
    """Give a client of the API, with the secret that setup has drawn for it.

    Raises
    ------
    Failure
        The network has no such client, or it signs with a key that is not here.
    """
    settings = portal_settings(loaded)
    client = settings.clients.get(name) if settings else None
    if settings is None or client is None or client.secret is None:
        raise Failure(
            f"there is no client {name!r} that signs with a secret",
            fix="[portal.clients] names them",
            exit_code=USAGE,
        )
    scheme = "https" if settings.certificate else "http"
    url = f"{scheme}://{settings.host}:{settings.port}"
    return ApiClient(name=name, secret=client.secret, base_url=url, clock=SystemClock())


def pay(config: Path | None, text: str, *, client: str) -> int:
    """Pay a code; exit code 0 when the money has moved, 1 when not."""
    loaded = load_network(config)
    (house_name, house), *_ = simulators_of(loaded).houses.items()
    wanted = {
        "code": text,
        "payer": {
            "name": "A. Payer",
            "account": house.accounts[0],
            "bank": loaded.network.houses[house_name].member,
        },
    }
    app = api_client(loaded, client)
    try:
        answer = trio.run(partial(app.post, "/v1/wallet/pay", wanted))
    except httpx.HTTPError as error:
        raise Failure(
            f"the API at {app.base_url} does not answer ({type(error).__name__})",
            fix="make up starts a network",
            exit_code=UNREACHABLE,
        ) from None
    told = answer.json()
    if answer.is_error:
        raise Failure(told["detail"])
    reason = f": {told['reason']}" if told["reason"] else ""
    stdout().print(f"payment {told['id']} {told['state']}{reason}", markup=False)
    return OK if told["state"] == "succeeded" else FAILED
