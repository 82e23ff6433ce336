"""A deterministic backend without a model: for tests of what is around a model, and for clients' own tests."""

from __future__ import annotations

import numpy as np

from service.bundle import LonLat
from service.embedding.backends.base import Rows


class FakeBackend:
    """Embeds a place as shifted cosines of its unit vector: near places have near rows, antipodes do not."""

    provider = "fake"

    def __init__(self, embedding_dim: int) -> None:
        self.embedding_dim = embedding_dim
        rng = np.random.default_rng(0)
        self._frequencies = rng.normal(size=(3, embedding_dim))
        self._phases = rng.uniform(0, np.pi, size=embedding_dim)

    def embed(self, lonlat: LonLat) -> Rows:
        lon, lat = np.radians(lonlat.degrees).T
        xyz = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
        angles = xyz @ self._frequencies
        angles += self._phases
        return np.cos(angles, out=angles).astype(np.float32)
