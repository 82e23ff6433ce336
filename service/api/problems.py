"""Every error as application/problem+json (RFC 9457), from one table of exception → status."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.errors import (
    BackendFailed,
    ClientGone,
    DeadlineExceeded,
    InvalidRequest,
    MalformedBody,
    NotAcceptable,
    NotReady,
    Overloaded,
    ReloadForbidden,
    ServiceError,
    TooLarge,
    UnknownHead,
    UnknownLayer,
    UnknownModel,
    UnknownTile,
    UnsupportedMediaType,
)

MEDIA_TYPE = "application/problem+json"
CLIENT_CLOSED_REQUEST = 499
STATUS: dict[type[ServiceError], int] = {
    MalformedBody: 400,
    ReloadForbidden: 403,
    UnknownModel: 404,
    UnknownLayer: 404,
    UnknownTile: 404,
    UnknownHead: 404,
    NotAcceptable: 406,
    TooLarge: 413,
    UnsupportedMediaType: 415,
    InvalidRequest: 422,
    Overloaded: 429,
    ClientGone: CLIENT_CLOSED_REQUEST,
    BackendFailed: 503,
    NotReady: 503,
    DeadlineExceeded: 504,
}
CODE: dict[int, str] = {
    400: "malformed_body",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    429: "overloaded",
    499: "client_gone",
    500: "internal_error",
    503: "unavailable",
    504: "deadline_exceeded",
}
OPENAI_ROUTE = "/v1/embeddings"
RETRY_AFTER_S = 1


async def on_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    status = STATUS[type(error)]
    headers = {}
    if status in (429, 503):
        headers["Retry-After"] = str(getattr(error, "retry_after_s", RETRY_AFTER_S))
    if status == 413:
        request.app.state.metrics.rejected.labels("too_large").inc()
    if status in (413, 504):
        headers["Connection"] = "close"  # the rest of the body, if any is to come, is not worth reading
    errors = None
    if isinstance(error, InvalidRequest):
        errors = [{"pointer": item.pointer, "message": item.message} for item in error.items]
    return problem(request.scope, status, str(error), headers, errors)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own: no such route, wrong method."""
    assert isinstance(error, HTTPException)
    detail = f"{request.method} {request.url.path}: {error.detail}"
    return problem(request.scope, error.status_code, detail, dict(error.headers or {}))


def problem(
    scope: Any,  # noqa: ANN401 - an ASGI scope
    status: int,
    detail: str,
    headers: dict[str, str] | None = None,
    errors: list[dict[str, str]] | None = None,
) -> Response:
    """One problem; `json` escapes every non-ASCII character, lone surrogates of a hostile client among them."""
    code = CODE.get(status, "error")
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": "Client Closed Request" if status == CLIENT_CLOSED_REQUEST else HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": scope["path"],
        "code": code,
        "request_id": scope.get("state", {}).get("request_id", ""),
    }
    if errors:
        body["errors"] = errors
    if scope["path"] == OPENAI_ROUTE:
        kind = "invalid_request_error" if status < 500 and status != 429 else "server_error"
        body["error"] = {
            "message": detail,
            "type": "rate_limit_error" if status == 429 else kind,
            "param": errors[0]["pointer"].removeprefix("/") or None if errors else None,
            "code": code,
        }
    return Response(json.dumps(body).encode(), status, headers, MEDIA_TYPE)
