"""What the portal serves: the API of merchants, and the pages of monitoring."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse

from isoswitch.portal.api import router
from isoswitch.portal.description import describe
from isoswitch.portal.door import Door
from isoswitch.portal.exposition import CONTENT_TYPE, render
from isoswitch.portal.metrics import families
from isoswitch.portal.problems import tell_problems
from isoswitch.portal.settings import ClientSettings
from isoswitch.switch.server import Switch
from isoswitch.switch.status import Status, read_status


def make_app(
    switch: Switch, clients: Mapping[str, ClientSettings] | None = None
) -> FastAPI:
    """Make the application that speaks for a switch.

    ``/health/live`` answers as long as the process does its work; ``/health/ready``
    says why in words while no money can be taken, with 404 when the switch finishes
    what it has in flight, else with 503. With ``clients`` there is the API at ``/v1``,
    described at ``/openapi.json``.
    """
    url = "/openapi.json" if clients else None
    app = FastAPI(title="isoswitch", docs_url=None, redoc_url=None, openapi_url=url)
    tell_problems(app)
    if clients:
        app.state.switch = switch
        app.include_router(router)
        app.add_middleware(Door, clients=clients, current=lambda: switch.services)
        # FastAPI asks its attribute for the document.
        setattr(app, "openapi", partial(describe, app))  # noqa: B010
    _add_health(app, switch)
    return app


def _add_health(app: FastAPI, switch: Switch) -> None:
    @app.get("/health/live", include_in_schema=False)
    async def live() -> JSONResponse:
        return JSONResponse({"live": True})

    @app.get("/health/ready", include_in_schema=False)
    async def ready() -> JSONResponse:
        status = read_status(switch)
        return JSONResponse(
            {
                "ready": status.is_ready,
                "problems": status.problems,
                "warnings": status.warnings,
            },
            status_code=_code_of(status, is_draining=switch.is_draining),
        )

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(render(families(switch)), media_type=CONTENT_TYPE)


def _code_of(status: Status, *, is_draining: bool) -> HTTPStatus:
    if status.is_ready:
        return HTTPStatus.OK
    # Balancers give who says this nothing new, and leave alone who is connected.
    return HTTPStatus.NOT_FOUND if is_draining else HTTPStatus.SERVICE_UNAVAILABLE
