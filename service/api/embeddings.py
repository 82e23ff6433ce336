"""POST /v1/embeddings."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api import schemas
from service.api.cautions import note_places
from service.api.formats import (
    ARROW_STREAM,
    CONTEXT_MEDIA_TYPES,
    ENCODERS,
    JSON,
    OCTET_STREAM,
    Answer,
    media_type_for,
)
from service.api.reading import Limits, deadline_of, read_places, unless_client_leaves
from service.api.schemas import EmbeddingOptions
from service.api.sending import respond
from service.bundle import BundleCard, LonLat
from service.embedding.context import Context, context_of
from service.embedding.embedder import Embedded
from service.embedding.model import Model
from service.embedding.models import Models
from service.embedding.rows import shape_rows
from service.embedding.timing import Timing
from service.errors import InvalidRequest, ItemError
from service.geography.land import Land

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
    accept = request.headers.get("accept")
    media_type = media_type_for(accept)
    deadline = deadline_of(request, limits)
    with timing.stage("read"):
        lonlat, options = await read_places(request, EmbeddingOptions, limits, deadline)
    if options.context:
        media_type = media_type_for(accept, CONTEXT_MEDIA_TYPES, " with context")
    warnings = note_places(request, lonlat)
    async with models.using(options.model, deadline) as model:
        card = model.bundle.card
        dimensions = _allowed_dimensions(card, options.dimensions)
        embedded, context = await unless_client_leaves(request, _embed(request, model, lonlat, options, deadline))
    shaped = Embedded(lonlat, embedded.cells, shape_rows(embedded.rows, dimensions, options.normalize))
    as_base64 = options.encoding_format == "base64"
    answer = Answer(card.name, card.digest, shaped, as_base64, context, warnings)
    return await _respond(request, answer, media_type)


async def _embed(
    request: Request, model: Model, lonlat: LonLat, options: EmbeddingOptions, deadline: float
) -> tuple[Embedded, Context | None]:
    timing = cast(Timing, request.state.timing)
    embedder = model.embedder
    with embedder.admitted(len(lonlat)):  # until the context is known too: no answer is refused halfway
        embedded = await embedder.embed_admitted(lonlat, exact=options.exact, deadline=deadline, timing=timing)
        if not options.context:
            return embedded, None
        with timing.stage("context"):
            land = cast(Land, request.app.state.land)
            return embedded, await context_of(embedder.batcher, land, model.training_places, lonlat, deadline)


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
