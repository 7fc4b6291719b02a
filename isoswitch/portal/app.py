"""The pages that monitoring asks for: is it alive, is it ready, its figures."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse

from isoswitch.portal.exposition import CONTENT_TYPE, render
from isoswitch.portal.metrics import families
from isoswitch.switch.server import Switch
from isoswitch.switch.status import read_status


def make_app(switch: Switch) -> FastAPI:
    """Make the application that speaks for a switch.

    ``/health/live`` answers as long as the process does its work; ``/health/ready``
    answers 503, and says why in words, while no money can be taken.
    """
    app = FastAPI(title="isoswitch", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health/live")
    async def live() -> JSONResponse:
        return JSONResponse({"live": True})

    @app.get("/health/ready")
    async def ready() -> JSONResponse:
        status = read_status(switch)
        return JSONResponse(
            {
                "ready": status.is_ready,
                "problems": status.problems,
                "warnings": status.warnings,
            },
            status_code=HTTPStatus.OK
            if status.is_ready
            else HTTPStatus.SERVICE_UNAVAILABLE,
        )

    @app.get("/metrics")
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(render(families(switch)), media_type=CONTENT_TYPE)

    return app
