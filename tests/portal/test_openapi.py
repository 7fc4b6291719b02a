"""The API does what its document says, as schemathesis finds out over a socket."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event, Thread

import httpx
import pytest
import requests
import schemathesis
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy
from requests.auth import AuthBase

from isoswitch.portal.server import serve_portal
from isoswitch.portal.settings import PortalSettings
from isoswitch.simulators.world import EPOCH, World
from tests.portal.signers import CLIENTS, SECRET, Signer
from tests.portal.test_payments import with_server

pytestmark = pytest.mark.live

EXAMPLES = 25
ROOT = Path(__file__).parents[2]


class Signing(AuthBase):
    """Signs what requests is about to send, as its own client or as a wallet."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the headers of a signature that holds."""
        assert request.url is not None
        body = request.body or b""
        url = httpx.URL(request.url)
        who = "purse" if url.path.startswith("/v1/wallet") else "till"
        signer = SIGNERS[who]
        key = request.headers.get("Idempotency-Key", "")
        request.headers.update(
            signer.headers(
                request.method or "",
                url,
                body.encode() if isinstance(body, str) else body,
                idempotency_key=key if isinstance(key, str) else key.decode("latin-1"),
            )
        )
        return request


SIGNERS = {name: Signer(name) for name in ("till", "purse")}
SIGNING = Signing()


class Served:
    """A network and its portal, in a thread with a loop of its own."""

    def __init__(self, *, began_at: datetime = EPOCH) -> None:
        self._began_at = began_at
        self.port = 0
        self.is_up = Event()
        self._thread = Thread(target=trio.run, args=(self._run,))
        self._stop: tuple[trio.lowlevel.TrioToken, trio.CancelScope] | None = None

    def __enter__(self) -> Served:
        self._thread.start()
        assert self.is_up.wait(timeout=30)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._stop is not None
        token, scope = self._stop
        trio.from_thread.run_sync(scope.cancel, trio_token=token)
        self._thread.join()

    async def _run(self) -> None:
        async with trio.open_nursery() as nursery:
            world = World(with_wallet=True, change=with_server, epoch=self._began_at)
            await nursery.start(world.run)
            clients = {
                name: replace(each, per_minute=1_000_000)
                for name, each in CLIENTS.items()
            }
            portal = PortalSettings(host="127.0.0.1", port=0, clients=clients)
            assert world.switch is not None
            self.port = await nursery.start(partial(serve_portal, portal, world.switch))
            token = trio.lowlevel.current_trio_token()
            self._stop = token, nursery.cancel_scope
            self.is_up.set()


def test_every_answer_is_one_of_the_document() -> None:
    with Served() as served:
        url = f"http://127.0.0.1:{served.port}/openapi.json"
        schema = schemathesis.openapi.from_url(url)
        operations = [each.ok() for each in schema.get_all_operations()]
        assert len(operations) == 8
        for operation in operations:
            for mode in schemathesis.GenerationMode:
                _try(operation.as_strategy(generation_mode=mode))


def test_the_example_of_the_guide_runs(tmp_path: Path) -> None:
    guide = (ROOT / "docs/merchant-api.md").read_text()
    program = guide.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "example.py").write_text(program)
    (tmp_path / "secret").write_bytes(SECRET.reveal() + b"\n")
    with Served(began_at=datetime.now(UTC)) as served:
        command = [sys.executable, "example.py", f"http://127.0.0.1:{served.port}"]
        done = subprocess.run(
            [*command, "secret"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    code, paid, refunded = done.stdout.splitlines()
    assert code.startswith("000201")
    assert (paid, refunded) == ("succeeded", "succeeded paid")


def _try(cases: SearchStrategy[schemathesis.Case]) -> None:
    @given(case=cases)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(auth=SIGNING)

    ask()
