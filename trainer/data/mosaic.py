"""Tiles cut from world rasters, on a plane that touches the sphere at the tile's centre."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from trainer.sphere import KM_PER_DEGREE, move

MIN_VALID_WEIGHT = 0.5
"""What has less than this share of its weight on valid pixels, a sample or a pixel of an overview, has no data."""
COARSEST = 16
"""Rows and columns that the coarsest overview has at least."""


class Raster:
    """A plate carrée raster in memory.

    It is held with a margin of one pixel, which repeats the neighbours of the edge: those across the antimeridian and
    over the poles where the raster is the whole globe, else the edge itself. Sampling then knows no edges.
    """

    def __init__(self, values: Tensor, bounds: tuple[float, float, float, float]) -> None:
        """`values` (rows, columns, bands) float32, row 0 north, NaN where no data; bounds W, S, E, N in degrees."""
        self.bounds = bounds
        self.rows, self.columns, self.bands = values.shape
        self._padded = _with_margin(values, bounds)

    @property
    def values(self) -> Tensor:
        """(rows, columns, bands)."""
        return self._padded[1:-1, 1:-1]

    def at(self, pixel_deg: float) -> Raster:
        """This raster for samples that are `pixel_deg` of arc apart: its coarsest overview with pixels no higher than
        that, so that what lies between the samples counts too."""
        height = (self.bounds[3] - self.bounds[1]) / self.rows
        if 2 * height > pixel_deg or min(self.rows, self.columns) < 2 * COARSEST:
            return self
        return self.halved.at(pixel_deg)

    @cached_property
    def halved(self) -> Raster:
        """Half the rows and columns, each pixel the mean of those that it covers and that have data."""
        values = self.values.permute(2, 0, 1)
        has_data = ~values.isnan()
        size = (self.rows // 2, self.columns // 2)
        weight = functional.adaptive_avg_pool2d(has_data.float(), size)
        mean = functional.adaptive_avg_pool2d(values.nan_to_num(0.0), size) / weight
        sparse = weight < MIN_VALID_WEIGHT
        return Raster(mean.masked_fill(sparse, torch.nan).permute(1, 2, 0), self.bounds)

    def sample(self, lonlat: Tensor) -> Tensor:
        """Bilinear values at places (n, 2) → (n, bands) float32; NaN where there is no data.

        Pixels without data are left out and the rest of the weight is shared among the others, unless they are less
        than half of it. Beyond its bounds the raster has no data.
        """
        row, column = self._position(lonlat)
        row0, column0 = row.floor(), column.floor()
        corners = self._corners(row0.long(), column0.long())
        weights = _bilinear((row - row0).float(), (column - column0).float())
        sampled = sum((w * c for w, c in zip(weights, corners, strict=True)), start=torch.zeros(()))
        incomplete = sampled.isnan().any(dim=1).nonzero().squeeze(1)
        sampled[incomplete] = _shared([c[incomplete] for c in corners], [w[incomplete] for w in weights])
        sampled[~self._covers(lonlat)] = torch.nan
        return sampled

    def pixels(self, lonlat: Tensor) -> Tensor:
        """The pixel that holds each place (n, 2) → (n, bands) float32; NaN where there is no data."""
        row, column = self._position(lonlat)
        pixels = self._corners(row.round().long(), column.round().long())[0]
        pixels[~self._covers(lonlat)] = torch.nan
        return pixels

    def has_data(self, lonlat: Tensor) -> Tensor:
        """Whether the pixel that holds each place (n, 2) is valid in every band → (n,) bool."""
        return ~self.pixels(lonlat).isnan().any(dim=1)

    def _position(self, lonlat: Tensor) -> tuple[Tensor, Tensor]:
        """Fractional row and column, the centres of the first pixels at 0."""
        west, south, east, north = self.bounds
        row = (north - lonlat[:, 1]) * (self.rows / (north - south)) - 0.5
        column = _eastward(lonlat, west) * (self.columns / (east - west)) - 0.5
        return row.clamp(-0.5, self.rows - 0.5), column.clamp(-0.5, self.columns - 0.5)

    def _corners(self, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The pixel and those to its east, south and south-east, each (n, bands)."""
        pixels, width = self._padded.view(-1, self.bands), self.columns + 2
        first = (row + 1) * width + column + 1
        last = len(pixels) - 1  # a centre on the margin's own edge has weight 0 on what lies beyond it
        east, south, both = first + 1, first + width, first + width + 1
        a, b, c, d = (pixels.index_select(0, flat.clamp(max=last)) for flat in (first, east, south, both))
        return a, b, c, d

    def _covers(self, lonlat: Tensor) -> Tensor:
        west, south, east, north = self.bounds
        return (lonlat[:, 1] >= south) & (lonlat[:, 1] <= north) & (_eastward(lonlat, west) <= east - west)


def _eastward(lonlat: Tensor, west: float) -> Tensor:
    """Degrees east of `west`, 0 to 360."""
    return torch.remainder(lonlat[:, 0] - west, 360)


def _with_margin(values: Tensor, bounds: tuple[float, float, float, float]) -> Tensor:
    west, south, east, north = bounds
    rows, columns, bands = values.shape
    wraps = abs(east - west - 360) < 1e-6
    padded = torch.empty(rows + 2, columns + 2, bands)
    inner = padded[:, 1:-1]
    inner[1:-1] = values
    over_pole = columns // 2 if wraps else 0
    inner[0] = values[0].roll(over_pole if north >= 90 else 0, dims=0)
    inner[-1] = values[-1].roll(over_pole if south <= -90 else 0, dims=0)
    padded[:, 0] = inner[:, -1 if wraps else 0]
    padded[:, -1] = inner[:, 0 if wraps else -1]
    return padded


def _bilinear(down: Tensor, right: Tensor) -> list[Tensor]:
    """Weights (n, 1) of a pixel and of those to its east, south and south-east."""
    weights = ((1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right)
    return [weight[:, None] for weight in weights]


def _shared(corners: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """The weighted mean of the corners that have data, NaN where those weigh too little."""
    valid = torch.stack([torch.where(c.isnan(), 0.0, w) for c, w in zip(corners, weights, strict=True)])
    weight = valid.sum(dim=0)
    mean = (valid * torch.stack(list(corners)).nan_to_num(0.0)).sum(dim=0) / weight
    return torch.where(weight < MIN_VALID_WEIGHT, torch.nan, mean)


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Rasters of any resolution, stacked: the bands of a tile are theirs, in order, once for each footprint."""

    rasters: Sequence[Raster]
    size: int
    footprints_km: Sequence[float]

    def tiles(self, lonlat: Tensor) -> Tensor:
        """Tiles centred at places (n, 2) → (n, bands, size, size) float32, row 0 north, NaN where no data."""
        return torch.cat([self._tiles(lonlat, footprint) for footprint in self.footprints_km], dim=1)

    def _tiles(self, lonlat: Tensor, footprint_km: float) -> Tensor:
        pixel = footprint_km / self.size / KM_PER_DEGREE
        places = move(lonlat[:, None], self._offsets(pixel)).reshape(-1, 2)
        sampled = torch.cat([raster.at(pixel).sample(places) for raster in self.rasters], dim=1)
        return sampled.view(len(lonlat), self.size, self.size, -1).permute(0, 3, 1, 2).contiguous()

    def _offsets(self, pixel: float) -> Tensor:
        """East and north of every pixel centre from the tile's, row by row → (size², 2), in degrees as `pixel` is."""
        along = (torch.arange(self.size, dtype=torch.float64) - (self.size - 1) / 2) * pixel
        north, east = torch.meshgrid(-along, along, indexing="ij")
        return torch.stack((east, north), dim=-1).reshape(-1, 2)
