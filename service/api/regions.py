"""Which places a map is of, as a request says it: a box or an area, in pixels or in H3 cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from service.errors import InvalidRequest, ItemError, TooLarge
from service.maps.geometry import Geometry
from service.maps.grid import MAX_SIDE, BBox, Grid

REGION_FIELDS = ("bbox", "geometry")


class MapOptions(BaseModel):
    """How fine a map is, and how it looks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(default=None, description="a name of /v1/models; the default model if absent")
    width: int | None = Field(default=None, ge=1, le=MAX_SIDE, description="pixels; with height")
    height: int | None = Field(default=None, ge=1, le=MAX_SIDE, description="pixels; with width")
    h3_resolution: int | None = Field(default=None, ge=0, le=15, description="of cells, instead of width and height")
    colormap_name: str | None = Field(default=None, description="of PNG: one of rio-tiler's colour maps")
    rescale: str | None = Field(default=None, description="of PNG: the values at the two ends of the colours, low,high")


@dataclass(frozen=True)
class Region:
    """A box, and the area in it that alone counts, where one was given."""

    bbox: BBox
    inside: Geometry | None = None


def region_from_json(fields: dict[str, Any]) -> Region:
    """Takes `bbox` or `geometry` out of the fields of a body. Raises InvalidRequest."""
    given = {name: fields.pop(name) for name in REGION_FIELDS if name in fields}
    if len(given) != 1:
        which = "not both" if given else "one of the two is missing"
        raise InvalidRequest([ItemError("/bbox", f"send bbox or geometry, {which}")])
    if "geometry" in given:
        geometry = Geometry.of(given["geometry"])
        return Region(geometry.bbox, geometry)
    bbox = given["bbox"]
    if not (isinstance(bbox, list) and len(bbox) == 4 and all(type(edge) in (int, float) for edge in bbox)):
        raise InvalidRequest([ItemError("/bbox", "must be [west, south, east, north], four numbers in degrees")])
    try:
        return Region(BBox.of([float(edge) for edge in bbox]))
    except OverflowError:
        raise InvalidRequest([ItemError("/bbox", "holds an integer too large to be in degrees")]) from None


def grid_of(region: Region, options: MapOptions, max_points: int) -> Grid | None:
    """The pixels of the map; None where it is of cells. Raises InvalidRequest or TooLarge."""
    pixels = (options.width, options.height)
    if options.h3_resolution is not None:
        if pixels != (None, None):
            raise InvalidRequest([ItemError("/h3_resolution", "send width and height, or h3_resolution, not both")])
        return None
    if options.width is None or options.height is None:
        missing = "width" if options.width is None else "height"
        message = f"{missing} is missing: send width and height for pixels, or h3_resolution for cells"
        raise InvalidRequest([ItemError(f"/{missing}", message)])
    if options.width * options.height > max_points:
        raise TooLarge(
            f"{options.width} by {options.height} pixels are more than the {max_points} points of "
            "SATCLE_MAX_MAP_POINTS: ask for a coarser map, or for it in parts"
        )
    return Grid.of_bbox(region.bbox, options.width, options.height)
