"""POST /v1/similarity/map and /v1/predictions/map: what is shown over a region, as a file."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from fastapi import APIRouter, Request
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import Response

from service.api.formats import ARROW_STREAM, media_type_for
from service.api.map_schemas import GEOJSON, GEOTIFF, OF_CELLS, OF_PIXELS, map_route
from service.api.reading import Limits, deadline_of, parse_options, query_of, read_json, unless_client_leaves
from service.api.references import Similarities, references_from_json
from service.api.regions import MapOptions, Region, grid_of, region_from_json
from service.api.sending import PIECE_BYTES, in_pieces, sliced
from service.api.subjects import Subject, components_of, prediction_by, similarity_to
from service.embedding.cells import Cells
from service.embedding.model import Model
from service.embedding.models import Models
from service.embedding.timing import Timing
from service.errors import InvalidRequest, ItemError
from service.maps.cells import MAX_CELLS, covering
from service.maps.cog import write_cog
from service.maps.grid import Grid
from service.maps.layers import Components, Layer
from service.maps.regions import colored_raster, values_of_cells
from service.maps.render import Style, picture
from service.maps.table import arrow_bytes, geojson_pieces, parquet_bytes, table_of
from service.settings import Settings

router = APIRouter(tags=["maps"])

Fields = dict[str, Any]
SubjectOf = Callable[[Model], Subject]


@router.post("/v1/similarity/map", **map_route("Map of similarity", ("reference", "negative")))
async def similarity_map(request: Request) -> Response:
    """How alike each pixel or H3 cell of a region is to the references, by Accept as a picture, a raster or a table."""
    max_points = cast(Limits, request.app.state.limits).points

    def read(fields: Fields) -> SubjectOf:
        references = references_from_json(fields, max_points)
        return lambda model: similarity_to(model, references)

    return await _draw(request, read, "reference, negative, bbox and geometry")


@router.post("/v1/predictions/map", **map_route("Map of a head's predictions", ("head",)))
async def predictions_map(request: Request) -> Response:
    """What a head predicts at each pixel or H3 cell of a region, by Accept as a picture, a raster or a table."""

    def read(fields: Fields) -> SubjectOf:
        head = fields.pop("head", None)
        if not isinstance(head, str):
            raise InvalidRequest([ItemError("/head", "must be the name of a head, one of /v1/heads")])
        return lambda model: prediction_by(model, head)

    return await _draw(request, read, "head, bbox and geometry")


@router.post("/v1/embeddings/map", **map_route("Map of the embeddings' principal components", ()))
async def embeddings_map(request: Request) -> Response:
    """The first three principal components of a region's pixels, as a picture or a raster of three bands."""
    read = cast(dict[str, Components], request.app.state.components)
    return await _draw(request, lambda _: lambda model: components_of(model, read), "bbox and geometry")


@dataclass(frozen=True)
class Drawing:
    """A map being made: `grid` where it is of pixels."""

    request: Request
    media_type: str
    region: Region
    options: MapOptions
    grid: Grid | None
    subject: Subject
    style: Style
    deadline: float

    @property
    def timing(self) -> Timing:
        return cast(Timing, self.request.state.timing)

    def deadline_for(self, points: int) -> float:
        """Later than for a request of embeddings by as much as the map has more points than such a request may have.

        X-Deadline-Ms holds as it is.
        """
        if "x-deadline-ms" in self.request.headers:
            return self.deadline
        limits = cast(Limits, self.request.app.state.limits)
        return self.deadline + max(0.0, points / limits.points - 1) * limits.deadline_ms / 1000


async def _draw(request: Request, read: Callable[[Fields], SubjectOf], beside: str) -> Response:
    limits = cast(Limits, request.app.state.limits)
    settings = cast(Settings, request.app.state.settings)
    query = query_of(request)
    deadline = deadline_of(request, limits)

    def read_all(fields: Fields) -> tuple[SubjectOf, Region, MapOptions]:
        return read(fields), region_from_json(fields), parse_options(MapOptions, query, fields, beside)

    with cast(Timing, request.state.timing).stage("read"):
        subject_of, region, options = await read_json(request, limits, deadline, read_all)
    grid = grid_of(region, options, settings.max_map_points)
    media_type = media_type_for(request.headers.get("accept"), OF_CELLS if grid is None else OF_PIXELS)
    async with cast(Models, request.app.state.models).using(options.model, deadline) as model:
        subject = subject_of(model)
        if grid is None and (bands := subject.look.bands) > 1:
            problem = f"a cell holds one value, and the {subject.look.name} are {bands}: send width and height"
            raise InvalidRequest([ItemError("/h3_resolution", problem)])
        style = Style.of(subject.look, options.colormap_name, options.rescale)
        drawing = Drawing(request, media_type, region, options, grid, subject, style, deadline)
        return await unless_client_leaves(request, _answer(drawing))


async def _answer(drawing: Drawing) -> Response:
    similarities = cast(Similarities, drawing.request.app.state.similarities)
    layer = await drawing.subject.layer(similarities, drawing.deadline, drawing.timing)
    if drawing.grid is None:
        return await _cells(drawing, layer)
    return await (_geotiff if drawing.media_type == GEOTIFF else _png)(drawing, drawing.grid, layer)


async def _geotiff(drawing: Drawing, grid: Grid, layer: Layer) -> Response:
    """Written to a file, for a GeoTIFF's directory stands before its pixels but is known after them."""
    with tempfile.TemporaryDirectory(prefix="satcle-map-") as folder:
        path = Path(folder) / "map.tif"
        with drawing.timing.stage("raster"):
            deadline = drawing.deadline_for(len(grid))
            await write_cog(path, drawing.subject.model, grid, layer, deadline, inside=drawing.region.inside)
        file = path.open("rb")  # which outlives its name
        length = path.stat().st_size
    return _sent(drawing, _read_in_pieces(file), length)


async def _png(drawing: Drawing, grid: Grid, layer: Layer) -> Response:
    model, style, inside = drawing.subject.model, drawing.style, drawing.region.inside
    with drawing.timing.stage("raster"):
        pixels = await colored_raster(model, grid, layer, style, drawing.deadline_for(len(grid)), inside=inside)
    with drawing.timing.stage("render"):
        content = await asyncio.to_thread(picture, pixels, grid, "png")
    return _sent(drawing, sliced(content), len(content), {"X-Value-Range": f"{style.low:g},{style.high:g}"})


async def _cells(drawing: Drawing, layer: Layer) -> Response:
    with drawing.timing.stage("cells"):
        cells = await _covered(drawing)
    with drawing.timing.stage("raster"):
        values = await values_of_cells(drawing.subject.model, cells, layer, drawing.deadline_for(len(cells)))
    if drawing.media_type == GEOJSON:
        return _sent(drawing, iterate_in_threadpool(geojson_pieces(cells, values, layer)))
    card = drawing.subject.model.bundle.card
    metadata = {"satcle.model": card.name, "satcle.digest": card.digest}
    encode = arrow_bytes if drawing.media_type == ARROW_STREAM else parquet_bytes
    with drawing.timing.stage("render"):
        table = await asyncio.to_thread(lambda: encode(table_of(cells, values, layer, metadata)))
    return _sent(drawing, sliced(table), len(table))


async def _covered(drawing: Drawing) -> Cells:
    settings = cast(Settings, drawing.request.app.state.settings)
    resolution, max_cells = drawing.options.h3_resolution, min(MAX_CELLS, settings.max_map_points)
    assert resolution is not None
    try:
        async with asyncio.timeout_at(drawing.deadline):
            return await covering(drawing.region.inside or drawing.region.bbox, resolution, max_cells)
    except TimeoutError:
        raise drawing.subject.model.embedder.batcher.too_late() from None


def _sent(
    drawing: Drawing,
    content: AsyncIterator[bytes | memoryview],
    length: int | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    headers = dict(headers or {})
    if length is not None:
        headers["Content-Length"] = str(length)
    return in_pieces(drawing.request, content, headers=headers, media_type=drawing.media_type)


async def _read_in_pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            yield piece
