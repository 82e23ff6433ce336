import math

import pytest
import torch

from trainer.models.fused_tower import FusedTower, expected_adjacency, polygon
from trainer.models.location_tower import harmonics_tower
from trainer.refinement.geospatial import GraphPropagationFusion, TangentNeighbourhoods, adjacency, perturb
from trainer.seeding import generator
from trainer.sphere import distance_deg, move

SIGMA = 0.18


def fused(legendre_polys: int = 6, neighbours: int = 5, **fusion: object) -> FusedTower:
    torch.manual_seed(0)
    tower = harmonics_tower(legendre_polys=legendre_polys, hidden_dim=24, embedding_dim=8)
    around = TangentNeighbourhoods(neighbours, SIGMA)
    return FusedTower(tower, GraphPropagationFusion(8, **fusion), around).double().eval()  # type: ignore[arg-type]


def places(*lonlat: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(lonlat, dtype=torch.float64)


def test_adjacency_is_the_mean_of_equation_1():
    drawn = perturb(places((0, 0)).expand(20_000, 2), 5, SIGMA, generator(0, "test"))
    torch.testing.assert_close(adjacency(drawn, SIGMA).double().mean(dim=0), expected_adjacency(5), atol=0.01, rtol=0)


@pytest.mark.parametrize("corners", [1, 2, 5, 8])
@pytest.mark.parametrize("lonlat", [(10.0, 0.0), (180.0, 89.9), (-77.0, -90.0), (179.95, 45.0)])
def test_corners_are_where_equation_1_is_a_half_and_as_far_from_each_other(corners, lonlat):
    around = move(places(lonlat), polygon(corners, SIGMA))
    distance = distance_deg(places(lonlat), around)
    torch.testing.assert_close(torch.exp(-(distance**2) / (2 * SIGMA**2)), torch.full((corners,), 0.5).double())
    sides = distance_deg(around, around.roll(1, dims=0))
    assert float(sides.max() - sides.min()) < 1e-5 * SIGMA + 1e-12


@pytest.mark.parametrize("fusion", [{}, {"layers": 3}, {"normalise_rows": True}], ids=str)
def test_it_is_the_fusion_of_the_tower_over_the_fixed_neighbourhood(fusion):
    tower, lonlat = fused(**fusion), places((10, 20), (180, -90), (-75, 60))
    nodes = torch.cat((lonlat[:, None], move(lonlat[:, None], polygon(5, SIGMA))), dim=1)
    h = torch.stack([tower.location_tower(each) for each in nodes])
    torch.testing.assert_close(tower(lonlat), tower.fusion(h, expected_adjacency(5).expand(3, 6, 6)))


def test_an_embedding_is_near_the_mean_over_drawn_neighbourhoods():
    """Within what A's own spread leaves, which for one layer of the identity is a common factor."""
    tower, lonlat = fused(layers=1, negative_slope=0.999), places((10, 20))
    drawn = perturb(lonlat.expand(4000, 2), 5, SIGMA, generator(0, "test"))
    with torch.no_grad():
        h = tower.location_tower(drawn.reshape(-1, 2)).view(4000, 6, -1)
        mean = tower.fusion(h, adjacency(drawn, SIGMA).double()).mean(dim=0)
        torch.testing.assert_close(tower(lonlat)[0], mean, rtol=0.02, atol=0.02 * float(mean.abs().max()))


def test_a_pole_has_one_embedding_whatever_its_longitude():
    """A polygon of five corners cannot be told from a turned one by what varies little within it."""
    lons = torch.linspace(-180, 180, 9, dtype=torch.float64)
    rows = fused(legendre_polys=10)(torch.stack((lons, torch.full_like(lons, 90.0)), dim=1))
    torch.testing.assert_close(rows, rows[:1].expand_as(rows), atol=1e-9, rtol=0)


def test_both_sides_of_the_antimeridian_are_one_place():
    lats = torch.linspace(-90, 90, 19, dtype=torch.float64)
    west, east = (fused()(torch.stack((torch.full_like(lats, lon), lats), dim=1)) for lon in (-180.0, 180.0))
    torch.testing.assert_close(west, east, atol=1e-9, rtol=0)


def test_no_places():
    assert fused()(torch.empty(0, 2, dtype=torch.float64)).shape == (0, 8)


def test_the_radius_is_that_of_the_median_neighbour():
    """Of a distance whose two parts are normal, half is within sigma √(2 ln 2)."""
    assert float(polygon(4, SIGMA).norm(dim=1).mean()) == pytest.approx(SIGMA * math.sqrt(2 * math.log(2)))
