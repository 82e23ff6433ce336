"""The first three principal components of an encoder's embeddings, on one colour scale for the whole globe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.snap import uniform_on_sphere

Floats = NDArray[np.float64]
Embed = Callable[[Floats], Floats]

COMPONENTS = 3
PLACES = 20_000
QUANTILES = (0.01, 0.99)


@dataclass(frozen=True, eq=False)
class Components:
    """`affine` (embedding_dim + 1, 3): (embedding, 1) @ affine is 0 to 1 between QUANTILES of PLACES.

    `explained` is each component's share of the variance.
    """

    affine: Floats
    explained: tuple[float, float, float]

    def of(self, embeddings: Floats) -> Floats:
        """(n, embedding_dim) to (n, 3), cut to 0..1."""
        scaled: Floats = (embeddings @ self.affine[:-1] + self.affine[-1]).clip(0, 1)
        return scaled


def principal_components(embed: Embed) -> Components:
    """`embed` maps (n, 2) lon and lat in degrees to (n, embedding_dim).

    Components and scale come from places uniform by area, so that the poles weigh what they measure. A component
    along which nothing varies, or that there is no dimension for, is 0.
    """
    sample = embed(uniform_on_sphere(PLACES, seed=0))
    mean = sample.mean(axis=0)
    missing = max(0, COMPONENTS - len(mean))
    _, singular, axes = np.linalg.svd(sample - mean, full_matrices=False)
    singular, axes = np.pad(singular, (0, missing)), np.pad(axes, ((0, missing), (0, 0)))
    axes = axes[:COMPONENTS] * np.where(axes[:COMPONENTS].sum(axis=1) < 0, -1, 1)[:, None]  # let a sign be stable
    low, high = np.quantile((sample - mean) @ axes.T, QUANTILES, axis=0)
    scale = np.divide(1, high - low, out=np.zeros(COMPONENTS), where=high > low)
    matrix = axes.T * scale
    variance = np.square(singular)
    share = variance[:COMPONENTS] / max(variance.sum(), np.finfo(np.float64).tiny)
    first, second, third = map(float, share)
    return Components(np.vstack([matrix, -mean @ matrix - low * scale]), (first, second, third))
