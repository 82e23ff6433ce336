"""What an embedding of a place may be worth: how far it is from where the model was trained, and whether it is land."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from service.bundle import Bundle, LonLat, read_training_places
from service.embedding.batcher import Batcher
from service.embedding.units import in_order
from service.geography.land import Land, read_land
from service.geography.nearest import NearestPlaces

NEAREST, LAND = "nearest_sample_km", "land"
AT_ONCE = 4096
"""Places whose context is known in about ten milliseconds, as long as a batch takes."""
METRES = 3
"""Decimals of a kilometre: training places are within two metres."""


@dataclass(frozen=True)
class Context:
    """Of n places as they were given, each (n,). `nearest_sample_km` is None where the bundle has none."""

    nearest_sample_km: NDArray[np.float32] | None
    land: NDArray[np.bool_]

    def __getitem__(self, rows: slice) -> Context:
        nearest = None if self.nearest_sample_km is None else self.nearest_sample_km[rows]
        return Context(nearest, self.land[rows])

    def columns(self) -> dict[str, pa.Array]:
        """As Arrow has them: the distances are null where they are not known."""
        nearest = pa.nulls(len(self.land), pa.float32())
        if self.nearest_sample_km is not None:
            nearest = pa.array(self.nearest_sample_km)
        return {NEAREST: nearest, LAND: pa.array(self.land)}


CONTEXT_FIELDS = (pa.field(NEAREST, pa.float32()), pa.field(LAND, pa.bool_()))


def context_at(land: Land, training_places: NearestPlaces | None, lonlat: LonLat) -> Context:
    """About 2 µs a place, most of it without the interpreter."""
    nearest = None if training_places is None else training_places.kilometres(lonlat).round(METRES)
    return Context(nearest, land.holds(lonlat.degrees))


def context_reader(bundle: Bundle) -> Callable[[LonLat], Context]:
    """`context_at`, with what it needs for a bundle, which many threads may call. Raises BundleError."""
    return partial(context_at, read_land(), nearest_of(bundle))


def nearest_of(bundle: Bundle) -> NearestPlaces | None:
    """By which the training places are found, if the bundle has them. Raises BundleError."""
    places = read_training_places(bundle)
    return NearestPlaces(places) if places else None


async def context_of(
    batcher: Batcher, land: Land, training_places: NearestPlaces | None, lonlat: LonLat, deadline: float
) -> Context:
    """`context_at` in worker threads, piece by piece, as `predict` predicts: the caller had the places admitted.

    Raises DeadlineExceeded, NotReady or BackendFailed.
    """
    if len(lonlat) <= AT_ONCE:
        return await asyncio.to_thread(context_at, land, training_places, lonlat)
    points = batcher.limits.batch_points
    parts = (lonlat[start : start + AT_ONCE] for start in range(0, len(lonlat), AT_ONCE))
    calls = ((points, partial(context_at, land, training_places, part)) for part in parts)
    return _joined([part async for part in in_order(batcher, calls, deadline, admitted=True)])


def _joined(parts: Sequence[Context]) -> Context:
    nearest = [part.nearest_sample_km for part in parts if part.nearest_sample_km is not None]
    return Context(np.concatenate(nearest) if nearest else None, np.concatenate([part.land for part in parts]))
