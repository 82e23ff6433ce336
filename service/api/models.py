"""GET /v1/models and /v1/models/{id}: what is served, and each model's card."""

from __future__ import annotations

from typing import Any, cast

from fastapi import APIRouter, Request

from service.api import schemas
from service.embedding.models import Model, Models

router = APIRouter(tags=["models"])


@router.get("/v1/models", summary="Models served", responses=schemas.problems(s401="an API key is required"))
def list_models(request: Request) -> dict[str, Any]:
    """OpenAI's list, with what a client needs to choose."""
    models = cast(Models, request.app.state.models)
    return {"object": "list", "data": [_summary(model) for model in models.by_name.values()]}


@router.get(
    "/v1/models/{model_id}",
    summary="A model's card",
    responses=schemas.problems(s401="an API key is required", s404="no such model"),
)
def show_model(request: Request, model_id: str) -> dict[str, Any]:
    """OpenAI's model object and the whole card of the bundle."""
    model = cast(Models, request.app.state.models).named(model_id)
    return _summary(model) | model.bundle.card.model_dump(mode="json")


def _summary(model: Model) -> dict[str, Any]:
    card = model.bundle.card
    return {
        "id": card.name,
        "object": "model",
        "created": int((model.bundle.path / "manifest.json").stat().st_mtime),
        "owned_by": "satcle",
        "version": card.version,
        "digest": card.digest,
        "embedding_dim": card.embedding_dim,
        "dimensions": list(card.dimensions),
        "snap_resolution": card.snap_resolution,
    }
