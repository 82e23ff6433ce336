"""Folds cover all rows once, are of a size, and never part a block."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.errors import EvaluationError
from trainer.evaluation.folds import FOLDS, block_folds, random_folds
from trainer.snap import uniform_on_sphere


@given(st.integers(FOLDS, 500), st.integers(0, 5))
def test_random_folds_differ_in_size_by_one_at_most(n, seed):
    sizes = np.bincount(random_folds(n, seed), minlength=FOLDS)
    assert sizes.sum() == n
    assert sizes.max() - sizes.min() <= 1


def test_random_folds_are_every_fifth_of_a_permutation():
    permutation = np.random.default_rng(3).permutation(23)
    folds = random_folds(23, 3)
    for fold in range(FOLDS):
        assert set(permutation[fold::FOLDS]) == set(np.flatnonzero(folds == fold))


@given(st.integers(0, 20))
def test_no_block_is_in_two_folds_and_blocks_are_shared_out_evenly(seed):
    lonlat = uniform_on_sphere(2000, seed)
    folds = block_folds(lonlat, seed)
    blocks = {}
    for block, fold in zip(map(tuple, np.floor(lonlat / 10)), folds, strict=True):
        blocks.setdefault(block, set()).add(fold)
    assert all(len(found) == 1 for found in blocks.values())
    counts = np.bincount([found.pop() for found in blocks.values()])
    assert counts.max() - counts.min() <= 1


def test_the_antimeridian_and_the_poles_belong_to_blocks_like_others():
    lonlat = np.concatenate([uniform_on_sphere(500, 0), [[180.0, 5], [-180, 5], [3, 90], [3, 85]]])
    folds = block_folds(lonlat, 0)
    assert folds[-4] == folds[-3]
    assert folds[-2] == folds[-1]


def test_too_few_rows_or_blocks_are_refused():
    with pytest.raises(EvaluationError, match="4 rows are too few for 5 folds"):
        random_folds(4, 0)
    with pytest.raises(EvaluationError, match="lie in 1 blocks of 10°"):
        block_folds(np.random.default_rng(0).random((100, 2)) * 9, 0)
