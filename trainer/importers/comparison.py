"""What the published code's rounded constants do to embeddings, by latitude."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.errors import WeightsError
from trainer.export import embed_exactly
from trainer.importers import Choices, read_location_encoder
from trainer.models.encodings.spherical_harmonics import SphericalHarmonics
from trainer.models.location_tower import LocationTower

EDGES = (0, 15, 30, 45, 60, 70, 80, 90)
"""Degrees of latitude, of either sign; the last band ends at the poles."""

PLACES = 1000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Band:
    """Cosine distances between exact and printed embeddings of places with |lat| from `low` to `high` degrees.

    `feature_max` is the largest difference between the harmonics themselves.
    """

    low: int
    high: int
    cosine_median: float
    cosine_max: float
    feature_max: float


def compare_variants(path: Path, choices: Choices | None = None) -> list[Band]:
    """Exact against printed harmonics, with the weights in `path`; PLACES in each band, uniform by area.

    Raises WeightsError where its encoding is not the published code's analytic harmonics.
    """
    choices = choices or Choices()
    exact, printed = (_harmonics_tower(path, replace(choices, variant=variant)) for variant in ("exact", "printed"))
    return [_band(exact, printed, low, high) for low, high in pairwise(EDGES)]


def _harmonics_tower(path: Path, choices: Choices) -> LocationTower:
    tower = read_location_encoder(path, choices).tower
    if tower is None or not isinstance(tower.encoding, SphericalHarmonics):
        raise WeightsError(f"{path} has no spherical harmonics, so that there is nothing to compare")
    return tower


def _band(exact: LocationTower, printed: LocationTower, low: int, high: int) -> Band:
    lonlat = _places(low, high)
    with torch.inference_mode():
        features = [tower.encoding(torch.from_numpy(lonlat)) for tower in (exact, printed)]
    u, v = (_normalized(embed_exactly(tower, lonlat)) for tower in (exact, printed))
    cosine = 0.5 * np.square(u - v).sum(axis=1)
    return Band(
        low,
        high,
        cosine_median=float(np.median(cosine)),
        cosine_max=float(cosine.max()),
        feature_max=float((features[0] - features[1]).abs().max()),
    )


def _places(low: int, high: int) -> Floats:
    """PLACES of both hemispheres; the last band holds the poles themselves."""
    unit = np.random.default_rng(low).random((PLACES, 3))
    bottom, top = np.sin(np.radians([low, high]))
    lat = np.degrees(np.arcsin(bottom + (top - bottom) * unit[:, 1])) * np.where(unit[:, 2] < 0.5, -1, 1)
    lonlat = np.stack([360 * unit[:, 0] - 180, lat], axis=1)
    if high == EDGES[-1]:
        lonlat[:2] = [[0, -90], [0, 90]]
    return lonlat


def _normalized(embeddings: Floats) -> Floats:
    unit: Floats = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return unit
