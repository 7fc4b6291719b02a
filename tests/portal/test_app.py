"""Health and figures over HTTP, of a network in one process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
import trio

from isoswitch.portal.app import make_app
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.world import World
from isoswitch.switch.health import Part
from isoswitch.switch.settings import SwitchSettings

GOOD = {"ready": True, "problems": [], "warnings": []}


class Portal:
    """A running network, and the pages of its switch."""

    def __init__(self, world: World, client: httpx.AsyncClient) -> None:
        assert world.switch is not None
        self.world = world
        self.switch = world.switch
        self.client = client

    async def ready(self) -> tuple[int, dict[str, Any]]:
        """Ask whether the switch is ready."""
        answer = await self.client.get("/health/ready")
        return answer.status_code, answer.json()

    async def figures(self) -> dict[str, float]:
        """Give all samples by name and labels."""
        answer = await self.client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = [line for line in answer.text.splitlines() if line[0] != "#"]
        pairs = (line.rsplit(" ", 1) for line in lines)
        return {name: float(value) for name, value in pairs}


@asynccontextmanager
async def started(nursery: trio.Nursery, **changes: Any) -> AsyncIterator[Portal]:
    """Run a network whose settings differ by these changes, with its portal."""

    def change(settings: SwitchSettings) -> SwitchSettings:
        return replace(settings, **changes)

    world = World(change=change, late_s=6.0)
    await nursery.start(world.run)
    assert world.switch is not None
    transport = httpx.ASGITransport(app=make_app(world.switch))
    async with httpx.AsyncClient(transport=transport, base_url="http://it") as client:
        yield Portal(world, client)


async def test_a_switch_that_takes_money_is_ready(nursery: trio.Nursery) -> None:
    async with started(nursery) as portal:
        assert await portal.ready() == (200, GOOD)
        assert (await portal.client.get("/health/live")).json() == {"live": True}


@pytest.mark.parametrize("part", list(Part))
async def test_a_condition_is_said_in_words_until_it_is_over(
    nursery: trio.Nursery, part: Part
) -> None:
    async with started(nursery) as portal:
        portal.switch.health.report(part, "it is gone")
        code, told = await portal.ready()
        assert (code, told["ready"]) == (503, False)
        (problem,) = told["problems"]
        assert problem.startswith(f"{part}: it is gone (since 2026-06-01T")
        assert (await portal.figures())[f'isoswitch_condition{{part="{part}"}}'] == 1
        portal.switch.health.clear(part)
        assert await portal.ready() == (200, GOOD)


@pytest.mark.parametrize(
    ("demand", "cut", "code", "said"),
    [
        ("any", ["north"], 200, "not signed on: north"),
        ("any", ["north", "south"], 503, "no endpoint is signed on"),
        ("all", ["north"], 503, "not signed on: north"),
        ("none", ["north", "south"], 200, "not signed on: north, south"),
    ],
)
async def test_the_endpoints_that_must_be_up_are_a_matter_of_policy(
    nursery: trio.Nursery, demand: str, cut: list[str], code: int, said: str
) -> None:
    async with started(nursery, ready_endpoints=demand) as portal:
        for endpoint in cut:
            portal.world.cut_link(endpoint)
        await trio.sleep(1)
        status, told = await portal.ready()
        assert status == code
        assert said in told["problems"] + told["warnings"]
        for endpoint in cut:
            portal.world.heal_link(endpoint)
        await trio.sleep(30)
        assert await portal.ready() == (200, GOOD)


async def test_a_listener_that_closed_is_a_problem(nursery: trio.Nursery) -> None:
    async with started(nursery) as portal:
        portal.switch.listeners["bcd"].is_open = False
        assert (await portal.ready())[1]["problems"] == ["listener bcd does not listen"]


async def test_a_switch_that_stops_is_not_ready(nursery: trio.Nursery) -> None:
    """The code is another one: what it has in flight is not to be cut off."""
    async with started(nursery) as portal:
        await portal.switch.drain()
        code, told = await portal.ready()
        assert (code, told["ready"]) == (404, False)
        assert told["problems"][0] == "the switch is stopping: it takes nothing new"


async def test_figures_tell_what_was_paid_and_what_was_not(
    nursery: trio.Nursery,
) -> None:
    limits = replace(World().settings.admission, terminal_burst=3, terminal_per_s=0.01)
    async with started(nursery, admission=limits) as portal:
        terminal = portal.world.terminals["TERM0001"]
        for name in ("visa-ok", "visa-insufficient", "mc-late", "visa-ok"):
            await terminal.purchase(get_card(name), 1250)
        await trio.sleep(30)
        figures = await portal.figures()
    expected = {
        'transactions_total{kind="purchase",outcome="approved"}': 1,
        'transactions_total{kind="purchase",outcome="insufficient_funds"}': 1,
        'transactions_total{kind="purchase",outcome="issuer_unavailable"}': 1,
        'transactions_total{kind="purchase",outcome="system_malfunction"}': 1,
        'admission_refusals_total{limit="terminal"}': 1,
        'admission_refusals_total{limit="total"}': 0,
        'legs_total{endpoint="north",result="sent"}': 2,
        'legs_total{endpoint="north",result="answered"}': 2,
        'legs_total{endpoint="south",result="timed_out"}': 1,
        'reversals_owed_total{endpoint="south"}': 1,
        'saf_delivered_total{endpoint="south"}': 1,
        'late_answers_total{endpoint="south"}': 1,
        "saf_waiting": 0,
        "in_flight": 0,
        "ready": 1,
        'link_up{endpoint="north"}': 1,
        'endpoint_spared{endpoint="north"}': 0,
        'endpoint_score{endpoint="north"}': 1000,
        'connections{listener="ascii"}': 1,
        "unanswered_total": 0,
    }
    told = {name: figures[f"isoswitch_{name}"] for name in expected}
    assert told == expected
    assert figures["isoswitch_store_commit_seconds_count"] > 8
    assert (
        figures['isoswitch_store_commit_seconds_bucket{le="+Inf"}']
        == (figures["isoswitch_store_commit_seconds_count"])
    )


async def test_nothing_else_is_there(nursery: trio.Nursery) -> None:
    async with started(nursery) as portal:
        for path in ("/", "/docs", "/openapi.json", "/health"):
            assert (await portal.client.get(path)).status_code == 404
