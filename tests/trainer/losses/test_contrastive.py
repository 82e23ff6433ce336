import math

import pytest
import torch
from torch.nn import functional

from trainer.losses.contrastive import BLOCK, contrastive_loss

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


def as_written(location, image, scale):
    """The loss with the whole matrix of similarities, and its gradient by automatic differentiation."""
    logits = scale * functional.normalize(location, dim=1) @ functional.normalize(image, dim=1).T
    own = torch.arange(len(logits))
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2


@pytest.mark.parametrize("n", [3, BLOCK, 2 * BLOCK + 77])
@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
def test_block_by_block_loss_and_gradient_are_those_of_the_whole_matrix(n, scale):
    rng = torch.Generator().manual_seed(n)
    given = [torch.randn(n, 16, generator=rng, dtype=torch.float64) for _ in range(2)]
    given = [tensor.requires_grad_() for tensor in (*given, torch.tensor(scale, dtype=torch.float64))]
    loss, expected = contrastive_loss(*given), as_written(*given)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    for found, exact in zip(
        torch.autograd.grad(3 * loss, given), torch.autograd.grad(3 * expected, given), strict=True
    ):
        torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-6 * float(exact.abs().max()))


def test_in_float32_it_loses_no_more_than_float32_does():
    rng = torch.Generator().manual_seed(0)
    exact = [torch.randn(BLOCK + 5, 64, generator=rng, dtype=torch.float64) for _ in range(2)]
    given = [tensor.float().requires_grad_() for tensor in exact]
    loss = contrastive_loss(*given, torch.tensor(30.0))
    exact = [tensor.requires_grad_() for tensor in exact]
    reference = as_written(*exact, torch.tensor(30.0, dtype=torch.float64))
    assert float(loss.detach()) == pytest.approx(float(reference.detach()), rel=1e-6)
    for found, right in zip(torch.autograd.grad(loss, given), torch.autograd.grad(reference, exact), strict=True):
        assert float((found - right).abs().max() / right.abs().max()) < 1e-5


def test_the_loss_of_lowered_embeddings_is_float32():
    lowered = torch.eye(4, dtype=torch.bfloat16)
    loss = contrastive_loss(lowered, lowered, ONE)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(math.log(math.e + 3) - 1, rel=1e-6)


@pytest.mark.parametrize("large", [1e3, 1e4])
def test_large_logits_overflow_nothing(large):
    """Each row's own similarity is 1 and all others -1: the loss is next to nothing, and so is its gradient."""
    pair = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    loss = contrastive_loss(pair, pair.detach(), torch.tensor(large))
    (gradient,) = torch.autograd.grad(loss, pair)
    assert float(loss.detach()) == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))
