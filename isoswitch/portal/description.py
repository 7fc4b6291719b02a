"""The OpenAPI document of the API: what FastAPI knows of it, and what the door adds."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from isoswitch.portal.models import Problem
from isoswitch.portal.problems import MEDIA_TYPE
from isoswitch.portal.signing import (
    KEY,
    NONCE,
    NONCE_PATTERN,
    SIGNATURE,
    TIMESTAMP,
    TIMESTAMP_PATTERN,
)

DESCRIPTION = """
Payment codes of merchants, paid by wallets with instant credit transfers.

Every request is signed: `Isoswitch-Signature` is the base64 of an HMAC-SHA-256, an
ECDSA P-256 signature (r and s of 32 bytes each) or an RSA-PSS signature with SHA-256
over these lines, joined by line feeds: `isoswitch-1`, `Isoswitch-Key`, method, path,
query, the `Idempotency-Key` or nothing, the hexadecimal SHA-256 of the body,
`Isoswitch-Timestamp`, `Isoswitch-Nonce`.
"""
EVERYWHERE = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
HEADERS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (KEY, "The name of the client's key.", {"type": "string"}),
    (
        TIMESTAMP,
        "Seconds since 1970 in UTC, at most 300 from ours.",
        {"type": "string", "pattern": TIMESTAMP_PATTERN},
    ),
    (
        NONCE,
        "Never the same again within ten minutes.",
        {"type": "string", "pattern": NONCE_PATTERN},
    ),
)


def describe(app: FastAPI) -> dict[str, Any]:
    """Give the document; made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title="isoswitch", version="1", description=DESCRIPTION, routes=app.routes
        )
        components = document.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        model = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(model.pop("$defs"))
        schemas["Problem"] = model
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        components["securitySchemes"] = {
            "signature": {"type": "apiKey", "in": "header", "name": SIGNATURE}
        }
        document["security"] = [{"signature": []}]
        for operations in document["paths"].values():
            for method, operation in operations.items():
                _complete(operation, is_post=method == "post")
        app.openapi_schema = document
    return app.openapi_schema


def _complete(operation: dict[str, Any], *, is_post: bool) -> None:
    """Add to an operation what the door asks for and answers."""
    operation.setdefault("parameters", []).extend(
        {
            "name": name,
            "in": "header",
            "required": True,
            "description": words,
            "schema": schema,
        }
        for name, words, schema in HEADERS
    )
    posted = (HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT)
    statuses = (*EVERYWHERE, *posted) if is_post else EVERYWHERE
    for status in statuses:
        operation["responses"][str(int(status))] = {
            "description": status.phrase,
            "content": {
                MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}
            },
        }
