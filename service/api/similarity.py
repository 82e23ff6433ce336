"""POST /v1/similarity: how alike places are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import orjson
from fastapi import APIRouter, Request
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import Response

from service.api import schemas
from service.api.cautions import WARNINGS_SCHEMA, Warnings, json_tail, note_places
from service.api.formats import JSON, media_type_for
from service.api.reading import Limits, deadline_of, parse_options, query_of, read_json, unless_client_leaves
from service.api.references import References, Similarities, places_field, references_from_json
from service.api.sending import in_pieces
from service.bundle import LonLat
from service.embedding.model import Model
from service.embedding.models import Models
from service.embedding.pieces import PIECE
from service.embedding.timing import Timing
from service.errors import TooLarge
from service.maps.layers import Similarity

router = APIRouter()

PLACES_FIELDS = "reference, negative and candidates"
Scores = NDArray[np.float32]


class SimilarityOptions(BaseModel):
    """With which model, and how many of the candidates; in the JSON body, or as query parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(default=None, description="a name of /v1/models; the default model if absent")
    top_k: int | None = Field(
        default=None, ge=1, description="only so many candidates, the most alike first; else all, in input order"
    )


SIMILARITY_REQUEST: dict[str, Any] = {
    "type": "object",
    "required": ["reference", "candidates"],
    "properties": {
        "reference": schemas.PLACES,
        "candidates": schemas.PLACES,
        "negative": schemas.PLACES,
        **SimilarityOptions.model_json_schema()["properties"],
    },
    "additionalProperties": False,
    "examples": [{"reference": [116.4, 39.9], "candidates": [[121.5, 31.2], [2.35, 48.86]]}],
}
SIMILARITY_ANSWER = schemas.listed(
    ["index", "score"],
    {
        "index": {"type": "integer", "description": "of the candidate"},
        "score": {
            "type": "number",
            "description": "mean cosine with the references, minus mean cosine with the negatives",
        },
    },
)
SIMILARITY_ANSWER["properties"]["warnings"] = WARNINGS_SCHEMA


@router.post(
    "/v1/similarity",
    summary="Compare places",
    tags=["similarity"],
    openapi_extra={
        "parameters": schemas.query_parameters(SimilarityOptions),
        "requestBody": {"required": True, "content": {JSON: {"schema": SIMILARITY_REQUEST}}},
    },
    responses={
        200: {"description": "The score of each candidate", "content": {JSON: {"schema": SIMILARITY_ANSWER}}},
        **schemas.COMPUTED,
    },
    response_class=Response,
)
async def compare(request: Request) -> Response:
    """How alike each candidate is to the references: the mean cosine, minus that with the negatives, if any.

    Every place is encoded as it is given, whatever `SATCLE_SNAP` says.
    """
    limits = cast(Limits, request.app.state.limits)
    media_type_for(request.headers.get("accept"), (JSON,))
    deadline = deadline_of(request, limits)
    query = query_of(request)
    with cast(Timing, request.state.timing).stage("read"):
        comparison = await read_json(request, limits, deadline, lambda fields: _comparison(fields, query, limits))
    warnings = note_places(request, comparison.candidates)
    async with cast(Models, request.app.state.models).using(comparison.options.model, deadline) as model:
        order, scores = await unless_client_leaves(request, _compare(request, model, comparison, deadline))
        chunks = _json(model.bundle.card.name, order, scores, warnings)
    if len(order) <= PIECE:
        return Response(b"".join(chunks), media_type=JSON)
    return in_pieces(request, iterate_in_threadpool(chunks), media_type=JSON)


@dataclass(frozen=True)
class _Comparison:
    references: References
    candidates: LonLat
    options: SimilarityOptions


def _comparison(fields: dict[str, Any], query: dict[str, str], limits: Limits) -> _Comparison:
    references = references_from_json(fields, limits.points)
    candidates = places_field(fields, "candidates", limits.points)
    points = len(references) + len(candidates)
    if points > limits.points:
        raise TooLarge(
            f"{PLACES_FIELDS} have {points} points together, more than the {limits.points} of "
            "SATCLE_MAX_POINTS_PER_REQUEST: split the candidates"
        )
    return _Comparison(references, candidates, parse_options(SimilarityOptions, query, fields, PLACES_FIELDS))


async def _compare(
    request: Request, model: Model, comparison: _Comparison, deadline: float
) -> tuple[NDArray[np.intp], Scores]:
    """The candidates' indices in the order of the answer, and the score of each candidate."""
    timing = cast(Timing, request.state.timing)
    similarities = cast(Similarities, request.app.state.similarities)
    layer = await similarities.layer(model, comparison.references, deadline, timing)
    embedded = await model.embedder.embed(comparison.candidates, exact=True, deadline=deadline, timing=timing)
    with timing.stage("similarity"):
        return await asyncio.to_thread(_ordered, layer, embedded.rows, comparison.options.top_k)


def _ordered(layer: Similarity, rows: NDArray[np.float32], top_k: int | None) -> tuple[NDArray[np.intp], Scores]:
    """Scored piece by piece, since in float64 all rows would take twice their memory. Equals stay in input order."""
    scores = np.concatenate([layer.values(rows[start : start + PIECE])[:, 0] for start in range(0, len(rows), PIECE)])
    order = np.arange(len(scores)) if top_k is None else np.argsort(-scores, kind="stable")[:top_k]
    return order, scores


def _json(model: str, order: NDArray[np.intp], scores: Scores, warnings: Warnings) -> Iterator[bytes]:
    """In chunks, each about a millisecond's work."""
    yield b'{"object":"list","model":' + orjson.dumps(model) + b',"data":['
    for start in range(0, len(order), PIECE):
        chosen = order[start : start + PIECE]
        items = [{"index": index, "score": score} for index, score in zip(chosen.tolist(), scores[chosen], strict=True)]
        yield (b"," if start else b"") + orjson.dumps(items, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    yield b"]" + json_tail(warnings) + b"}"
