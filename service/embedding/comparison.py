"""Models compared by their embeddings of the same places, in units that take their turn in the bulk lane."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from service.embedding.agreement import (
    Matrix,
    centred,
    common_neighbours,
    cross_product,
    linear_cka,
    unit_columns,
)
from service.embedding.backends.base import Rows
from service.embedding.batcher import Batcher
from service.embedding.units import in_order

Pair = tuple[int, int]
UNIT_PRODUCTS = 2**24
"""Multiplications of one unit, which take about as long as a batch does: some milliseconds."""


@dataclass(frozen=True)
class Agreement:
    """How alike two models are, by their indices; `cka` is None where one of them embeds all places alike."""

    models: Pair
    cka: float | None
    neighbours: float
    """The mean share of a place's k nearest that the two have in common."""


async def compare(batcher: Batcher, rows: Sequence[Rows], k: int, deadline: float) -> list[Agreement]:
    """Each two of the models, whose embeddings of the same n places are (n, dim) each; k < n.

    Raises what `Batcher.run` raises.
    """
    pairs = list(combinations(range(len(rows)), 2))
    if not pairs:
        return []
    ckas = await _ckas(batcher, rows, pairs, deadline)
    shares = await _shares(batcher, rows, pairs, k, deadline)
    return [Agreement(pair, cka, share) for pair, cka, share in zip(pairs, ckas, shares, strict=True)]


async def _ckas(batcher: Batcher, rows: Sequence[Rows], pairs: Sequence[Pair], deadline: float) -> list[float | None]:
    every = await asyncio.to_thread(lambda: [centred(of_model) for of_model in rows])
    dims = [of_model.shape[1] for of_model in rows]
    products = {(one, other): np.zeros((dims[one], dims[other])) for one, other in [*_selves(rows), *pairs]}
    calls = (
        (piece.stop - piece.start, partial(_product, every, pair, piece))
        for pair, product in products.items()
        for piece in _pieces(len(rows[0]), product.size)
    )
    async for pair, product in in_order(batcher, calls, deadline):
        products[pair] += product
    return [linear_cka(products[one, one], products[one, other], products[other, other]) for one, other in pairs]


async def _shares(
    batcher: Batcher, rows: Sequence[Rows], pairs: Sequence[Pair], k: int, deadline: float
) -> list[float]:
    places = len(rows[0])
    columns = await asyncio.to_thread(lambda: [unit_columns(of_model) for of_model in rows])
    calls = (
        (piece.stop - piece.start, partial(common_neighbours, columns, pairs, piece, k))
        for piece in _pieces(places, places * sum(map(len, columns)))
    )
    common = np.zeros(len(pairs), np.int64)
    async for counts in in_order(batcher, calls, deadline):
        common += counts
    return [count / (k * places) for count in common.tolist()]


def _selves(rows: Sequence[Rows]) -> Iterator[Pair]:
    return zip(range(len(rows)), range(len(rows)), strict=True)


def _product(every: Sequence[Matrix], pair: Pair, piece: slice) -> tuple[Pair, Matrix]:
    return pair, cross_product(every[pair[0]][piece], every[pair[1]][piece])


def _pieces(places: int, products: int) -> Iterator[slice]:
    """The places in pieces of a unit each; each place costs so many products."""
    size = max(1, UNIT_PRODUCTS // products)
    for start in range(0, places, size):
        yield slice(start, min(start + size, places))
