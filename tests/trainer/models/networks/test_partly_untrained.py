import pytest
import torch

from trainer.models.networks.partly_untrained import PartlyUntrained
from trainer.models.networks.siren import Siren


@pytest.fixture(params=[1, 2, 3])
def network(request) -> PartlyUntrained:
    torch.manual_seed(0)
    shapes = (9, 8, request.param, 5), (4, 6, request.param, 3)
    return PartlyUntrained(*(Siren(*shape, w0_initial=30.0, w0=2.0) for shape in shapes)).double()


def features() -> torch.Tensor:
    return torch.randn(50, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_its_last_dimensions_are_the_untrained_part_s_of_the_first_features(network):
    found = network(features())
    torch.testing.assert_close(found[:, :5], network.trained(features()))
    torch.testing.assert_close(found[:, 5:], network.untrained(features()[:, :4]))


def test_merged_it_is_one_siren_and_the_same_function(network):
    one = network.merged()
    assert isinstance(one, Siren)
    torch.testing.assert_close(one(features()), network(features()), atol=1e-12, rtol=0)


def test_steps_leave_the_untrained_part_as_it_was(network):
    before = [parameter.clone() for parameter in network.untrained.parameters()]
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=0.1, weight_decay=0.5)
    network(features()).square().sum().backward()
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, network.untrained.parameters(), strict=True))
