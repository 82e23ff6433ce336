"""The contract between the service and whatever computes embeddings."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.bundle import LonLat
from service.errors import BackendFailed

Rows = NDArray[np.float32]
"""Embeddings, shape (n, embedding_dim), C-contiguous float32."""

BATCH_POINTS = {"cpu": 512, "cuda": 32_768}
"""Places in one batch at which a provider embeds about as many a second as it can."""


def batch_points_of(backend: Backend) -> int:
    """Places in one batch, unless something else is asked for."""
    return BATCH_POINTS.get(backend.provider, BATCH_POINTS["cpu"])


class Backend(Protocol):
    """Computes embeddings. `embed` blocks, and many threads call it at once."""

    @property
    def embedding_dim(self) -> int: ...

    @property
    def provider(self) -> str:
        """The execution provider that really runs, as `cpu` or `cuda`."""
        ...

    def embed(self, lonlat: LonLat) -> Rows:
        """Row i is the embedding of place i; raises BackendFailed."""
        ...


class GridBackend(Protocol):
    """Computes the embeddings of grids for less than one by one; as a Backend, it blocks and many threads call it."""

    def embed_grid(self, lons: NDArray[np.float64], lats: NDArray[np.float64]) -> Rows:
        """Row i·W + j is the embedding of (lons[j], lats[i]), for W longitudes; raises BackendFailed."""
        ...


def embed_checked(backend: Backend, lonlat: LonLat) -> Rows:
    """The backend's rows, or BackendFailed: a wrong shape or a value that is not finite never leaves here."""
    try:
        rows = np.asarray(backend.embed(lonlat))
    except BackendFailed:
        raise
    except Exception as error:  # whatever a backend is made of, its callers know one error
        raise BackendFailed(f"the model failed on a batch of {len(lonlat)} places: {error}") from error
    return checked(rows, (len(lonlat), backend.embedding_dim), "the model")


def checked(values: NDArray[Any], shape: tuple[int, int], source: str) -> NDArray[np.float32]:
    """`values`, where they are finite float32 of that shape; else BackendFailed, which names their source."""
    if values.shape != shape or values.dtype != np.float32:
        raise BackendFailed(f"{source} returned {values.dtype} {values.shape}, not float32 {shape}")
    if not np.isfinite(values).all():
        raise BackendFailed(f"{source} returned values that are not finite")
    return values
