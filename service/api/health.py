"""What an operator asks: alive, ready, how configured, how busy."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from service.api import schemas
from service.api.reading import deadline_of
from service.embedding.model import memory_of
from service.embedding.models import Models
from service.embedding.residents import Resident
from service.errors import NotReady
from service.metrics import Metrics
from service.settings import Settings

router = APIRouter(tags=["operations"])
LIBRARIES = ("fastapi", "h3", "numpy", "onnxruntime", "onnxruntime-gpu", "pydantic", "uvicorn")


@router.head("/livez", include_in_schema=False, response_class=PlainTextResponse)
@router.get("/livez", summary="Is the process alive", response_class=PlainTextResponse)
async def livez() -> str:
    """Answers as long as the event loop turns."""
    return "ok"


@router.head("/readyz", include_in_schema=False, response_class=PlainTextResponse)
@router.get(
    "/readyz",
    summary="Can it embed",
    response_class=PlainTextResponse,
    responses=schemas.problems(s503="loading, draining, or the backend fails"),
)
async def readyz(request: Request) -> str:
    """A real inference of every loaded model, on the provider that really runs; bundles were verified when read."""
    if (phase := request.app.state.phase) != "ready":
        raise NotReady(f"the service is {phase}")
    await cast(Models, request.app.state.models).probe()
    return "ok"


@router.head("/metrics", include_in_schema=False, response_class=PlainTextResponse)
@router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """The text format of Prometheus."""
    content, media_type = cast(Metrics, request.app.state.metrics).exposition()
    return Response(content, media_type=media_type)


@router.head("/info", include_in_schema=False)
@router.get(
    "/info",
    summary="Versions, limits, providers, queue and cache",
    responses=schemas.problems(**schemas.LISTED),
)
async def info(request: Request) -> dict[str, Any]:
    """Everything that a bug report needs, and no secret."""
    state = request.app.state
    models = cast(Models, state.models)
    residents = await models.all(deadline_of(request, state.limits))
    return {
        "name": "satcle",
        "version": version("satcle"),
        "python": platform.python_version(),
        "libraries": _versions(),
        "phase": state.phase,
        "settings": cast(Settings, state.settings).model_dump(mode="json"),
        "default_model": models.default_name,
        "models": [_model_info(resident) for resident in residents],
    }


def _model_info(resident: Resident) -> dict[str, Any]:
    card, model = resident.bundle.card, resident.model
    described = {
        "id": card.name,
        "digest": card.digest,
        "training_places": card.training_places.count if card.training_places else None,
        "memory_bytes": memory_of(resident.bundle),
        "loaded": model is not None,
    }
    if model is None:
        return described
    embedder = model.embedder
    return described | {
        "provider": model.backend.provider,
        "precision": model.precision,
        "batch_points": embedder.batcher.limits.batch_points,
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
