"""The contract between the service and whatever computes embeddings."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.bundle import LonLat
from service.errors import BackendFailed

Rows = NDArray[np.float32]
"""Embeddings, shape (n, embedding_dim), C-contiguous float32."""


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


def embed_checked(backend: Backend, lonlat: LonLat) -> Rows:
    """The backend's rows, or BackendFailed: a wrong shape or a value that is not finite never leaves here."""
    try:
        rows = np.asarray(backend.embed(lonlat))
    except BackendFailed:
        raise
    except Exception as error:  # whatever a backend is made of, its callers know one error
        raise BackendFailed(f"the model failed on a batch of {len(lonlat)} places: {error}") from error
    expected = (len(lonlat), backend.embedding_dim)
    if rows.shape != expected or rows.dtype != np.float32:
        raise BackendFailed(f"the model returned {rows.dtype} {rows.shape}, not float32 {expected}")
    if not np.isfinite(rows).all():
        raise BackendFailed("the model returned values that are not finite")
    return rows
