import math

import pytest
import torch
from torch.nn import functional

from trainer.losses.contrastive import BLOCK, contrastive_loss
from trainer.losses.csp import csp_loss, draw_elsewhere, dropout_loss, elsewhere_loss

SCALE = torch.tensor(5.0)


def test_elsewhere_in_closed_form():
    """Own place at similarity 1, two random ones at 0 and -1."""
    location = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    elsewhere = torch.tensor([[[0.0, 1.0], [-4.0, 0.0]], [[7.0, 0.0], [0.0, -1.0]]])
    expected = math.log(math.exp(5) + 1 + math.exp(-5)) - 5
    assert elsewhere_loss(location, 9 * location, SCALE, elsewhere).item() == pytest.approx(expected, abs=1e-6)


def test_places_elsewhere_that_are_as_good_cost_log_of_their_number():
    same = torch.ones(4, 3)
    assert elsewhere_loss(same, same, SCALE, same[:, None].expand(-1, 7, -1)).item() == pytest.approx(math.log(8))


def test_dropout_in_closed_form_asks_the_first_pass_for_the_second_and_not_the_other_way():
    """First passes at 0° and 90°, second ones both at 0°: either of the two is as good as the other for each."""
    first, second = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([[4.0, 0.0], [5.0, 0.0]])
    assert dropout_loss(first, second, SCALE).item() == pytest.approx(math.log(2))
    right, wrong = math.log(1 + math.exp(-5)), math.log(1 + math.exp(5))
    assert dropout_loss(second, first, SCALE).item() == pytest.approx((right + wrong) / 2)


def test_dropout_by_blocks_is_that_of_the_whole_matrix():
    torch.manual_seed(0)
    first, second = torch.randn(2, BLOCK + 3, 4)
    given = [each.clone().requires_grad_() for each in (first, second, SCALE)]
    also = [each.clone().requires_grad_() for each in (first, second, SCALE)]
    similarity = also[2] * functional.normalize(also[0], dim=1) @ functional.normalize(also[1], dim=1).T
    expected = (similarity.logsumexp(dim=1) - similarity.diagonal()).mean()
    found = dropout_loss(*given)
    torch.testing.assert_close(found, expected)
    for one, other in zip(torch.autograd.grad(found, given), torch.autograd.grad(expected, also), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_the_objective_is_the_weighted_sum():
    torch.manual_seed(0)
    location, image, again = torch.randn(3, 6, 4)
    elsewhere = torch.randn(6, 5, 4)
    whole = csp_loss(location, image, SCALE, elsewhere, again, elsewhere_weight=0.5, dropout_weight=0.25)
    expected = contrastive_loss(location, image, SCALE) + 0.25 * dropout_loss(location, again, SCALE)
    torch.testing.assert_close(whole, expected + 0.5 * elsewhere_loss(location, image, SCALE, elsewhere))


def test_gradients_reach_everything():
    given = [torch.randn(6, 4, requires_grad=True) for _ in range(3)]
    elsewhere = torch.randn(6, 2, 4, requires_grad=True)
    csp_loss(given[0], given[1], SCALE, elsewhere, given[2]).backward()
    assert all(one.grad.abs().sum() > 0 for one in (*given, elsewhere))


def test_places_elsewhere_are_uniform_by_area():
    lonlat = draw_elsewhere(4000, 5, torch.Generator().manual_seed(0)).reshape(-1, 2)
    assert (lonlat.abs() <= torch.tensor([180, 90])).all()
    share_above_30 = (lonlat[:, 1] > 30).double().mean().item()
    assert share_above_30 == pytest.approx(0.25, abs=0.01)
    assert lonlat[:, 0].mean().item() == pytest.approx(0, abs=3)
