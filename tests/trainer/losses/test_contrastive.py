import math

import pytest
import torch

from trainer.losses.contrastive import contrastive_loss

ONE = torch.tensor(1.0)


@pytest.mark.parametrize("n", [2, 5, 64])
def test_embeddings_that_are_all_alike_cost_log_n(n):
    alike = torch.ones(n, 8)
    assert float(contrastive_loss(alike, alike, torch.tensor(14.3))) == pytest.approx(math.log(n), rel=1e-5)


@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
def test_matched_orthogonal_pairs(scale):
    """Each row: log(e^s + (n - 1)) - s."""
    n = 6
    matched = torch.eye(n)
    expected = math.log(math.exp(scale) + n - 1) - scale
    assert float(contrastive_loss(matched, matched, torch.tensor(scale))) == pytest.approx(expected, abs=1e-5)


def test_two_pairs_by_hand():
    """Similarities [[1, a], [b, 0]]: a from rows, b from columns, both directions averaged."""
    location = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    image = torch.tensor([[1.0, 0.0], [0.8, -0.6]])
    rows = (-1 + math.log(math.e + math.exp(0.8)), 0 + math.log(math.exp(0.6) + 1))
    columns = (-1 + math.log(math.e + math.exp(0.6)), 0 + math.log(math.exp(0.8) + 1))
    expected = (sum(rows) / 2 + sum(columns) / 2) / 2
    assert float(contrastive_loss(location, image, ONE)) == pytest.approx(expected, rel=1e-6)


def test_lengths_do_not_matter_and_sides_are_symmetric():
    rng = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 10, 4, generator=rng)
    expected = contrastive_loss(a, b, ONE)
    torch.testing.assert_close(contrastive_loss(a * torch.rand(10, 1, generator=rng), 7 * b, ONE), expected)
    torch.testing.assert_close(contrastive_loss(b, a, ONE), expected)


def test_gradients_reach_both_sides_and_the_scale():
    a, b = (torch.randn(5, 3, requires_grad=True) for _ in range(2))
    scale = torch.tensor(2.0, requires_grad=True)
    contrastive_loss(a, b, scale).backward()
    assert all(tensor.grad is not None and tensor.grad.abs().sum() > 0 for tensor in (a, b, scale))
