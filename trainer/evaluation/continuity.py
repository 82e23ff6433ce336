"""Continuity, measured: how much an embedding changes over a step along random great circles.

A step starts at a place and goes along the great circle in a direction drawn uniformly: from places uniform on the
sphere, these are the steps of random great circles. Starts may also be where an encoder was trained, and between those
places, at the points that are further from every sample than all points around them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import SphericalVoronoi
from torch import Tensor

from trainer.config import points_between
from trainer.data.land import land
from trainer.data.points import draw_places, uniform_places
from trainer.errors import EvaluationError
from trainer.evaluation.encoders import Encoder, embeddings_of
from trainer.seeding import generator
from trainer.sphere import KM_PER_DEGREE, from_vectors, move, unit_vectors

STEPS_KM = (0.1, 1.0, 10.0, 100.0)
ANYWHERE, ON_LAND, AT_SAMPLES, BETWEEN = "anywhere", "on land", "at samples", "between samples"
SPREAD_PLACES = 4096
MIN_SAMPLES = 10
MIN_APART = 1e-9
"""Samples nearer to each other than this, on the unit sphere (6 mm), are one."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Change:
    """What each step of `step_km` from `starts` changed, (n,) each.

    `cosine` is 1 - cos of the angle between the embeddings. `distance` is the Euclidean distance in units of the root
    mean square distance of the embeddings of two random places on land: 1 is as different as any two.
    """

    encoder: str
    starts: str
    step_km: float
    cosine: Floats
    distance: Floats


def starting_places(count: int, seed: int, samples: Floats | None = None) -> dict[str, Floats]:
    """By name, (count, 2) degrees each; `samples` (n, 2) are where an encoder was trained. Raises EvaluationError."""
    anywhere = uniform_places(count, -90, 90, generator(seed, "continuity anywhere"))
    starts = {ANYWHERE: anywhere.numpy(), ON_LAND: _land_places(count, seed)}
    if samples is not None:
        starts[AT_SAMPLES] = _drawn(samples, count, seed)
        starts[BETWEEN] = _drawn(between(samples), count, seed)
    return starts


def between(samples: Floats) -> Floats:
    """The places on land that are locally furthest from every sample: the vertices of the samples' Voronoi cells.

    (n, 2) → (m, 2) degrees. Raises EvaluationError for fewer than MIN_SAMPLES places.
    """
    vectors = np.unique(unit_vectors(torch.from_numpy(np.asarray(samples, np.float64))).numpy().round(9), axis=0)
    if len(vectors) < MIN_SAMPLES:
        raise EvaluationError(f"{len(vectors)} places are too few to be between; {MIN_SAMPLES} are needed")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vertices = from_vectors(torch.from_numpy(SphericalVoronoi(vectors, threshold=MIN_APART).vertices))
    on_land = vertices[land().has_data(vertices)].numpy()
    return on_land if len(on_land) else vertices.numpy()


def measure_changes(
    encoder: Encoder, starts: Mapping[str, Floats], steps_km: Sequence[float], seed: int
) -> list[Change]:
    """For each kind of starts and each step. The directions are the seed's, the same for every encoder and step.

    Raises EvaluationError, or what the encoder raises.
    """
    unit = spread(encoder, seed)
    changes = []
    for name, places in starts.items():
        rng = generator(seed, f"continuity {name}")
        angle = 2 * torch.pi * torch.rand(len(places), dtype=torch.float64, generator=rng)
        before = embeddings_of(encoder, places).astype(np.float64)
        for step_km in steps_km:
            after = embeddings_of(encoder, _moved(places, angle, step_km)).astype(np.float64)
            away = np.linalg.norm(after - before, axis=1) / unit
            changes.append(Change(encoder.name, name, step_km, _cosine_distance(before, after), away))
    return changes


def spread(encoder: Encoder, seed: int) -> float:
    """The root mean square distance of the embeddings of two random places on land. Raises EvaluationError for 0."""
    embeddings = embeddings_of(encoder, _land_places(SPREAD_PLACES, seed)).astype(np.float64)
    mean_square = 2 * embeddings.var(axis=0).sum()  # E‖a - b‖² of independent a and b
    if not mean_square > 0:
        raise EvaluationError(f"{encoder.name} gives all places one embedding; nothing changes anywhere")
    return float(np.sqrt(mean_square))


def _moved(places: Floats, angle: Tensor, step_km: float) -> Floats:
    along = torch.stack((angle.cos(), angle.sin()), dim=-1) * (step_km / KM_PER_DEGREE)
    moved: Floats = move(torch.from_numpy(places), along).numpy()
    return moved


def _cosine_distance(a: Floats, b: Floats) -> Floats:
    """½‖u - v‖² of unit vectors: no cancellation for near ones."""
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    distance: Floats = 0.5 * np.square(u - v).sum(axis=1)
    return distance


def _land_places(count: int, seed: int) -> Floats:
    """Uniform by area, above 60° S, as training places are."""
    places: Floats = draw_places(points_between(count, -60.0, 90.0), land().has_data, seed, "continuity land").numpy()
    return places


def _drawn(places: Floats, count: int, seed: int) -> Floats:
    order = torch.randperm(len(places), generator=generator(seed, "continuity starts"))
    drawn: Floats = places[order[:count].numpy()]
    return drawn
