import math

import pytest
import torch
from torch.nn.functional import leaky_relu

from trainer.refinement.geospatial import GraphPropagationFusion, adjacency, perturb
from trainer.seeding import generator
from trainer.sphere import EARTH_RADIUS_KM, distance_deg

METRES_A_DEGREE = math.radians(1) * EARTH_RADIUS_KM * 1000


def places(*lonlat: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(lonlat, dtype=torch.float64)


@pytest.mark.parametrize("lat", [0.0, 60.0, 89.0, -89.0, 90.0])
@pytest.mark.parametrize("lon", [0.0, 180.0])
def test_perturbation_has_one_size_in_metres(lon, lat):
    """Distances of a two-dimensional normal: mean square 2 sigma², mean sigma sqrt(pi / 2)."""
    n, sigma = 40_000, 0.18
    around = perturb(places((lon, lat)), n, sigma, generator(0, "test"))[0, 1:]
    metres = distance_deg(places((lon, lat)), around) * METRES_A_DEGREE
    sigma_m = sigma * METRES_A_DEGREE
    assert float(metres.square().mean().sqrt()) == pytest.approx(sigma_m * math.sqrt(2), rel=0.02)
    assert float(metres.mean()) == pytest.approx(sigma_m * math.sqrt(math.pi / 2), rel=0.02)


@pytest.mark.parametrize("lat", [0.0, 60.0, 89.0])
def test_east_and_north_are_alike_and_centred(lat):
    n, sigma = 40_000, 0.01
    lon, new_lat = perturb(places((25, lat)), n, sigma, generator(0, "test"))[0, 1:].unbind(1)
    east = (lon - 25) * math.cos(math.radians(lat)) / sigma
    north = (new_lat - lat) / sigma
    for offset in (east, north):
        assert float(offset.mean()) == pytest.approx(0, abs=5 / math.sqrt(n))
        assert float(offset.std()) == pytest.approx(1, rel=0.02)


def test_node_0_is_the_place_itself_and_the_draw_is_seeded():
    lonlat = places((10, 20), (-180, -45))
    one, same, other = (perturb(lonlat, 5, 0.18, generator(0, "test", step)) for step in (0, 0, 1))
    assert one.shape == (2, 6, 2)
    assert torch.equal(one[:, 0], lonlat)
    assert torch.equal(one, same)
    assert not torch.equal(one[:, 1:], other[:, 1:])


@pytest.mark.parametrize(
    ("a", "b", "degrees"),
    [
        ((0, 0), (0.2, 0), 0.2),
        ((0, 90), (123, 89.9), 0.1),
        ((0, 89.9), (180, 89.9), 0.2),
        ((179.95, 0), (-179.95, 0), 0.1),
        ((180, -30), (-180, -30), 0.0),
    ],
)
def test_adjacency_is_equation_1_at_the_pole_and_across_the_antimeridian(a, b, degrees):
    sigma = 0.18
    found = adjacency(places(a, b)[None], sigma)[0]
    near = math.exp(-(degrees**2) / (2 * sigma**2))
    torch.testing.assert_close(found, torch.tensor([[1.0, near], [near, 1.0]]), atol=1e-6, rtol=0)


def by_hand(h, a, weights, slope):
    """Eq. 2 as it is written: one node and one sum at a time."""
    for weight in weights:
        sums = [sum(a[i][j] * (weight @ h[j]) for j in range(len(h))) for i in range(len(h))]
        h = [leaky_relu(total, slope) for total in sums]
    return h[0]


@pytest.mark.parametrize("normalise_rows", [False, True])
def test_fusion_is_equation_2(normalise_rows):
    rng = torch.Generator().manual_seed(0)
    fusion = GraphPropagationFusion(4, layers=3, negative_slope=0.2, normalise_rows=normalise_rows)
    h = torch.randn(2, 3, 4, generator=rng)
    a = torch.rand(2, 3, 3, generator=rng)
    fused = fusion(h, a)
    weights = [layer.weight for layer in fusion.weights]
    for n in range(2):
        rows = a[n] / a[n].sum(1, keepdim=True) if normalise_rows else a[n]
        torch.testing.assert_close(fused[n], by_hand(list(h[n]), rows.tolist(), weights, 0.2), atol=1e-6, rtol=1e-5)


def test_fusion_of_a_place_with_its_own_copies_adds_them_up():
    fusion = GraphPropagationFusion(2, layers=1)
    with torch.no_grad():
        fusion.weights[0].weight.copy_(torch.eye(2))
    h = torch.tensor([[[1.0, -1.0]] * 3])
    torch.testing.assert_close(fusion(h, torch.ones(1, 3, 3)), torch.tensor([[3.0, -0.6]]))
