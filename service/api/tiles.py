"""GET …/tiles/{tms}/{z}/{x}/{y}[@2x].{format}: what is shown, as tiles in TiTiler's grammar."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from functools import partial
from typing import cast

from fastapi import Request
from starlette.responses import Response

from service.api.conditional import caching_headers, etag_of, not_modified
from service.api.query import Query, shown
from service.api.reading import Limits, deadline_of, unless_client_leaves
from service.api.references import Similarities
from service.api.sharing import Shared
from service.api.subjects import Kind, Subject
from service.embedding.timing import Timing
from service.errors import InvalidRequest, ItemError, Overloaded
from service.maps.grid import Grid
from service.maps.raster import raster
from service.maps.render import Style, TileFormat, tile_bytes
from service.maps.tiling import TILE_SIZE, tile_grid
from service.metrics import Metrics

MEDIA_TYPES: dict[TileFormat, str] = {
    "png": "image/png",
    "webp": "image/webp",
    "tif": "image/tiff",
    "npy": "application/x-npy",
}
TILES_AT_ONCE = 2
"""One tile's pixels keep all workers busy, while another is drawn."""
MAX_TILES = 1000
"""That are asked for at one time, beside those that are equal."""

COUNT = re.compile(r"\d{1,9}", re.ASCII)
ROW = re.compile(r"(\d{1,9})(@2x)?", re.ASCII)


@dataclass(frozen=True)
class Tile:
    """One tile, as a path names it; `size` pixels a side."""

    tms: str
    z: int
    x: int
    y: int
    size: int
    format: TileFormat

    @classmethod
    def of(cls, parameters: dict[str, str]) -> Tile:
        """Raises InvalidRequest where a number is none, or the format is not served."""
        row = ROW.fullmatch(parameters["y"])
        problems = [
            ItemError(f"/{name}", f"{shown(parameters[name])} is not a whole number{hint}")
            for name, sound, hint in (
                ("z", COUNT.fullmatch(parameters["z"]), ""),
                ("x", COUNT.fullmatch(parameters["x"]), ""),
                ("y", row, ", nor one with @2x after it"),
            )
            if not sound
        ]
        if parameters["format"] not in MEDIA_TYPES:
            formats = ", ".join(MEDIA_TYPES)
            problems.append(ItemError("/format", f"{shown(parameters['format'])} is not one of {formats}"))
        if problems or row is None:
            raise InvalidRequest(problems)
        size = TILE_SIZE * (2 if row[2] else 1)
        tile_format = cast(TileFormat, parameters["format"])
        return cls(parameters["tms"], int(parameters["z"]), int(parameters["x"]), int(row[1]), size, tile_format)

    @property
    def grid(self) -> Grid:
        """Raises UnknownTile."""
        return tile_grid(self.tms, self.z, self.x, self.y, self.size)


async def tile(request: Request, kind: Kind) -> Response:
    """The tile, or 304 where the asker has it. Equal tiles asked for at once are computed once.

    Tiles are computed in the order in which they are asked for, since a map asks for a screenful at a time. The
    service's deadline counts from a tile's turn on, and X-Deadline-Ms, if there is one, from the request.
    """
    deadline = deadline_of(request, cast(Limits, request.app.state.limits))
    query = Query(request, (*kind.parameters, "model", "colormap_name", "rescale"))
    asked = Tile.of(request.path_params)
    async with kind.subject(request, query, deadline) as subject:
        style = Style.of(subject.look, query.one("colormap_name"), query.one("rescale"))
        drawing = _Drawing(request, subject, asked.grid, style, asked.format)
        etag = etag_of((subject.key, style, asked))
        if (unchanged := not_modified(request, etag)) is not None:
            return unchanged
        own_deadline = deadline if "x-deadline-ms" in request.headers else None
        body = await unless_client_leaves(request, _in_time(drawing, etag, own_deadline))
    return Response(body, headers=caching_headers(request, etag), media_type=MEDIA_TYPES[asked.format])


@dataclass(frozen=True)
class _Drawing:
    request: Request
    subject: Subject
    grid: Grid
    style: Style
    format: TileFormat


async def _in_time(drawing: _Drawing, etag: str, deadline: float | None) -> bytes:
    tiles = cast(Shared[bytes], drawing.request.app.state.tiles)
    try:
        async with asyncio.timeout_at(deadline):
            return await tiles.result((etag, drawing.subject.model), partial(_draw, drawing))
    except TimeoutError:
        raise drawing.subject.model.embedder.batcher.too_late() from None
    except Overloaded:
        cast(Metrics, drawing.request.app.state.metrics).rejected.labels("queue_full").inc()
        raise


async def _draw(drawing: _Drawing) -> bytes:
    """In its turn, for all who wait."""
    state = drawing.request.app.state
    timing = cast(Timing, drawing.request.state.timing)
    deadline = asyncio.get_running_loop().time() + cast(Limits, state.limits).deadline_ms / 1000
    layer = await drawing.subject.layer(cast(Similarities, state.similarities), deadline, timing)
    with timing.stage("raster"):
        values = await raster(drawing.subject.model, drawing.grid, layer, deadline)
    with timing.stage("render"):
        return await asyncio.to_thread(tile_bytes, values, drawing.grid, layer, drawing.style, drawing.format)
