"""What an operator asks: alive, ready, how configured, how busy."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from service.api import schemas
from service.embedding.models import Model, Models
from service.errors import NotReady
from service.metrics import Metrics
from service.settings import Settings

router = APIRouter(tags=["operations"])
LIBRARIES = ("fastapi", "h3", "numpy", "onnxruntime", "onnxruntime-gpu", "pydantic", "uvicorn")


@router.get("/livez", summary="Is the process alive", response_class=PlainTextResponse)
async def livez() -> str:
    """Answers as long as the event loop turns."""
    return "ok"


@router.get(
    "/readyz",
    summary="Can it embed",
    response_class=PlainTextResponse,
    responses=schemas.problems(s503="loading, draining, or the backend fails"),
)
async def readyz(request: Request) -> str:
    """A real inference of every model, on the provider that really runs; the bundles were verified when read."""
    if (phase := request.app.state.phase) != "ready":
        raise NotReady(f"the service is {phase}")
    for model in cast(Models, request.app.state.models).by_name.values():
        await model.probe()
    return "ok"


@router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """The text format of Prometheus."""
    content, media_type = cast(Metrics, request.app.state.metrics).exposition()
    return Response(content, media_type=media_type)


@router.get(
    "/info",
    summary="Versions, limits, providers, queue and cache",
    responses=schemas.problems(s401="an API key is required"),
)
def info(request: Request) -> dict[str, Any]:
    """Everything that a bug report needs, and no secret."""
    state = request.app.state
    return {
        "name": "satcle",
        "version": version("satcle"),
        "python": platform.python_version(),
        "libraries": _versions(),
        "phase": state.phase,
        "settings": cast(Settings, state.settings).model_dump(mode="json"),
        "default_model": state.models.default.bundle.card.name,
        "models": [_model_info(model) for model in cast(Models, state.models).by_name.values()],
    }


def _model_info(model: Model) -> dict[str, Any]:
    card, embedder = model.bundle.card, model.embedder
    return {
        "id": card.name,
        "digest": card.digest,
        "provider": model.backend.provider,
        "snap_resolution": card.snap_resolution if embedder.snaps(exact=False) else None,
        "queue_points": embedder.batcher.queued_points,
        "cache": embedder.cache.info(embedder.batcher.spent) if embedder.cache else None,
    }


def _versions() -> dict[str, str]:
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found
