"""Places that are the H3 cells of a region. No process ever lists them all: a part is those of one coarser cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from service.bulk.parts import Part
from service.bulk.places import BBOX, GEOMETRY, Places, with_geometry
from service.bulk.regions import Region
from service.bulk.sink import CELL
from service.bundle import LonLat
from service.embedding.cells import Cells, cell_strings, centres_of
from service.errors import InvalidRequest, ItemError
from service.maps.cells import FINEST, candidates, expected_cells, reachable

DEPTHS = (5, 6, 7)
"""How many resolutions coarser a part's cell is: 16,807, 117,649 or 823,543 cells a part."""
MANY_PARTS = 4096
"""Where there are more, they become larger."""
MAX_PARTS = 100_000
"""Of the largest: 80 TB of 256 dimensions."""


@dataclass(frozen=True)
class CellInput:
    """Every cell of `resolution` whose centre is in the region, once."""

    region: Region
    resolution: int

    has_cells = True

    @classmethod
    def of(cls, region: Region, resolution: int) -> CellInput:
        """Raises InvalidRequest."""
        if not 0 <= resolution <= FINEST:
            message = f"{resolution} is no resolution of H3; they go from 0 to {FINEST}"
            raise InvalidRequest([ItemError("h3_resolution", message)])
        if (cells := expected_cells(region.area, resolution)) > MAX_PARTS * 7 ** DEPTHS[-1]:
            message = f"{region.name} has some {cells:.0e} cells of resolution {resolution}: choose a coarser one"
            raise InvalidRequest([ItemError("h3_resolution", message)])
        return cls(region, resolution)

    @property
    def names(self) -> list[str]:
        return [CELL, GEOMETRY, BBOX]

    @property
    def repeating(self) -> list[str]:
        return []

    @property
    def part_resolution(self) -> int:
        cells = expected_cells(self.region.area, self.resolution)
        depth = next((depth for depth in DEPTHS if cells <= MANY_PARTS * 7**depth), DEPTHS[-1])
        return max(0, self.resolution - depth)

    @property
    def description(self) -> dict[str, Any]:
        return {
            "h3_resolution": self.resolution,
            "region": self.region.name,
            "region_digest": self.region.digest,
            "part_resolution": self.part_resolution,
        }

    def parts(self) -> list[Part]:
        """Raises InvalidRequest where there is no cell at all."""
        cells = reachable(self.region.area, self.part_resolution)
        parts = [
            Part(f"{name}.parquet", (cell,)) for cell, name in zip(cells.tolist(), cell_strings(cells), strict=True)
        ]
        if not parts:
            raise self.nowhere()
        return parts

    def nowhere(self) -> InvalidRequest:
        message = f"no cell of resolution {self.resolution} has its centre in {self.region.name}: choose a finer one"
        return InvalidRequest([ItemError("h3_resolution", message)])

    def places(self, part: Part) -> Places:
        (coarser,) = part.key
        found: list[tuple[Cells, LonLat]] = []
        for cells in candidates(self.region.area, self.resolution, within=coarser):
            centres = centres_of(cells)
            inside = np.flatnonzero(self.region.area.contains(centres))
            if len(inside):
                found.append((cells[inside], centres[inside]))
        if not found:
            return Places(pa.table({}), LonLat(np.empty((0, 2))))
        cells = np.concatenate([cells for cells, _ in found])
        lonlat = LonLat.concatenate([centres for _, centres in found])
        schema = pa.schema([pa.field(CELL, pa.uint64(), nullable=False)])
        return Places(with_geometry(pa.table([pa.array(cells)], schema=schema), lonlat), lonlat)
