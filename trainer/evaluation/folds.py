"""The folds of CoordBench: rows dealt at random, or whole blocks of 10°, by a seed.

Which rows share a fold moves a score by some hundredths where blocks are few, so the deals are the public ones. With
seed 0, ridge on sin and cos of (lon, lat) gives .8515 for air temperature (CoordBench's table) and .8455 under blocks.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer.errors import EvaluationError

FOLDS = 5
BLOCK_DEG = 10.0

FoldKind = Literal["random", "blocks"]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def folds_of(kind: FoldKind, lonlat: Floats, seed: int) -> Integers:
    """The fold of each place (n, 2), 0 to 4. Raises EvaluationError where there are too few rows or blocks."""
    return random_folds(len(lonlat), seed) if kind == "random" else block_folds(lonlat, seed)


def random_folds(n: int, seed: int) -> Integers:
    """(n,): a permutation of the rows, every fifth of it one fold; sizes differ by one at most."""
    if n < FOLDS:
        raise EvaluationError(f"{n} rows are too few for {FOLDS} folds")
    folds = np.empty(n, np.int64)
    folds[np.random.default_rng(seed).permutation(n)] = np.arange(n) % FOLDS
    return folds


def block_folds(lonlat: Floats, seed: int) -> Integers:
    """(n,): all places of a block in one fold.

    Blocks are ordered by lon, then lat; block i goes to fold p[i] mod 5 of a permutation p. 180° is the block of -180°,
    and the north pole is in the blocks that reach it.
    """
    lon = np.floor((np.mod(lonlat[:, 0] + 180, 360) - 180) / BLOCK_DEG)
    lat = np.minimum(np.floor(lonlat[:, 1] / BLOCK_DEG), 90 / BLOCK_DEG - 1)
    _, block = np.unique(np.stack([lon, lat], axis=1), axis=0, return_inverse=True)
    blocks = int(block.max()) + 1
    if blocks < FOLDS:
        raise EvaluationError(f"the places lie in {blocks} blocks of {BLOCK_DEG:g}°, too few for {FOLDS} folds")
    dealt: Integers = (np.random.default_rng(seed).permutation(blocks) % FOLDS)[block.reshape(-1)]
    return dealt
