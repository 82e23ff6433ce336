import math

import pytest
import torch

from tests.synthetic_world import small_config
from trainer.config import Config
from trainer.models.fused_tower import FusedTower
from trainer.models.two_tower import untrained, untrained_location_tower
from trainer.refinement.geospatial import adjacency, perturb
from trainer.refinement.published import PublishedFusion, PublishedNeighbourhoods
from trainer.seeding import generator


def config(**refinement) -> Config:
    given = small_config()
    given["refinement"] = {**given["refinement"], **refinement}
    return Config.model_validate(given)


def model(**refinement):
    return untrained(config(**refinement), torch.zeros(7), torch.ones(7))


LONLAT = torch.tensor([[10.0, 20.0], [180.0, -90.0], [-75.0, 60.0]], dtype=torch.float64)


def test_both_sides_have_the_embeddings_shape():
    around = perturb(LONLAT, 3, 0.18, generator(0, "test"))
    assert model().location(around).shape == model().image(torch.ones(3, 7)).shape == (3, 16)


def test_location_is_the_fusion_of_the_towers_embeddings():
    towers = model()
    around = perturb(LONLAT, 3, 0.18, generator(0, "test"))
    h = torch.stack([towers.location_tower(places) for places in around])
    torch.testing.assert_close(towers.location(around), towers.fusion(h, adjacency(around, 0.18)))


def test_without_neighbours_location_is_the_tower_itself():
    towers = model(neighbours=0)
    assert towers.fusion is None
    torch.testing.assert_close(towers.location(LONLAT[:, None]), towers.location_tower(LONLAT))


def test_what_is_served_is_the_tower_or_with_its_fusion():
    towers = model()
    assert towers.served is towers.location_tower
    fused = model(serve_fusion=True)
    assert isinstance(fused.served, FusedTower)
    assert fused.served.location_tower is fused.location_tower
    assert fused.served.fusion is fused.fusion
    assert set(fused.served.state_dict()) < set(fused.state_dict())


def test_the_published_fusion_takes_the_published_neighbourhoods():
    towers = model(fusion="published")
    assert towers.neighbourhoods == PublishedNeighbourhoods(neighbours=3, sigma_deg=0.18)
    assert isinstance(towers.fusion, PublishedFusion)
    around = towers.neighbourhoods.draw(LONLAT, generator(0, "test"))
    h = torch.stack([towers.location_tower(places) for places in around])
    torch.testing.assert_close(towers.location(around), towers.fusion(h, towers.neighbourhoods.adjacency(around)))


def test_weights_depend_on_the_seed_alone():
    one = model().state_dict()
    torch.rand(5)
    again = model().state_dict()
    assert all(torch.equal(one[name], again[name]) for name in one)
    tower = untrained_location_tower(config()).state_dict()
    assert all(torch.equal(one[f"location_tower.{name}"], tower[name]) for name in tower)


def test_making_a_model_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    model()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_scale_starts_at_the_temperature_and_is_clamped():
    towers = model()
    assert towers.logit_scale.item() == pytest.approx(1 / 0.07)
    with torch.no_grad():
        towers.log_scale.fill_(math.log(1000))
    towers.clamp_logit_scale()
    assert towers.logit_scale.item() == pytest.approx(100)
    with torch.no_grad():
        towers.log_scale.fill_(math.log(0.5))
    towers.clamp_logit_scale()
    assert towers.logit_scale.item() == pytest.approx(0.5)
