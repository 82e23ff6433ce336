"""What surrounds every request, as pure ASGI: its id, its timing, its metrics, its log line, and the last resort."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import logs
from service.api import cautions
from service.api.problems import RETRY_AFTER_S, problem
from service.embedding.timing import Stage, Timing
from service.metrics import Metrics

if TYPE_CHECKING:
    from service.tracing import Traces

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "unmatched"
"""The route of a request that was answered before it was matched with one."""
SAFE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
LOGGED_PLACES = 3
PROBES = frozenset({"/livez", "/readyz", "/metrics"})


class Observed:
    """Gives each request an id and a Timing in `request.state`, answers with both, and counts, traces and logs it."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, traces: Traces | None = None, log_coordinates: bool = False
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._traces = traces
        self._log_coordinates = log_coordinates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = perf_counter()
        timing = Timing()
        request_id = _request_id(Headers(scope=scope))
        scope.setdefault("state", {}).update(request_id=request_id, timing=timing)
        status = 0

        async def observed_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                if warnings := scope["state"].get("warnings"):
                    headers[cautions.HEADER] = cautions.header_of(warnings)
                headers["Server-Timing"] = _server_timing(timing, perf_counter() - start)
            await send(message)

        try:
            await self._app(scope, receive, observed_send)
        finally:
            self._record(scope, status, start, perf_counter())

    def _record(self, scope: Scope, status: int, start: float, end: float) -> None:
        route = getattr(scope.get("route"), "path", UNMATCHED)
        method = _method_of(scope)
        request_id, timing = scope["state"]["request_id"], scope["state"]["timing"]
        self._metrics.requests.labels(route, method, str(status)).inc()
        self._metrics.request_duration.labels(route).observe(end - start)
        fields: dict[str, Any] = {"status": status, "ms": round((end - start) * 1000, 1), "request_id": request_id}
        if self._log_coordinates and (places := scope["state"].get("places")) is not None:
            fields["places"] = places.degrees[:LOGGED_PLACES].tolist()
        if warnings := scope["state"].get("warnings"):
            fields["warnings"] = ",".join(warning.code for warning in warnings)
        logs.access.info("%s %s", method, route, extra={"fields": fields})
        if self._traces:
            span = Stage(f"{method} {route}", start, end)
            attributes = {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "satcle.request_id": request_id,
            }
            self._traces.record(span, timing.stages, attributes, Headers(scope=scope), failed=status >= 500)


class Door:
    """Turns requests away at once while more than `limit` are in flight: there is no time to look at them.

    Such a crowd is one of requests, not of points, which the queue bounds. Operators' probes always pass.
    `surround` wraps what answers here in what else its callers need, as `app` has it.
    """

    def __init__(
        self,
        app: ASGIApp,
        in_flight: Callable[[], int],
        limit: int,
        metrics: Metrics,
        surround: Callable[[ASGIApp], ASGIApp] = lambda refusal: refusal,
    ) -> None:
        self._app = app
        self._in_flight = in_flight
        self._limit = limit
        self._metrics = metrics
        self._refusal = surround(self._refuse)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._in_flight() <= self._limit or scope["path"] in PROBES:
            await self._app(scope, receive, send)
        else:
            await self._refusal(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._metrics.rejected.labels("queue_full").inc()
        self._metrics.requests.labels(UNMATCHED, _method_of(scope), "429").inc()
        request_id = _request_id(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        detail = f"over {self._limit} requests are in flight (SATCLE_MAX_REQUESTS): retry later"
        headers = {"Retry-After": str(RETRY_AFTER_S), "X-Request-Id": request_id}
        await problem(scope, 429, detail, headers)(scope, receive, send)


class LastResort:
    """Answers 500 for a bug, giving nothing away. An answer that has begun is cut off: half must not look whole."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noting_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting_send)
        except Exception:
            if scope["type"] != "http":
                raise
            request_id = scope["state"]["request_id"]
            logs.service.exception("a request failed", extra={"fields": {"request_id": request_id}})
            if begun:
                raise
            detail = "the service failed; its log has the cause under this request_id"
            await problem(scope, 500, detail)(scope, receive, send)


def _method_of(scope: Scope) -> str:
    """The method, as a label: one of a fixed set."""
    return scope["method"] if scope["method"] in METHODS else "other"


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if SAFE_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _server_timing(timing: Timing, total: float) -> str:
    stages = {**timing.seconds, "total": total}
    return ", ".join(f"{name};dur={seconds * 1000:.2f}" for name, seconds in stages.items())
