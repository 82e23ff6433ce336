"""What happens to rows after the backend: the prefix a caller asked for, and its norm."""

from __future__ import annotations

import numpy as np

from service.embedding.backends.base import Rows


def shape_rows(rows: Rows, dimensions: int, normalize: bool) -> Rows:
    """The first `dimensions` columns, scaled to unit length if `normalize`; shape (n, dimensions), contiguous."""
    prefix = np.ascontiguousarray(rows[:, :dimensions])
    if not normalize:
        return prefix
    norms = np.linalg.norm(prefix.astype(np.float64), axis=1, keepdims=True)
    return (prefix / np.where(norms == 0, 1, norms)).astype(np.float32)
