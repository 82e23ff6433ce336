"""GET /v1/models and /v1/models/{id}: what is served, and each model's card; POST /v1/models/reload."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast

from fastapi import APIRouter, Request

from service.api import schemas
from service.api.reading import deadline_of
from service.embedding.models import Models
from service.embedding.reload import Change
from service.embedding.residents import Resident
from service.errors import ReloadForbidden
from service.settings import Settings

router = APIRouter(tags=["models"])


@router.head("/v1/models", include_in_schema=False)
@router.get("/v1/models", summary="Models served", responses=schemas.problems(**schemas.LISTED))
async def list_models(request: Request) -> dict[str, Any]:
    """OpenAI's list, with what a client needs to choose."""
    models, deadline = cast(Models, request.app.state.models), deadline_of(request, request.app.state.limits)
    return {"object": "list", "data": [_summary(resident) for resident in await models.all(deadline)]}


@router.head("/v1/models/{model_id}", include_in_schema=False)
@router.get(
    "/v1/models/{model_id}",
    summary="A model's card",
    responses=schemas.problems(s404="no such model", **schemas.LISTED),
)
async def show_model(request: Request, model_id: str) -> dict[str, Any]:
    """OpenAI's model object and the whole card of the bundle."""
    models, deadline = cast(Models, request.app.state.models), deadline_of(request, request.app.state.limits)
    resident = await models.named(model_id, deadline)
    return _summary(resident) | resident.bundle.card.model_dump(mode="json")


@router.post(
    "/v1/models/reload",
    summary="Take up new, replaced and removed bundles",
    responses=schemas.problems(
        s401="an API key is required", s403="the service has no API keys, and so nobody who may reload its models"
    ),
)
async def reload_models(request: Request) -> dict[str, Any]:
    """What becomes of each model: added, replaced, kept, removed, or refused, and then what was served before stays.

    Requests under way end on the model that they began on. Every worker process has the new models before its next
    answer.
    """
    if cast(Settings, request.app.state.settings).api_keys_file is None:
        raise ReloadForbidden("models are reloaded only for those who have an API key: set SATCLE_API_KEYS_FILE")
    changed = await cast(Models, request.app.state.models).reload()
    return {"object": "list", "data": [_described(change) for change in changed]}


def _described(change: Change) -> dict[str, Any]:
    described: dict[str, Any] = {"id": change.model, "object": "model.reload", "change": change.kind}
    if change.bundle is not None:
        described["digest"] = change.bundle.card.digest
    if change.reason is not None:
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        described["problem"] = {"status": status.value, "title": status.phrase, "detail": change.reason}
    return described


def _summary(resident: Resident) -> dict[str, Any]:
    card = resident.bundle.card
    return {
        "id": card.name,
        "object": "model",
        "created": resident.created,
        "owned_by": "satcle",
        "loaded": resident.model is not None,
        "version": card.version,
        "digest": card.digest,
        "embedding_dim": card.embedding_dim,
        "dimensions": list(card.dimensions),
        "snap_resolution": card.snap_resolution,
        "heads": [head.id for head in card.heads],
        "limits": card.limits,
    }
