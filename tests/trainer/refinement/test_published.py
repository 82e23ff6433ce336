import math

import pytest
import torch
from torch.nn.functional import leaky_relu

from trainer.refinement.published import PublishedFusion, PublishedNeighbourhoods
from trainer.seeding import generator


def places(*lonlat: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(lonlat, dtype=torch.float64)


@pytest.mark.parametrize("lat", [0.0, 60.0, 89.0])
def test_lon_and_lat_are_perturbed_alike_in_degrees_and_the_place_is_dropped(lat):
    """So that at 60° the east is half as far as at the equator in kilometres."""
    n = 40_000
    around = PublishedNeighbourhoods(n, 0.18).draw(places((25, lat)), generator(0, "test"))[0]
    assert around.shape == (n, 2)
    assert not (around == places((25, lat))).all(dim=1).any()
    for offset in (around - places((25, lat))).unbind(1):
        assert float(offset.mean()) == pytest.approx(0, abs=5 * 0.18 / math.sqrt(n))
        assert float(offset.std()) == pytest.approx(0.18, rel=0.02)


@pytest.mark.parametrize(
    ("a", "b", "degrees"),
    [((0, 0), (0.3, 0.4), 0.5), ((0, 89), (0, 90), 1.0), ((179, 0), (-179, 0), 358.0), ((0, 90), (90, 90), 90.0)],
)
def test_adjacency_is_of_the_logarithm_of_plain_degrees(a, b, degrees):
    found = PublishedNeighbourhoods(2, 0.18).adjacency(places(a, b)[None])[0]
    near = math.exp(-(math.log(degrees) ** 2) / 200)
    torch.testing.assert_close(found, torch.tensor([[1.0, near], [near, 1.0]]), atol=1e-6, rtol=0)


def test_nearer_neighbours_count_less():
    """What Eq. 1 is for is turned around: closer than a degree, A grows with distance."""
    found = PublishedNeighbourhoods(4, 0.18).adjacency(places((0, 0), (0.001, 0), (0.01, 0), (0.1, 0))[None])[0, 0]
    assert found[1] < found[2] < found[3] < found[0] == 1


def test_fusion_is_as_it_is_written():
    rng = torch.Generator().manual_seed(0)
    fusion = PublishedFusion(4, layers=2, negative_slope=0.2)
    h, a = torch.randn(2, 3, 4, generator=rng), torch.rand(2, 3, 3, generator=rng)
    for n in range(2):
        nodes = list(h[n])
        for layer in fusion.layers:
            summed = [leaky_relu(sum(a[n, i, j] * nodes[j] for j in range(3)), 0.2) for i in range(3)]
            nodes = [leaky_relu(layer.weight @ each + layer.bias, 0.2) for each in summed]
        torch.testing.assert_close(fusion(h, a)[n], nodes[0])
