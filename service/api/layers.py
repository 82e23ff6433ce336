"""The GET endpoints of everything that maps show: tiles, TileJSON, legend and point value of each kind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api import map_schemas, schemas
from service.api.points import point
from service.api.subjects import KINDS, Kind
from service.api.tilejson import legend, tilejson
from service.api.tiles import MEDIA_TYPES, tile

Endpoint = Callable[[Request], Awaitable[Response]]
Parameters = list[map_schemas.Parameter]

TILE = dict.fromkeys(MEDIA_TYPES.values(), schemas.BINARY)


def layers_router() -> APIRouter:
    """Every endpoint of every kind, answering HEAD too."""
    router = APIRouter()
    for kind in KINDS:
        _add_endpoints(router, kind)
    return router


def _add_endpoints(router: APIRouter, kind: Kind) -> None:
    subject: Parameters = [map_schemas.HEAD] if "{head}" in kind.path else []
    subject += map_schemas.REFERENCES if kind.parameters else []
    subject.append(map_schemas.MODEL)
    styled = subject + map_schemas.LOOKS

    def add(path: str, answer: Callable[[Request, Kind], Awaitable[Response]], **described: Any) -> None:  # noqa: ANN401
        endpoint = _endpoint(answer, kind)
        url = f"{kind.path}/{path}"
        router.add_api_route(url, endpoint, methods=["GET"], tags=["maps"], response_class=Response, **described)
        router.add_api_route(url, endpoint, methods=["HEAD"], include_in_schema=False)

    add(
        "tiles/{tms}/{z}/{x}/{y}.{format}",
        tile,
        summary=f"Tile: {kind.summary}",
        openapi_extra={"parameters": map_schemas.TILE_PATH + styled},
        responses={200: {"description": "the tile", "content": TILE}, 304: NOT_MODIFIED, **map_schemas.COMPUTED},
    )
    add(
        "{tms}/tilejson.json",
        tilejson,
        summary=f"TileJSON: {kind.summary}",
        openapi_extra={"parameters": [map_schemas.TMS, *styled, *map_schemas.TILE_OPTIONS]},
        responses={200: _json("all about the tiles", map_schemas.TILEJSON), **map_schemas.LOOKED_UP},
    )
    add(
        "legend.json",
        legend,
        summary=f"Legend: {kind.summary}",
        openapi_extra={"parameters": styled},
        responses={200: _json("what the colours stand for", map_schemas.LEGEND), **map_schemas.LOOKED_UP},
    )
    add(
        "point/{lon},{lat}",
        point,
        summary=f"Value at a place: {kind.summary}",
        openapi_extra={"parameters": map_schemas.POINT_PATH + subject},
        responses={200: _json("the value", map_schemas.POINT), **map_schemas.COMPUTED},
    )


def _endpoint(answer: Callable[[Request, Kind], Awaitable[Response]], kind: Kind) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return await answer(request, kind)

    endpoint.__doc__ = answer.__doc__
    return endpoint


NOT_MODIFIED: dict[str, Any] = {"description": "the asker has this tile already"}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
