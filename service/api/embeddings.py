"""POST /v1/embeddings."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api import schemas
from service.api.formats import ARROW_STREAM, ENCODERS, JSON, OCTET_STREAM, Answer, media_type_for
from service.api.reading import Limits, deadline_of, read_places, unless_client_leaves
from service.api.schemas import EmbeddingOptions
from service.api.sending import respond
from service.bundle import BundleCard
from service.embedding.embedder import Embedded
from service.embedding.models import Models
from service.embedding.rows import shape_rows
from service.embedding.timing import Timing
from service.errors import InvalidRequest, ItemError

router = APIRouter()

SMALL_JSON_BYTES = 2**18
SMALL_BINARY_BYTES = 2**22
"""Answers whose rows take no more are encoded on the event loop and sent whole; larger ones in a thread, in pieces."""


@router.post(
    "/v1/embeddings",
    summary="Embed places",
    tags=["embeddings"],
    openapi_extra={
        "parameters": schemas.query_parameters(EmbeddingOptions),
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": schemas.EMBEDDINGS_REQUEST},
                OCTET_STREAM: schemas.BINARY,
                ARROW_STREAM: schemas.BINARY,
            },
        },
    },
    responses={
        200: {
            "description": "Row i embeds place i",
            "content": {JSON: {"schema": schemas.EMBEDDINGS_ANSWER}}
            | {media_type: schemas.BINARY for media_type in ENCODERS if media_type != JSON},
        },
        **schemas.COMPUTED,
    },
    response_class=Response,
)
async def embed(request: Request) -> Response:
    """Places in, embeddings out: by Content-Type and Accept, in JSON or binary; row i answers input i."""
    limits = cast(Limits, request.app.state.limits)
    models = cast(Models, request.app.state.models)
    timing = cast(Timing, request.state.timing)
    media_type = media_type_for(request.headers.get("accept"))
    deadline = deadline_of(request, limits)
    with timing.stage("read"):
        lonlat, options = await read_places(request, EmbeddingOptions, limits, deadline)
    request.state.places = lonlat
    async with models.using(options.model, deadline) as model:
        card = model.bundle.card
        dimensions = _allowed_dimensions(card, options.dimensions)
        embedding = model.embedder.embed(lonlat, exact=options.exact, deadline=deadline, timing=timing)
        embedded = await unless_client_leaves(request, embedding)
    rows = shape_rows(embedded.rows, dimensions, options.normalize)
    answer = Answer(card.name, card.digest, Embedded(lonlat, embedded.cells, rows), options.encoding_format == "base64")
    return await _respond(request, answer, media_type)


def _allowed_dimensions(card: BundleCard, asked: int | None) -> int:
    if asked is None:
        return card.embedding_dim
    if asked not in card.dimensions:
        allowed = ", ".join(map(str, card.dimensions))
        raise InvalidRequest([ItemError("/dimensions", f"{asked} is not one of {card.name}'s dimensions: {allowed}")])
    return asked


async def _respond(request: Request, answer: Answer, media_type: str) -> Response:
    headers = {}
    if media_type == OCTET_STREAM:
        rows, dimensions = answer.embedded.rows.shape
        headers = {"X-Embedding-Shape": f"{rows},{dimensions}", "X-Embedding-Dtype": "float32"}
    small = answer.embedded.rows.nbytes <= (SMALL_JSON_BYTES if media_type == JSON else SMALL_BINARY_BYTES)
    return await respond(request, ENCODERS[media_type](answer), media_type, headers, small=small)
