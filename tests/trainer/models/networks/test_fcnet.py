import torch

from trainer.models.networks.fcnet import FCNet, ResidualLayer


def test_a_residual_layer_adds_what_it_rectifies():
    layer = ResidualLayer(3, dropout=0.5).double().eval()
    hidden = torch.randn(5, 3, dtype=torch.float64)
    change = torch.relu(torch.relu(hidden @ layer.w1.weight.T + layer.w1.bias) @ layer.w2.weight.T + layer.w2.bias)
    torch.testing.assert_close(layer(hidden), hidden + change)


def test_without_residual_layers_it_is_two_layers():
    network = FCNet(4, 6, 2, residual_layers=0).double()
    features = torch.randn(5, 4, dtype=torch.float64)
    expected = torch.relu(features @ network.first.weight.T + network.first.bias) @ network.last.weight.T
    torch.testing.assert_close(network(features), expected)
    assert network.last.bias is None


def test_dropout_is_drawn_anew_in_training_and_gone_in_eval():
    network = FCNet(4, 64, 8)
    features = torch.randn(5, 4)
    assert not torch.equal(network(features), network(features))
    assert torch.equal(network.eval()(features), network(features))
