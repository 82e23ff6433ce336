"""POST /v1/compare: how alike the models see the same places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, cast

import orjson
from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.responses import Response

from service.api import schemas
from service.api.cautions import WARNINGS_SCHEMA, Warnings, json_tail, note_places
from service.api.embeddings import SMALL_JSON_BYTES
from service.api.formats import ARROW_STREAM, JSON, OCTET_STREAM, Answer, Buffer, encode_json, media_type_for
from service.api.names import list_of_names
from service.api.reading import Limits, deadline_of, read_places, unless_client_leaves
from service.api.sending import respond
from service.bundle import LonLat
from service.embedding.agreement import MIN_PLACES
from service.embedding.comparison import Agreement, compare
from service.embedding.models import Models
from service.embedding.timing import Timing
from service.errors import InvalidRequest, ItemError, TooLarge
from service.settings import Settings

router = APIRouter(tags=["models"])

NEIGHBOURS = 10
"""Or all the others, where there are fewer."""


_model_names = list_of_names("model_names", "must be a list of names of /v1/models")


class CompareOptions(BaseModel):
    """Which models, and what is said of them; in the JSON body, or as query parameters where the body is binary."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: Annotated[list[str] | None, BeforeValidator(_model_names)] = Field(
        default=None, description="names of /v1/models; all if absent; in a query with commas between"
    )
    k: int | None = Field(
        default=None,
        ge=1,
        description=f"nearest neighbours of a place, fewer than the places; {NEIGHBOURS} if absent, or all the others",
    )
    embeddings: bool = Field(default=True, description="whether the answer holds the embeddings too")
    encoding_format: Literal["float", "base64"] = Field(default="float", description="of embeddings")


_NAMES = {"type": "array", "items": {"type": "string"}, "minItems": 1, "description": "names of /v1/models; else all"}
COMPARE_REQUEST: dict[str, Any] = {
    "type": "object",
    "required": ["input"],
    "properties": {"input": schemas.PLACES, **CompareOptions.model_json_schema()["properties"], "models": _NAMES},
    "additionalProperties": False,
    "examples": [{"input": [[116.4, 39.9], [2.35, 48.86], [178.4, -18.1]], "embeddings": False}],
}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
COMPARE_ANSWER: dict[str, Any] = {
    "type": "object",
    "required": ["object", "models", "k", "pairs", "usage"],
    "properties": {
        "object": {"const": "comparison"},
        "models": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "digest", "embedding_dim"],
                "properties": {
                    "id": {"type": "string"},
                    "digest": {"type": "string"},
                    "embedding_dim": {"type": "integer"},
                },
            },
        },
        "k": {"type": "integer"},
        "pairs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["models", "cka", "neighbour_agreement"],
                "properties": {
                    "models": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2},
                    "cka": {
                        "anyOf": [_SHARE, {"type": "null"}],
                        "description": "linear CKA; null where a model embeds all places alike",
                    },
                    "neighbour_agreement": {
                        **_SHARE,
                        "description": "mean share of a place's k nearest by cosine that both have",
                    },
                },
            },
        },
        "usage": schemas.USAGE,
        "embeddings": {"type": "array", "items": schemas.EMBEDDINGS_ANSWER, "description": "of each model, in order"},
        "warnings": WARNINGS_SCHEMA,
    },
}


@router.post(
    "/v1/compare",
    summary="Compare models",
    openapi_extra={
        "parameters": schemas.query_parameters(CompareOptions),
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": COMPARE_REQUEST},
                OCTET_STREAM: schemas.BINARY,
                ARROW_STREAM: schemas.BINARY,
            },
        },
    },
    responses={
        200: {"description": "How alike each two are", "content": {JSON: {"schema": COMPARE_ANSWER}}},
        **schemas.COMPUTED,
    },
    response_class=Response,
)
async def compare_models(request: Request) -> Response:
    """Of each two models the linear CKA (Kornblith et al. 2019) and how far they agree on which places are near.

    Every place is encoded as it is given, whatever `SATCLE_SNAP` says: models snap to cells of different sizes, and
    all are to see the very same places.
    """
    limits = cast(Limits, request.app.state.limits)
    media_type_for(request.headers.get("accept"), (JSON,))
    deadline = deadline_of(request, limits)
    with cast(Timing, request.state.timing).stage("read"):
        lonlat, options = await read_places(request, CompareOptions, limits, deadline)
    warnings = note_places(request, lonlat)
    _check(lonlat, options, cast(Settings, request.app.state.settings).max_compare_points)
    names = await _names(cast(Models, request.app.state.models), options.models, deadline)
    k = options.k or min(NEIGHBOURS, len(lonlat) - 1)
    comparing = _compare(request, names, lonlat, k, deadline, as_base64=options.encoding_format == "base64")
    answers, agreements = await unless_client_leaves(request, comparing)
    shown = answers if options.embeddings else []
    small = sum(answer.embedded.rows.nbytes for answer in shown) <= SMALL_JSON_BYTES
    return await respond(request, _json(answers, agreements, k, shown, warnings), JSON, {}, small=small)


def _check(lonlat: LonLat, options: CompareOptions, max_points: int) -> None:
    """Raises InvalidRequest or TooLarge."""
    points = len(lonlat)
    if points > max_points:
        raise TooLarge(
            f"{points} places are more than the {max_points} of SATCLE_MAX_COMPARE_POINTS, whose neighbours are looked "
            "for: send a sample of them"
        )
    if points < MIN_PLACES:
        raise InvalidRequest([ItemError("/input", f"has {points} places; CKA needs at least {MIN_PLACES}")])
    if options.k is not None and options.k >= points:
        raise InvalidRequest([ItemError("/k", f"is {options.k}; it must be less than the {points} places")])
    names = options.models
    if names is not None and len(set(names)) < max(1, len(names)):
        raise InvalidRequest([ItemError("/models", "names a model twice" if names else "names no model")])


async def _names(models: Models, asked: list[str] | None, deadline: float) -> list[str]:
    """Raises UnknownModel before anything is computed."""
    residents = await models.all(deadline) if asked is None else [await models.named(each, deadline) for each in asked]
    return [resident.bundle.card.name for resident in residents]


async def _compare(
    request: Request, names: list[str], lonlat: LonLat, k: int, deadline: float, *, as_base64: bool
) -> tuple[list[Answer], list[Agreement]]:
    """One model after the other, so that no more than one need be loaded."""
    models, timing = cast(Models, request.app.state.models), cast(Timing, request.state.timing)
    answers = []
    for name in names:
        async with models.using(name, deadline) as model:
            embedded = await model.embedder.embed(lonlat, exact=True, deadline=deadline, timing=timing)
        answers.append(Answer(name, model.bundle.card.digest, embedded, as_base64))
    async with models.using(names[-1], deadline) as model:
        with timing.stage("compare"):
            rows = [answer.embedded.rows for answer in answers]
            return answers, await compare(model.embedder.batcher, rows, k, deadline)


def _json(
    answers: Sequence[Answer], agreements: Sequence[Agreement], k: int, shown: Sequence[Answer], warnings: Warnings
) -> Iterator[Buffer]:
    """`shown` are those whose embeddings are written, each as `/v1/embeddings` has them, in chunks."""
    models = [
        {"id": answer.model, "digest": answer.digest, "embedding_dim": answer.embedded.rows.shape[1]}
        for answer in answers
    ]
    pairs = [
        {
            "models": [answers[index].model for index in agreement.models],
            "cka": agreement.cka,
            "neighbour_agreement": agreement.neighbours,
        }
        for agreement in agreements
    ]
    points = sum(map(len, answers))
    usage = {"prompt_tokens": points, "total_tokens": points}
    head = {"object": "comparison", "models": models, "k": k, "pairs": pairs, "usage": usage}
    yield orjson.dumps(head)[:-1] + json_tail(warnings)
    for index, answer in enumerate(shown):
        yield b"," if index else b',"embeddings":['
        yield from encode_json(answer)
    yield b"]}" if shown else b"}"
