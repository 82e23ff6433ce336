"""How alike two models see the same places: linear CKA, and how far they agree on what is near.

Both are sums over the places, so that each can be computed from pieces of rows, in any order. Products are einsum's and
not BLAS's, which would take every core in each of the workers' threads, and whose last bits depend on where a row
stands, so that rows that are equal would not be equally near.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.embedding.backends.base import Rows

Matrix = NDArray[np.float64]

MIN_PLACES = 3
"""Centred, two places are one direction, in which all models agree."""


def centred(rows: Rows) -> Matrix:
    """float64 (n, dim), each column's mean taken off, on a scale at which no square over- or underflows."""
    exact = rows.astype(np.float64)
    exact -= exact.mean(axis=0)
    scale = np.abs(exact).max(initial=0.0)
    return exact / scale if scale else exact


def cross_product(x: Matrix, y: Matrix) -> Matrix:
    """xᵀy of the same rows of two models, (dim x, dim y); those of all rows are the sum of those of its pieces."""
    product: Matrix = np.einsum("ni,nj->ij", x, y)
    return product


def linear_cka(xx: Matrix, xy: Matrix, yy: Matrix) -> float | None:
    """||xᵀy||² / (||xᵀx|| ||yᵀy||) of centred rows, in Frobenius norms, from 0 to 1; None where all rows are equal.

    Kornblith et al. 2019, "Similarity of Neural Network Representations Revisited", §3: the biased estimator, which is
    the standard one; it does not change under orthogonal maps and isotropic scaling of either.
    """
    norms = float(np.linalg.norm(xx)) * float(np.linalg.norm(yy))
    return min(1.0, float(np.square(xy).sum()) / norms) if norms else None


def unit_columns(rows: Rows) -> Matrix:
    """Each row at unit length, as a column: float64 (dim, n), in which products are fastest; a row of zeros stays."""
    columns = np.ascontiguousarray(rows.T.astype(np.float64))
    lengths = np.linalg.norm(columns, axis=0)
    np.divide(columns, lengths, out=columns, where=lengths > 0)
    return columns


def neighbours(columns: Matrix, places: slice, k: int) -> NDArray[np.bool_]:
    """Which of all n places are the k nearest by cosine to each of `places`, itself excluded: a mask (places, n).

    `columns` are `unit_columns`, (dim, n), and k < n. Of places that are equally near, the first in order count.
    """
    cosines: Matrix = np.einsum("dn,dk->nk", np.ascontiguousarray(columns[:, places]), columns)
    itself = np.arange(len(cosines))
    cosines[itself, itself + places.start] = -np.inf
    least = np.partition(cosines, -k, axis=1)[:, -k, None]
    nearer, as_near = cosines > least, cosines == least
    room = k - nearer.sum(axis=1, keepdims=True)
    nearest: NDArray[np.bool_] = nearer | (as_near & (np.cumsum(as_near, axis=1) <= room))
    return nearest


def common_neighbours(
    columns: Sequence[Matrix], pairs: Sequence[tuple[int, int]], places: slice, k: int
) -> NDArray[np.int64]:
    """How many neighbours of these places the two models of each pair have in common, all places together."""
    masks = [neighbours(of_model, places, k) for of_model in columns]
    return np.array([np.count_nonzero(masks[one] & masks[other]) for one, other in pairs], np.int64)
