"""Side by side as one after the other; torch has its threads again afterwards."""

from functools import partial
from threading import Barrier

import numpy as np
import pytest
import torch

from trainer.data.targets import Numbers
from trainer.evaluation.perceptron import perceptron_figures
from trainer.evaluation.side_by_side import side_by_side

HANG_S = 60
X = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
TARGETS = Numbers(np.tanh(X[:, 0]).astype(np.float64))


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_seeds_fitted_together_are_those_fitted_alone():
    def fitted(seed):
        return seed, perceptron_figures(X, TARGETS, seed)["MSE"]

    together = dict(side_by_side([partial(fitted, seed) for seed in range(5)]))
    assert together == pytest.approx(dict(map(fitted, range(5))), rel=1e-4)
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("threads", [1, 2])
def test_after_an_error_no_other_job_begins(threads):
    torch.set_num_threads(threads)
    together = Barrier(threads)
    done = []

    def failing(number):
        if number < threads:
            together.wait(HANG_S)
            raise ValueError("no")
        done.append(number)

    with pytest.raises(ValueError, match="no"):
        list(side_by_side([partial(failing, number) for number in range(1000)]))
    assert done == []
    assert torch.get_num_threads() == threads


def test_nothing_is_nothing():
    assert list(side_by_side([])) == []
