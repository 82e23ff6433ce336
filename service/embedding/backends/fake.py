"""A deterministic backend without a model: for tests of what is around a model, and for clients' own tests."""

from __future__ import annotations

import numpy as np

from service.bundle import LonLat
from service.embedding.backends.base import Rows


class FakeBackend:
    """Embeds a place as cosines of its unit vector on the sphere, so that near places have near rows."""

    provider = "fake"

    def __init__(self, embedding_dim: int) -> None:
        self.embedding_dim = embedding_dim
        self._frequencies = np.random.default_rng(0).normal(size=(3, embedding_dim))

    def embed(self, lonlat: LonLat) -> Rows:
        lon, lat = np.radians(lonlat.degrees).T
        xyz = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
        return np.cos(xyz @ self._frequencies).astype(np.float32)
