"""OpenAPI of tiles, TileJSON, legends and point values."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from service.api import schemas
from service.api.formats import ARROW_STREAM, PARQUET
from service.api.regions import MapOptions

Parameter = dict[str, Any]

GEOTIFF, PNG, GEOJSON = "image/tiff", "image/png", "application/geo+json"
OF_PIXELS = (GEOTIFF, PNG)
OF_CELLS = (GEOJSON, ARROW_STREAM, PARQUET)
"""The media types of maps in pixels and in cells; the first of each where Accept has no preference."""

LON_LAT_TEXT = r"^-?\d{1,3}(\.\d{1,15})?,-?\d{1,2}(\.\d{1,15})?$"
TMS: Parameter = {
    "name": "tms",
    "in": "path",
    "required": True,
    "description": "the tile matrix set",
    "schema": {"type": "string", "enum": ["WebMercatorQuad", "WorldCRS84Quad"]},
}


def _path(name: str, description: str, **schema: Any) -> Parameter:  # noqa: ANN401 - JSON schema
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _query(name: str, description: str, **schema: Any) -> Parameter:  # noqa: ANN401 - JSON schema
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


HEAD = _path("head", "a head of /v1/heads", type="string")
TILE_PATH = [
    TMS,
    _path("z", "zoom", type="integer", minimum=0, maximum=24),
    _path("x", "column, from the west", type="integer", minimum=0),
    _path(
        "y", "row, from the north; with @2x after it for twice the pixels", type="string", pattern=r"^\d{1,9}(@2x)?$"
    ),
    _path(
        "format", "coloured (png, webp), or the values (tif, npy)", type="string", enum=["png", "webp", "tif", "npy"]
    ),
]
POINT_PATH = [
    _path("lon", "degrees, WGS84", type="number", minimum=-360, maximum=360),
    _path("lat", "degrees, WGS84", type="number", minimum=-90, maximum=90),
]
MODEL = _query("model", "a name of /v1/models; the default model if absent", type="string")
LOOKS = [
    _query("colormap_name", "one of rio-tiler's colour maps; not for classes or components", type="string"),
    _query(
        "rescale",
        "the values at the two ends of the colour map: low,high; not for classes or components",
        type="string",
    ),
]
TILE_OPTIONS = [
    _query("tile_format", "of the tiles that are named", type="string", enum=["png", "webp"]),
    _query("tile_scale", "2: tiles of 512 pixels a side", type="string", enum=["1", "2"]),
]
_PLACES = {"type": "array", "minItems": 1, "maxItems": 100, "items": {"type": "string", "pattern": LON_LAT_TEXT}}
REFERENCES = [
    _query("reference", "lon,lat of a place to be like; may be repeated", **_PLACES)
    | {"required": True, "example": ["116.4,39.9"]},
    _query("negative", "lon,lat of a place not to be like; may be repeated", **_PLACES),
]
TILEJSON: dict[str, Any] = {
    "type": "object",
    "required": ["tilejson", "tiles", "minzoom", "maxzoom", "bounds"],
    "properties": {
        "tilejson": {"const": "3.0.0"},
        "name": {"type": "string"},
        "tiles": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "minzoom": {"type": "integer"},
        "maxzoom": {"type": "integer"},
        "bounds": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
        "center": {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3},
        "attribution": {"type": "string"},
    },
}
_COLOR = {"type": "string", "pattern": "^#[0-9a-f]{6}$"}
LEGEND: dict[str, Any] = {
    "type": "object",
    "required": ["name", "model", "unit"],
    "properties": {
        "name": {"type": "string"},
        "model": {"type": "string"},
        "unit": {"type": ["string", "null"]},
        "colormap_name": {"type": "string"},
        "range": {
            "type": "array",
            "items": {"type": "number"},
            "minItems": 2,
            "maxItems": 2,
            "description": "the values of the first and the last colour",
        },
        "colors": {"type": "array", "items": _COLOR, "description": "evenly spaced over the range"},
        "classes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["value", "label", "color"],
                "properties": {"value": {"type": "integer"}, "label": {"type": "string"}, "color": _COLOR},
            },
        },
    },
}
POINT: dict[str, Any] = {
    "type": "object",
    "required": ["lon", "lat", "value"],
    "properties": {
        "lon": {"type": "number"},
        "lat": {"type": "number"},
        "cell": {**schemas.H3_CELL, "description": "the H3 cell of the place"},
        "value": {
            "description": "one number, or red, green and blue from 0 to 1",
            "anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}],
        },
        "unit": {"type": "string"},
        "label": {"type": "string", "description": "of the most probable class, whose index `value` is"},
    },
}
LOOKED_UP = schemas.problems(
    s401="an API key is required", s404="no such model, head or tile matrix set", s422="names each parameter at fault"
)
COMPUTED = schemas.problems(
    s401="an API key is required",
    s404="no such model, head, tile matrix set or tile",
    s422="names each parameter at fault",
    s429="the queue is full",
    s503="not ready",
    s504="the deadline passed",
)

_MAP_FIELDS: dict[str, Any] = {
    "reference": schemas.PLACES,
    "negative": schemas.PLACES,
    "head": {"type": "string", "description": "one of /v1/heads"},
}
BBOX: dict[str, Any] = {
    "type": "array",
    "items": {"type": "number"},
    "minItems": 4,
    "maxItems": 4,
    "description": "[west, south, east, north] in degrees; where west > east, over the antimeridian",
    "examples": [[115.4, 39.4, 117.5, 41.1]],
}
GEOMETRY: dict[str, Any] = {
    "type": "object",
    "description": "GeoJSON Polygon or MultiPolygon, or Features of them: the map is of its box, with values inside",
}


def map_route(summary: str, what: tuple[str, ...]) -> dict[str, Any]:
    """How a map is described: `what` are the fields that say what is shown, the first of them required."""
    request = {
        "type": "object",
        "required": list(what[:1]),
        "properties": {name: _MAP_FIELDS[name] for name in what}
        | {"bbox": BBOX, "geometry": GEOMETRY}
        | MapOptions.model_json_schema()["properties"],
        "oneOf": [{"required": ["bbox"]}, {"required": ["geometry"]}],
        "anyOf": [{"required": ["width", "height"]}, {"required": ["h3_resolution"]}],
        "additionalProperties": False,
    }
    return {
        "summary": summary,
        "response_class": Response,
        "openapi_extra": {
            "parameters": schemas.query_parameters(MapOptions),
            "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        },
        "responses": {
            200: {
                "description": "Pixels (GeoTIFF, PNG with X-Value-Range) or H3 cells (GeoJSON, Arrow, Parquet)",
                "content": dict.fromkeys((*OF_PIXELS, *OF_CELLS), schemas.BINARY),
            },
            **schemas.COMPUTED,
        },
    }
