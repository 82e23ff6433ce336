import math

import pytest
import torch

from trainer.models.networks.siren import Siren


def test_is_what_the_paper_writes():
    siren = Siren(3, 5, 2, 4, w0_initial=30.0, w0=2.0).double()
    features = torch.randn(7, 3, dtype=torch.float64)
    first, second = siren.hidden
    hidden = torch.sin(30 * (features @ first.weight.T + first.bias))
    hidden = torch.sin(2 * (hidden @ second.weight.T + second.bias))
    torch.testing.assert_close(siren(features), hidden @ siren.last.weight.T + siren.last.bias)


def test_layers_do_not_share_weights():
    siren = Siren(8, 8, 4, 8)
    assert len({id(layer.weight) for layer in siren.hidden}) == 4
    assert not torch.equal(siren.hidden[2].weight, siren.hidden[3].weight)


@pytest.mark.parametrize("w0", [1.0, 5.0])
def test_starts_within_the_papers_bounds(w0):
    siren = Siren(100, 512, 2, 256, w0=w0)
    others = math.sqrt(6 / 512) / w0
    for layer, bound in zip([*siren.hidden, siren.last], (1 / 100, others, others), strict=True):
        for parameter in (layer.weight, layer.bias):
            assert parameter.abs().max() <= bound
            assert parameter.abs().max() > 0.9 * bound


def test_needs_a_hidden_layer():
    with pytest.raises(ValueError, match="at least one"):
        Siren(3, 5, 0, 4)
