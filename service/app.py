"""All wiring: settings → models → routes."""

from __future__ import annotations

import platform
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from service.api import embeddings, health, models
from service.api.middleware import Observed
from service.api.problems import on_http_exception, on_service_error
from service.api.reading import Limits
from service.embedding.backends.base import Backend
from service.embedding.models import load_models
from service.errors import ServiceError
from service.metrics import Metrics
from service.settings import Settings, read_settings


def create_app(settings: Settings | None = None, backend: Backend | None = None) -> FastAPI:
    """The service on the bundles of `settings` (read from the environment where None).

    `backend` replaces ONNX Runtime, as `FakeBackend` does in tests. Raises BundleError where a bundle
    is absent or does not verify, ProviderUnavailable where the provider asked for would not be what runs,
    InvalidSetting where the environment holds a setting that cannot be.
    """
    settings = settings or read_settings()
    metrics = Metrics()
    metrics.build_info.labels(version("satcle"), platform.python_version()).set(1)
    app = FastAPI(
        title="satcle",
        version=version("satcle"),
        description="Turns any place on Earth into a vector that knows what the place is like.",
        lifespan=_lifespan,
    )
    app.state.phase = "loading"
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.limits = Limits(settings.max_body_bytes, settings.max_points_per_request, settings.deadline_ms)
    app.state.models = load_models(settings, metrics, backend)
    app.add_middleware(Observed, metrics=metrics)
    app.add_exception_handler(ServiceError, on_service_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    for router in (embeddings.router, models.router, health.router):
        app.include_router(router)
    app.add_api_route("/", lambda: RedirectResponse("/docs"), include_in_schema=False)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    for model in app.state.models.by_name.values():
        await model.probe()
    app.state.phase = "ready"
    yield
    app.state.phase = "draining"
    await app.state.models.close()
