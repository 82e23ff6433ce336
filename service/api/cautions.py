"""What is sound and still looks wrong: said beside the answer, and never instead of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import orjson
from starlette.requests import Request

from service.bundle import LonLat
from service.geography.swapped import look_swapped

HEADER = "X-Warning"
"""Of any answer that comes with warnings, whatever its media type."""


@dataclass(frozen=True)
class Caution:
    """`code` is for programs, `message` for people."""

    code: str
    message: str


SWAPPED = Caution(
    "swapped_coordinates",
    "most of these places are at sea, and nearly all would be on land with lon and lat swapped; "
    "the order is [lon, lat]",
)
Warnings = tuple[Caution, ...]
WARNINGS_SCHEMA: dict[str, Any] = {
    "type": "array",
    "description": "absent where there is nothing to say; the header X-Warning says the same",
    "items": {
        "type": "object",
        "required": ["code", "message"],
        "properties": {"code": {"enum": [SWAPPED.code]}, "message": {"type": "string"}},
    },
}


def note_places(request: Request, lonlat: LonLat) -> Warnings:
    """What is to be said of the places of a request; its header and its line in the log say so too."""
    warnings = (SWAPPED,) if look_swapped(request.app.state.land, lonlat) else ()
    request.state.places, request.state.warnings = lonlat, warnings
    return warnings


def header_of(warnings: Warnings) -> str:
    return "; ".join(f"{warning.code}: {warning.message}" for warning in warnings)


def json_tail(warnings: Warnings) -> bytes:
    """`,"warnings":[…]`, to go before the brace that ends a JSON object; nothing where there are none."""
    return b',"warnings":' + orjson.dumps([asdict(warning) for warning in warnings]) if warnings else b""
