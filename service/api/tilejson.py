"""GET …/{tms}/tilejson.json, which tells a map client all about the tiles, and …/legend.json, which explains them."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlencode

from fastapi import Request
from starlette.responses import JSONResponse, Response

from service.api.query import Query
from service.api.reading import deadline_of
from service.api.subjects import Kind, Subject
from service.maps.legend import legend_of
from service.maps.render import Style
from service.maps.tiling import tile_matrix_set

FORMATS = ("png", "webp")
SCALES = ("1", "2")
MAX_ZOOM = 22
"""Of what TileJSON names; tiles are served for every zoom of their matrix set."""


async def tilejson(request: Request, kind: Kind) -> Response:
    """TileJSON 3.0.0; the tiles are styled as the query says. `tile_scale=2` asks for tiles of 512 pixels a side."""
    query = Query(request, (*kind.parameters, "model", "colormap_name", "rescale", "tile_format", "tile_scale"))
    tms = request.path_params["tms"]
    matrices = tile_matrix_set(tms)
    suffix = "@2x." if query.choice("tile_scale", SCALES) == "2" else "."
    suffix += query.choice("tile_format", FORMATS)
    text = _query_text(request)
    root = str(request.base_url).rstrip("/")
    async with kind.subject(request, query, deadline_of(request, request.app.state.limits)) as subject:
        Style.of(subject.look, query.one("colormap_name"), query.one("rescale"))
        return JSONResponse(
            {
                "tilejson": "3.0.0",
                "name": f"{subject.look.name}, {subject.model.bundle.card.name}",
                "version": "1.0.0",
                "scheme": "xyz",
                "tiles": [f"{root}{subject.path}/tiles/{tms}/{{z}}/{{x}}/{{y}}{suffix}{text}"],
                "minzoom": matrices.minzoom,
                "maxzoom": min(matrices.maxzoom, MAX_ZOOM),
                "bounds": list(matrices.bbox),
                "center": _center(subject),
                "attribution": _attribution(subject),
            }
        )


async def legend(request: Request, kind: Kind) -> Response:
    """What the colours stand for."""
    query = Query(request, (*kind.parameters, "model", "colormap_name", "rescale"))
    async with kind.subject(request, query, deadline_of(request, request.app.state.limits)) as subject:
        style = Style.of(subject.look, query.one("colormap_name"), query.one("rescale"))
        facts: dict[str, Any] = {"name": subject.look.name, "model": subject.model.bundle.card.name}
        return JSONResponse(facts | legend_of(subject.look, style))


def _query_text(request: Request) -> str:
    kept = [(name, value) for name, value in request.query_params.multi_items() if not name.startswith("tile_")]
    return "?" + urlencode(kept, safe=",") if kept else ""


def _center(subject: Subject) -> list[float]:
    if subject.references is None:
        return [0.0, 0.0, 1]
    lon, lat = cast(list[float], subject.references.places.degrees[0].tolist())
    return [lon, lat, 3]


def _attribution(subject: Subject) -> str:
    """The credits of what the model, and the head if it is one, were trained on."""
    sources = [*subject.model.bundle.card.training.sources, *subject.sources]
    return "; ".join(dict.fromkeys(source.credit for source in sources))
