import pytest
import torch

from trainer.evaluation.probes import FOLDS, block_folds, random_folds, ridge_r2
from trainer.seeding import generator


def test_random_folds_are_equal_in_size():
    assert torch.bincount(random_folds(103, generator(0, "test"))).tolist() == [21, 21, 21, 20, 20]


def test_a_block_is_in_one_fold():
    lonlat = torch.rand(2000, 2, dtype=torch.float64, generator=generator(0, "test")) * 60 - 30
    folds = block_folds(lonlat, generator(1, "test"))
    block = torch.floor(lonlat / 10)
    for corner in torch.unique(block, dim=0):
        assert len(folds[(block == corner).all(dim=1)].unique()) == 1
    assert folds.unique().tolist() == list(range(FOLDS))


def data(n: int = 500) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = generator(0, "test")
    x = torch.randn(n, 6, generator=rng) * torch.logspace(-3, 3, 6)
    return x, torch.randn(n, generator=rng), random_folds(n, rng)


def test_a_linear_target_is_found_whatever_the_scales():
    x, _, folds = data()
    assert ridge_r2(x, 3 + x @ (1 / torch.logspace(-3, 3, 6)), folds) == pytest.approx(1, abs=1e-4)


def test_noise_has_no_r2():
    x, noise, folds = data()
    assert ridge_r2(x, noise, folds) < 0.02


def test_constant_columns_are_harmless():
    x, _, folds = data()
    y = x[:, 5]
    constant = torch.cat((x, torch.full((len(x), 1), 7.0)), dim=1)
    assert ridge_r2(constant, y, folds) == pytest.approx(ridge_r2(x, y, folds), abs=1e-9)


def test_the_penalty_shrinks_as_ridge_does():
    """One standardised column, n fitted rows: n / (n + alpha) of the least squares slope, so R² = 1 - (1 - that)²."""
    x = torch.tensor([-1.0, 1.0]).repeat(100)[:, None]
    folds = torch.arange(200) // 2 % FOLDS
    alpha = 160.0
    assert ridge_r2(x, x[:, 0], folds, alpha) == pytest.approx(1 - 0.5**2)
