import pytest
import torch

from trainer.losses.distillation import distillation_loss


def test_it_is_the_mean_squared_distance_of_rows():
    told, target = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [3.0, -4.0]])
    assert distillation_loss(told, target).item() == pytest.approx((4 + 25) / 2)
    assert distillation_loss(target, target).item() == 0


def test_of_targets_with_a_variance_of_one_it_is_the_share_that_is_not_told():
    target = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)).double()
    target = (target - target.mean(dim=0)) / target.std(dim=0, correction=0) / 3**0.5
    assert distillation_loss(torch.zeros(4000, 3), target).item() == pytest.approx(1, abs=1e-6)
    assert distillation_loss(target * 0.5, target).item() == pytest.approx(0.25, abs=1e-6)
