import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config import Points
from trainer.data.points import draw_places, split, uniform_places
from trainer.errors import ImageryError
from trainer.seeding import generator


def everywhere(lonlat: torch.Tensor) -> torch.Tensor:
    return torch.ones(len(lonlat), dtype=torch.bool)


def test_places_are_uniform_by_area():
    n = 200_000
    lon, lat = uniform_places(n, -90, 90, generator(0, "test")).unbind(1)
    for south, north in ((-90, -60), (-30, 0), (0, 30), (60, 90)):
        share = (math.sin(math.radians(north)) - math.sin(math.radians(south))) / 2
        found = ((lat >= south) & (lat < north)).double().mean()
        assert float(found) == pytest.approx(share, abs=5 * math.sqrt(share / n))
    assert float(((lon >= 0) & (lon < 90)).double().mean()) == pytest.approx(0.25, abs=5 * math.sqrt(0.25 / n))


@settings(max_examples=20)
@given(st.floats(-90, 80), st.floats(0.1, 10))
def test_places_stay_between_their_latitudes(south, extent):
    lat = uniform_places(1000, south, south + extent, generator(1, "test"))[:, 1]
    assert float(lat.min()) >= south - 1e-9
    assert float(lat.max()) <= south + extent + 1e-9


def test_one_seed_draws_one_set_and_a_larger_count_adds_to_it():
    few = draw_places(Points(count=100), everywhere, seed=7)
    many = draw_places(Points(count=100_000), everywhere, seed=7)
    assert torch.equal(few, many[:100])
    assert not torch.equal(few, draw_places(Points(count=100), everywhere, seed=8))


def test_only_places_on_land_are_kept():
    drawn = draw_places(Points(count=500, land="land"), lambda lonlat: lonlat[:, 0] > 0, seed=0)
    assert len(drawn) == 500
    assert float(drawn[:, 0].min()) > 0


def test_a_land_source_without_land_is_named():
    with pytest.raises(ImageryError, match=r"water has no data between latitudes -60\.0 and 90\.0"):
        draw_places(Points(count=5, land="water"), lambda lonlat: torch.zeros(len(lonlat), dtype=torch.bool), seed=0)


@given(st.integers(2, 500), st.floats(0.01, 0.99), st.integers(0, 5))
def test_split_covers_every_row_once(count, share, seed):
    train, held_out = split(count, share, seed)
    assert sorted([*train.tolist(), *held_out.tolist()]) == list(range(count))
    assert len(held_out) == pytest.approx(count * share, abs=1)
    assert len(train) > 0
    assert len(held_out) > 0
