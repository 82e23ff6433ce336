"""What surrounds every request, as pure ASGI: its id, its timing, its metrics, its log line, and the last resort."""

from __future__ import annotations

import re
import uuid
from time import perf_counter

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import logs
from service.api.problems import problem
from service.embedding.embedder import Timing
from service.metrics import Metrics

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SAFE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Observed:
    """Gives each request an id and a Timing in `request.state`, answers with both, and counts and logs it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

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
                headers["Server-Timing"] = _server_timing(timing, perf_counter() - start)
            await send(message)

        try:
            await self._app(scope, receive, observed_send)
        except Exception:
            logs.service.exception("a request failed", extra={"fields": {"request_id": request_id}})
            if status:
                raise  # the answer has begun, so cut it off: half an answer must not look whole
            await problem(scope, 500, "the service failed; its log has the cause under this request_id")(
                scope, receive, observed_send
            )
        finally:
            self._record(scope, status, perf_counter() - start, request_id)

    def _record(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._metrics.requests.labels(route, method, str(status)).inc()
        self._metrics.request_duration.labels(route).observe(seconds)
        fields = {"status": status, "ms": round(seconds * 1000, 1), "request_id": request_id}
        logs.access.info("%s %s", method, route, extra={"fields": fields})


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if SAFE_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _server_timing(timing: Timing, total: float) -> str:
    stages = {**timing.seconds, "total": total}
    return ", ".join(f"{name};dur={seconds * 1000:.2f}" for name, seconds in stages.items())
