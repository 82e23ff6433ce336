"""Where a dataset has samples, and how far from one every place is (SatCLIP, figure 3)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree

from trainer.data.land import land
from trainer.evaluation.drawing import INHABITED, WORLD, Floats, extent, figure, grid, map_axes
from trainer.sphere import EARTH_RADIUS_KM, unit_vectors

COLUMNS = 720
MAX_DOTS = 20_000


def distribution_figure(name: str, samples: Floats, out: Path) -> Path:
    """`samples` are (n, 2) lon and lat: their places, the distance to the nearest, and its distribution over land."""
    places, shape = grid(WORLD, COLUMNS)
    distance = nearest_km(samples, places)
    on_land = land().has_data(torch.from_numpy(places)).numpy() & (places[:, 1] > INHABITED[1])
    with figure(out, 7, 6.4) as drawn:
        axes = drawn.subplot_mosaic([["map", "map"], ["dots", "share"]], height_ratios=[1.7, 1])
        top = float(np.quantile(distance[on_land], 0.99))
        image = axes["map"].imshow(
            distance.reshape(shape), extent=extent(WORLD), cmap="magma_r", vmax=top, interpolation="nearest"
        )
        map_axes(axes["map"], WORLD, f"{name}: distance to the nearest of {len(samples):,} samples")
        drawn.colorbar(image, ax=axes["map"], label="km", shrink=0.8, extend="max")
        dots = samples[:: -(-len(samples) // MAX_DOTS)]
        axes["dots"].scatter(dots[:, 0], dots[:, 1], s=max(0.3, 40 / len(dots) ** 0.5), lw=0, color="#20435c")
        map_axes(axes["dots"], WORLD, "samples")
        cumulated = _area_share(distance[on_land], places[on_land, 1])
        axes["share"].plot(*cumulated, color="#20435c", lw=1)
        axes["share"].set(xlim=(0, top), ylim=(0, 1), xlabel="km", title="share of the land (above 60° S) within")
    return out


def nearest_km(samples: Floats, places: Floats) -> Floats:
    """Great-circle distance of each place (m, 2) from the nearest sample (n, 2) → (m,), exact: the nearest on the
    sphere is the nearest through it."""
    tree = KDTree(_vectors(samples))
    chord, _ = tree.query(_vectors(places))
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.clip(chord / 2, 0, 1)))


def _vectors(lonlat: Floats) -> NDArray[np.float64]:
    vectors: NDArray[np.float64] = unit_vectors(torch.from_numpy(np.ascontiguousarray(lonlat))).numpy()
    return vectors


def _area_share(distance: Floats, lat: Floats) -> tuple[Floats, Floats]:
    order = np.argsort(distance)
    weight = np.cos(np.radians(lat))[order]
    return distance[order], np.cumsum(weight) / weight.sum()
