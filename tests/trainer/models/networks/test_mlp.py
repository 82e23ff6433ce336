import numpy as np
import pytest
import torch

from trainer.models.networks.mlp import MLP, Capsules


@pytest.mark.parametrize("hidden_layers", [0, 2])
def test_mlp_by_hand(hidden_layers):
    network = MLP(5, 7, hidden_layers, 3).double()
    assert len(network.hidden) == hidden_layers + 1
    features = torch.randn(11, 5, dtype=torch.float64)
    hidden = features.numpy()
    for layer in network.hidden:
        hidden = np.maximum(hidden @ layer.weight.detach().numpy().T + layer.bias.detach().numpy(), 0)
    expected = hidden @ network.last.weight.detach().numpy().T + network.last.bias.detach().numpy()
    np.testing.assert_allclose(network(features).detach(), expected, atol=1e-12)


def test_hidden_layers_have_weights_of_their_own():
    first, second, third = (layer.weight for layer in MLP(4, 4, 2, 2).hidden)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


def test_capsules_sum_mlps_over_equal_parts():
    network = Capsules(6, groups=3, hidden_dim=4, hidden_layers=1, out_dim=2).double()
    features = torch.randn(9, 6, dtype=torch.float64)
    parts = [capsule(features[:, 2 * at : 2 * at + 2]) for at, capsule in enumerate(network.capsules)]
    torch.testing.assert_close(network(features), parts[0] + parts[1] + parts[2])
