"""What requests and answers look like: the options as a model, the rest as OpenAPI for readers and clients."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.api.cautions import WARNINGS_SCHEMA


class EmbeddingOptions(BaseModel):
    """How to embed and how to answer; in the JSON body, or as query parameters where the body is binary."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(default=None, description="a name of /v1/models; the default model if absent")
    encoding_format: Literal["float", "base64"] = Field(default="float", description="of embeddings in JSON answers")
    dimensions: int | None = Field(default=None, ge=1, description="a prefix length that the model's card allows")
    normalize: bool = Field(default=False, description="scale each embedding to unit length")
    exact: bool = Field(default=False, description="encode the very coordinate, not its H3 cell's centre")
    context: bool = Field(
        default=False,
        description="say of each place how far it is to the nearest training sample, and whether it is on land; "
        "in JSON, Arrow and Parquet",
    )


LONLAT: dict[str, Any] = {
    "type": "array",
    "prefixItems": [
        {"type": "number", "minimum": -360, "maximum": 360},
        {"type": "number", "minimum": -90, "maximum": 90},
    ],
    "items": {"type": "number"},
    "minItems": 2,
    "maxItems": 2,
    "description": "[lon, lat], degrees, WGS84",
    "examples": [[116.4, 39.9]],
}
POSITION: dict[str, Any] = {
    **LONLAT,
    "maxItems": 3,
    "description": "[lon, lat] or [lon, lat, altitude]; altitude is ignored",
}
POINT: dict[str, Any] = {
    "type": "object",
    "required": ["type", "coordinates"],
    "properties": {"type": {"const": "Point"}, "coordinates": POSITION},
}
MULTIPOINT: dict[str, Any] = {
    "type": "object",
    "required": ["type", "coordinates"],
    "properties": {
        "type": {"const": "MultiPoint"},
        "coordinates": {"type": "array", "items": POSITION, "minItems": 1},
    },
}
H3_CELL: dict[str, Any] = {
    "type": "string",
    "pattern": "^8[0-9a-fA-F]{14}$",
    "description": "an H3 cell",
    "examples": ["8a31aa42a4affff"],
}


def _feature(geometry: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type", "geometry"],
        "properties": {"type": {"const": "Feature"}, "geometry": geometry},
    }


PLACES: dict[str, Any] = {
    "description": "Places: pairs, one pair, H3 cells, or GeoJSON points",
    "anyOf": [
        {"type": "array", "items": LONLAT, "minItems": 1},
        LONLAT,
        {"type": "array", "items": H3_CELL, "minItems": 1},
        POINT,
        MULTIPOINT,
        _feature({"anyOf": [POINT, MULTIPOINT]}),
        {
            "type": "object",
            "required": ["type", "features"],
            "properties": {
                "type": {"const": "FeatureCollection"},
                "features": {"type": "array", "items": _feature(POINT), "minItems": 1},
            },
        },
    ],
}

_OPTIONS = EmbeddingOptions.model_json_schema()["properties"]
BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
EMBEDDINGS_REQUEST: dict[str, Any] = {
    "type": "object",
    "required": ["input"],
    "properties": {"input": PLACES, **_OPTIONS},
    "additionalProperties": False,
    "examples": [{"input": [[116.4, 39.9], [2.35, 48.86]]}],
}
USAGE: dict[str, Any] = {
    "type": "object",
    "properties": {"prompt_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"}},
    "description": "counts places",
}


def listed(required: list[str], properties: dict[str, Any], **beside: dict[str, Any]) -> dict[str, Any]:
    """OpenAI's envelope: `data`, a list of items with these properties, and what stands beside it."""
    items = {"type": "object", "required": required, "properties": properties}
    return {
        "type": "object",
        "required": ["object", "model", "data", *beside],
        "properties": {
            "object": {"const": "list"},
            "model": {"type": "string"},
            "data": {"type": "array", "items": items},
            **beside,
        },
    }


EMBEDDINGS_ANSWER = listed(
    ["object", "index", "embedding"],
    {
        "object": {"const": "embedding"},
        "index": {"type": "integer"},
        "embedding": {
            "anyOf": [
                {"type": "array", "items": {"type": "number"}},
                {"type": "string", "description": "base64 of little-endian float32"},
            ]
        },
        "cell": {**H3_CELL, "description": "the H3 cell whose centre was encoded; absent with exact"},
        "nearest_sample_km": {
            "anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}],
            "description": "with context: along the great circle to the nearest place that the model was trained at; "
            "null where its bundle does not say where that was",
        },
        "land": {"type": "boolean", "description": "with context; lakes are land (Natural Earth, 1:10m)"},
    },
    usage=USAGE,
)
EMBEDDINGS_ANSWER["properties"]["warnings"] = WARNINGS_SCHEMA
PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "maxItems": 20,
            "items": {
                "type": "object",
                "properties": {"pointer": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


def problems(**meaning_of: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for error statuses, as `problems(s404="no such model")`."""
    return {
        int(key.removeprefix("s")): {
            "description": meaning,
            "content": {"application/problem+json": {"schema": PROBLEM}},
        }
        for key, meaning in meaning_of.items()
    }


COMPUTED = problems(
    s400="the body does not parse",
    s401="an API key is required",
    s404="no such model",
    s406="no served media type is acceptable",
    s413="too many bytes or points",
    s415="a Content-Type that is not read",
    s422="well formed but wrong; names each item",
    s429="the queue is full",
    s503="not ready",
    s504="the deadline passed",
)
"""What may become of a request that brings a body and costs compute."""


LISTED = {
    "s401": "an API key is required",
    "s422": "names each parameter or header at fault",
    "s504": "the deadline passed while the models were reloaded",
}
"""What may become of a request that asks what there is."""


def query_parameters(options: type[BaseModel]) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": schema.get("description", "")}
        for name, schema in options.model_json_schema()["properties"].items()
    ]
