"""All wiring: settings → models → routes."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from service.api import compare, embeddings, health, maps, models, predictions, similarity
from service.api.layers import layers_router
from service.api.middleware import LastResort, Observed
from service.api.page import page_router
from service.api.problems import on_http_exception, on_service_error
from service.api.reading import Limits
from service.api.references import Similarities
from service.api.security import ApiKeys, KeyRequired
from service.api.sharing import Shared
from service.api.tiles import MAX_TILES, TILES_AT_ONCE
from service.embedding.backends.base import Backend
from service.embedding.generation import Generation
from service.embedding.models import load_models
from service.errors import InvalidSetting, ServiceError
from service.geography.land import read_land
from service.metrics import Metrics
from service.settings import Settings, read_settings

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig

    from service.tracing import Traces

App = FastAPI
"""What `create_app` makes, for those who know no HTTP."""
EXPOSED_HEADERS = (
    "X-Embedding-Shape",
    "X-Embedding-Dtype",
    "X-Value-Range",
    "X-Prediction-Shape",
    "X-Prediction-Dtype",
    "X-Prediction-Columns",
    "X-Warning",
    "X-Request-Id",
    "Server-Timing",
    "Retry-After",
    "ETag",
)
"""What a page of another origin may read of an answer, besides what CORS always lets it read."""

UNTRACED_BY_FASTAPI: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""Its own spans and logs would hold query strings and messages of exceptions; `Traces` and `Metrics` do not."""


def create_app(
    settings: Settings | None = None, backend: Backend | None = None, generation: Generation | None = None
) -> FastAPI:
    """The service on the bundles of `settings` (read from the environment where None).

    `backend` replaces ONNX Runtime, as `FakeBackend` does in tests. Processes that share a `generation` reload their
    models together. Raises BundleError where a bundle
    is absent or does not verify, ProviderUnavailable where the provider asked for would not be what runs,
    InvalidSetting where the environment holds a setting that cannot be.
    """
    settings = settings or read_settings()
    metrics = Metrics()
    metrics.build_info.labels(version("satcle"), platform.python_version()).set(1)
    keys = ApiKeys(settings.api_keys_file) if settings.api_keys_file else None
    app = FastAPI(
        title="satcle",
        version=version("satcle"),
        description="Turns any place on Earth into a vector that knows what the place is like.",
        lifespan=_lifespan,
        telemetry=UNTRACED_BY_FASTAPI,
    )
    app.state.phase = "loading"
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.limits = Limits(settings.max_body_bytes, settings.max_points_per_request, settings.deadline_ms)
    app.state.models = load_models(settings, metrics, backend, generation)
    app.state.similarities = Similarities()
    app.state.components = {}
    app.state.land = read_land()
    app.state.tiles = Shared[bytes](TILES_AT_ONCE, MAX_TILES)
    app.state.traces = _traces(settings)
    _surround(app, keys)
    app.add_exception_handler(ServiceError, on_service_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    families = (embeddings, similarity, predictions, maps, compare, models, health)
    for router in (family.router for family in families):
        app.include_router(router)
    app.include_router(layers_router())
    app.include_router(page_router(settings))
    return app


def _surround(app: FastAPI, keys: ApiKeys | None) -> None:
    """Middleware, innermost first: a page of another origin may read every answer, 401 and 500 included."""
    settings: Settings = app.state.settings
    if keys:
        app.add_middleware(KeyRequired, keys=keys)
    app.add_middleware(LastResort)
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, **_cors_options(settings))
    observed = {"traces": app.state.traces, "log_coordinates": settings.log_coordinates}
    app.add_middleware(Observed, metrics=app.state.metrics, **observed)


def shared_with_pages(answers: ASGIApp, settings: Settings) -> ASGIApp:
    """What answers outside of the application, so that pages of the other origins of the settings may read it."""
    return CORSMiddleware(answers, **_cors_options(settings)) if settings.cors_origins else answers


def _cors_options(settings: Settings) -> dict[str, Any]:
    return {
        "allow_origins": settings.cors_origins,
        "allow_methods": ("GET", "POST"),
        "allow_headers": ("*",),
        "expose_headers": EXPOSED_HEADERS,
    }


def _traces(settings: Settings) -> Traces | None:
    if settings.otel_exporter_otlp_endpoint is None:
        return None
    try:
        from service.tracing import Traces
    except ModuleNotFoundError as error:
        raise InvalidSetting(
            f"SATCLE_OTEL_EXPORTER_OTLP_ENDPOINT needs the otel extra ({error}): pip install 'satcle[otel]'"
        ) from None
    return Traces(settings.otel_exporter_otlp_endpoint, version("satcle"))


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state = app.state
    await state.models.warm_up()
    if state.phase == "loading":  # and was not told to stop meanwhile
        state.phase = "ready"
    yield
    state.phase = "draining"
    await state.models.close()
    if state.traces:
        await asyncio.to_thread(state.traces.close)
