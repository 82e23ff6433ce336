"""GET /v1/heads and POST /v1/predictions: what the heads of a model say of places."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.responses import Response

from service.api import schemas
from service.api.cautions import WARNINGS_SCHEMA, Warnings, note_places
from service.api.formats import ARROW_STREAM, JSON, OCTET_STREAM, media_type_for
from service.api.names import list_of_names
from service.api.prediction_formats import MATRICES, PREDICTION_ENCODERS, TOP, PredictionAnswer, matrix_headers
from service.api.query import Query
from service.api.reading import Limits, deadline_of, read_places, unless_client_leaves
from service.api.sending import respond
from service.bundle import HeadCard, LonLat
from service.embedding.heads import Head
from service.embedding.model import Model
from service.embedding.models import Models
from service.embedding.predictions import predict
from service.embedding.timing import Timing
from service.errors import InvalidRequest, ItemError

router = APIRouter(tags=["predictions"])

SMALL_JSON_ITEMS = 256
SMALL_BINARY_PLACES = 16_384
"""Answers of no more are encoded on the event loop and sent whole."""


_head_names = list_of_names("head_names", "must be the name of a head, or a list of names, of /v1/heads")


class PredictionOptions(BaseModel):
    """What to predict, and from what embedding; in the JSON body, or as query parameters where the body is binary."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    head: Annotated[list[str], BeforeValidator(_head_names)] = Field(
        default_factory=list,
        description="a name of /v1/heads, or several; in a query with commas between, or repeated",
        examples=[["elevation"]],
    )
    model: str | None = Field(default=None, description="a name of /v1/models; the default model if absent")
    exact: bool = Field(default=False, description="encode the very coordinate, not its H3 cell's centre")


HEAD_NAMES: dict[str, Any] = {
    "description": "a name of /v1/heads, or several",
    "anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
}
PREDICTIONS_REQUEST: dict[str, Any] = {
    "type": "object",
    "required": ["head", "input"],
    "properties": {"input": schemas.PLACES, **PredictionOptions.model_json_schema()["properties"], "head": HEAD_NAMES},
    "additionalProperties": False,
    "examples": [{"head": "elevation", "input": [[116.4, 39.9], [2.35, 48.86]]}],
}
PREDICTIONS_ANSWER = schemas.listed(
    ["index", "head"],
    {
        "index": {"type": "integer", "description": "of the place"},
        "head": {"type": "string"},
        "value": {"type": "number", "description": "of a regression, in `unit`"},
        "unit": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "label": {"type": "string", "description": "of a classification: the most probable class"},
        "probabilities": {
            "type": "object",
            "additionalProperties": {"type": "number"},
            "description": f"of the {TOP} most probable classes, the most probable first",
        },
        "cell": {**schemas.H3_CELL, "description": "the H3 cell whose centre was encoded; absent with exact"},
    },
    usage=schemas.USAGE,
)
PREDICTIONS_ANSWER["properties"]["warnings"] = WARNINGS_SCHEMA


@router.head("/v1/heads", include_in_schema=False)
@router.get(
    "/v1/heads",
    summary="Heads served",
    openapi_extra={
        "parameters": [
            {
                "name": "model",
                "in": "query",
                "required": False,
                "schema": {"type": "string"},
                "description": "its heads",
            }
        ]
    },
    responses=schemas.problems(
        s401="an API key is required", s404="no such model", s422="names each parameter at fault"
    ),
)
async def list_heads(request: Request) -> dict[str, Any]:
    """What can be predicted: the heads of every model, or of the one named, with what their cards say of them."""
    models, deadline = cast(Models, request.app.state.models), deadline_of(request, request.app.state.limits)
    name = Query(request, ("model",)).one("model")
    chosen = await models.all(deadline) if name is None else [await models.named(name, deadline)]
    cards = [resident.bundle.card for resident in chosen]
    return {"object": "list", "data": [_described(card.name, head) for card in cards for head in card.heads]}


def _described(model: str, card: HeadCard) -> dict[str, Any]:
    """Unit or classes, as the task has it; `file` is the bundle's own business."""
    others = {"classes", "class_colors"} if card.task == "regression" else {"unit", "transform", "value_range"}
    described = card.model_dump(mode="json", exclude={"id", "file", *others})
    return {"id": card.id, "object": "head", "model": model, **described}


@router.post(
    "/v1/predictions",
    summary="Predict from places",
    openapi_extra={
        "parameters": schemas.query_parameters(PredictionOptions),
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": PREDICTIONS_REQUEST},
                OCTET_STREAM: schemas.BINARY,
                ARROW_STREAM: schemas.BINARY,
            },
        },
    },
    responses={
        200: {
            "description": "An item, row or column for each head",
            "content": {JSON: {"schema": PREDICTIONS_ANSWER}}
            | {media_type: schemas.BINARY for media_type in PREDICTION_ENCODERS if media_type != JSON},
        },
        **schemas.COMPUTED,
    },
    response_class=Response,
)
async def predict_places(request: Request) -> Response:
    """Places in, predictions out: values in the head's unit, or labels and probabilities; row i answers input i."""
    limits = cast(Limits, request.app.state.limits)
    media_type = media_type_for(request.headers.get("accept"), tuple(PREDICTION_ENCODERS))
    deadline = deadline_of(request, limits)
    with cast(Timing, request.state.timing).stage("read"):
        lonlat, options = await read_places(request, PredictionOptions, limits, deadline)
    warnings = note_places(request, lonlat)
    async with cast(Models, request.app.state.models).using(options.model, deadline) as model:
        heads = _heads_of(model, options.head)
        top = None if media_type in MATRICES else TOP
        predicting = _answer(request, model, heads, lonlat, deadline, options.exact, top, warnings)
        answer = await unless_client_leaves(request, predicting)
    small = len(lonlat) <= (SMALL_JSON_ITEMS // len(heads) if media_type == JSON else SMALL_BINARY_PLACES // len(heads))
    headers = matrix_headers(answer) if media_type in MATRICES else {}
    return await respond(request, PREDICTION_ENCODERS[media_type](answer), media_type, headers, small=small)


def _heads_of(model: Model, names: list[str]) -> list[Head]:
    """Raises InvalidRequest where there is none or one twice, UnknownHead."""
    if not names:
        there_are = ", ".join(model.heads) or "none"
        raise InvalidRequest([ItemError("/head", f"is missing; {model.bundle.card.name} has {there_are}")])
    heads = [model.heads.named(name) for name in names]
    if len(set(names)) < len(names):
        raise InvalidRequest([ItemError("/head", "names a head twice")])
    return heads


async def _answer(
    request: Request,
    model: Model,
    heads: list[Head],
    lonlat: LonLat,
    deadline: float,
    exact: bool,
    top: int | None,
    warnings: Warnings,
) -> PredictionAnswer:
    timing = cast(Timing, request.state.timing)
    embedder, card = model.embedder, model.bundle.card
    with embedder.admitted(len(lonlat)):  # until the heads are done too: no answer is refused halfway
        embedded = await embedder.embed_admitted(lonlat, exact=exact, deadline=deadline, timing=timing)
        with timing.stage("heads"):
            predictions = await predict(embedder.batcher, heads, embedded.rows, deadline, top=top)
    return PredictionAnswer(card.name, card.digest, lonlat, embedded.cells, predictions, warnings)
