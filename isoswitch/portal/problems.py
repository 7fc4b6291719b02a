"""Errors as problem+json (RFC 9457), whatever went wrong and wherever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from isoswitch.codecs.canonical.errors import HsmError, StoreUnavailable

MEDIA_TYPE = "application/problem+json"

log = structlog.get_logger()


class ApiProblem(Exception):
    """A request that is refused; ``name`` is for programs, ``detail`` for people."""

    def __init__(
        self,
        status: HTTPStatus,
        name: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.name = name
        self.detail = detail
        self.headers = dict(headers or {})


def problem(
    status: int,
    name: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[Mapping[str, str]] = (),
) -> JSONResponse:
    """Make the answer that tells of a problem."""
    body: dict[str, Any] = {
        "type": f"urn:isoswitch:problem:{name}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = list(errors)
    return JSONResponse(
        body, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )


def tell_problems(app: FastAPI) -> None:
    """Have an application answer every error as a problem."""

    @app.exception_handler(ApiProblem)
    async def refused(_: Request, error: ApiProblem) -> JSONResponse:
        return problem(error.status, error.name, error.detail, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        # What came is left out: it may be somebody's account.
        errors = [
            {"at": ".".join(map(str, each["loc"])), "what": each["msg"]}
            for each in error.errors()
        ]
        detail = "the request is not as /openapi.json has it"
        return problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", detail, errors=errors
        )

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> JSONResponse:
        name = HTTPStatus(error.status_code).name.lower()
        return problem(
            error.status_code, name, str(error.detail), headers=error.headers
        )

    @app.exception_handler(StoreUnavailable)
    @app.exception_handler(HsmError)
    async def unavailable(_: Request, error: Exception) -> JSONResponse:
        log.error("request_not_answered", reason=str(error))
        return unavailable_problem()


def unavailable_problem() -> JSONResponse:
    """Make the answer for a moment in which nothing can be decided."""
    detail = "nothing was decided; ask again with the same Idempotency-Key"
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail)
