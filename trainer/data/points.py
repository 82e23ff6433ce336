"""Where tiles are cut: places drawn uniformly by area, and their split."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from trainer.config import Points
from trainer.errors import ImageryError
from trainer.seeding import generator

DRAWS = 1 << 16
MAX_EMPTY_DRAWS = 64


def uniform_places(n: int, min_lat: float, max_lat: float, rng: torch.Generator) -> Tensor:
    """n places uniform by area between two latitudes → (n, 2) float64: sin(lat) is uniform (Archimedes)."""
    drawn = torch.rand(n, 2, dtype=torch.float64, generator=rng)
    lon = drawn[:, 0] * 360 - 180
    low, high = (math.sin(math.radians(lat)) for lat in (min_lat, max_lat))
    lat = torch.rad2deg(torch.asin(low + drawn[:, 1] * (high - low)))
    return torch.stack((lon, lat), dim=1)


def draw_places(points: Points, on_land: Callable[[Tensor], Tensor], seed: int, purpose: str = "places") -> Tensor:
    """The centres that `points` asks for → (count, 2) float64; `on_land` maps places (n, 2) to (n,) bool.

    The same seed gives the same places, and a larger count only adds to them; those of another `purpose` are other
    places. Raises ImageryError where the land source has next to no data between the latitudes.
    """
    kept: list[Tensor] = []
    found = empty = 0
    rng = generator(seed, purpose)
    while found < points.count:
        drawn = uniform_places(DRAWS, points.min_lat, points.max_lat, rng)
        kept.append(drawn[on_land(drawn)])
        found += len(kept[-1])
        empty = 0 if len(kept[-1]) else empty + 1
        if empty == MAX_EMPTY_DRAWS:
            raise ImageryError(
                f"{points.land or 'the raster'} has no data between latitudes {points.min_lat} and {points.max_lat}"
            )
    return torch.cat(kept)[: points.count]


def split(count: int, validation_share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Row numbers for training and for validation, disjoint, covering 0 … count - 1; at least one of each."""
    order = torch.randperm(count, generator=generator(seed, "split"))
    held_out = min(max(round(count * validation_share), 1), count - 1)
    return order[held_out:].sort().values, order[:held_out].sort().values
