import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.synthetic_world import grid, position_raster
from trainer.data.imagery import GLOBE
from trainer.data.mosaic import Mosaic, Raster
from trainer.sphere import EARTH_RADIUS_KM, unit_vectors

POSITIONS = position_raster(720)
BILINEAR_ERROR = (math.radians(180 / 720)) ** 2 / 4
"""Two axes, each h²/8 of a function whose second derivative is at most 1."""


def places(*lonlat: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(lonlat, dtype=torch.float64)


def expected_positions(lon: float, lat: float, east_km: float, north_km: float) -> torch.Tensor:
    """By hand: p cos d + (e ê + n n̂) sin d / d."""
    lon, lat = math.radians(lon), math.radians(lat)
    up = (math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat))
    east = (-math.sin(lon), math.cos(lon), 0.0)
    north = (-math.sin(lat) * math.cos(lon), -math.sin(lat) * math.sin(lon), math.cos(lat))
    e, n = east_km / EARTH_RADIUS_KM, north_km / EARTH_RADIUS_KM
    d = math.hypot(e, n)
    return torch.tensor(
        [math.cos(d) * u + math.sin(d) / d * (e * a + n * b) for u, a, b in zip(up, east, north, strict=True)]
    )


@pytest.mark.parametrize("lat", [0.0, 60.0, 89.9, 90.0, -89.9, -90.0])
@pytest.mark.parametrize("lon", [0.0, 33.0, 180.0, -180.0])
def test_tile_pixels_lie_at_their_metric_offsets(lon, lat):
    tile = Mosaic([POSITIONS], size=4, footprints_km=[200]).tiles(places((lon, lat)))[0]
    for row, north_km in enumerate((75, 25, -25, -75)):
        for column, east_km in enumerate((-75, -25, 25, 75)):
            expected = expected_positions(lon, lat, east_km, north_km)
            torch.testing.assert_close(
                tile[:, row, column], expected, atol=BILINEAR_ERROR + 1e-6, rtol=0, check_dtype=False
            )


@settings(max_examples=50)
@given(st.floats(-360, 360), st.floats(-90, 90))
def test_sampling_finds_the_position_anywhere(lon, lat):
    sampled = POSITIONS.sample(places((lon, lat)))[0]
    expected = unit_vectors(places((lon, lat)))[0].float()
    torch.testing.assert_close(sampled, expected, atol=BILINEAR_ERROR + 1e-6, rtol=0)


def test_pixel_centres_are_sampled_exactly():
    raster = position_raster(18)
    sampled = raster.sample(grid(18).reshape(-1, 2))
    torch.testing.assert_close(sampled, raster.values.reshape(-1, 3), atol=1e-6, rtol=0)


def test_rasters_of_several_resolutions_are_stacked_as_bands():
    mosaic = Mosaic([position_raster(360), position_raster(180)], size=3, footprints_km=[300])
    tiles = mosaic.tiles(places((10, 20), (-120, -45)))
    assert tiles.shape == (2, 6, 3, 3)
    torch.testing.assert_close(tiles[:, :3], tiles[:, 3:], atol=1e-3, rtol=0)


def test_no_data_is_left_out_and_its_weight_shared():
    values = torch.tensor([[1.0, 2.0], [3.0, torch.nan]])[..., None]
    raster = Raster(values, (0.0, 0.0, 2.0, 2.0))
    middle, mostly_missing = raster.sample(places((1.0, 1.0), (1.4, 0.6)))[:, 0].tolist()
    assert middle == pytest.approx(2.0)  # the mean of the three
    assert math.isnan(mostly_missing)


def test_beyond_the_bounds_there_is_no_data():
    raster = Raster(torch.ones(2, 2, 1), (0.0, 0.0, 20.0, 20.0))
    inside, *outside = raster.sample(places((0.1, 19.9), (-1, 10), (21, 10), (10, 21), (10, -1)))
    assert inside.tolist() == [1.0]
    assert torch.stack(outside).isnan().all()
    assert raster.has_data(places((0.1, 19.9), (21, 10))).tolist() == [True, False]


def test_has_data_asks_the_pixel_that_holds_the_place():
    values = torch.ones(18, 36, 1)
    values[0, 0] = torch.nan  # lon -180..-170, lat 80..90
    raster = Raster(values, GLOBE)
    assert raster.has_data(places((-175, 85), (185, 85), (175, 85), (-175, 75))).tolist() == [False, False, True, True]


def test_tiles_on_both_names_of_a_meridian_are_equal():
    mosaic = Mosaic([POSITIONS], size=4, footprints_km=[300])
    east, west = mosaic.tiles(places((180, 12), (-180, 12)))
    torch.testing.assert_close(east, west, atol=1e-6, rtol=0)


def test_each_footprint_has_its_bands_and_its_own_pixels():
    several = Mosaic([POSITIONS], size=4, footprints_km=[200, 1000]).tiles(places((10, 20), (180, -90)))
    narrow, wide = (
        Mosaic([POSITIONS], size=4, footprints_km=[km]).tiles(places((10, 20), (180, -90))) for km in (200, 1000)
    )
    torch.testing.assert_close(several, torch.cat([narrow, wide], dim=1), atol=0, rtol=0)


def test_an_overview_is_the_mean_of_what_it_covers_and_leaves_out_what_has_no_data():
    values = torch.arange(32 * 64, dtype=torch.float32).view(32, 64, 1)
    values[0, 0] = values[2:4, 2:4] = torch.nan
    halved = Raster(values, GLOBE).halved
    assert halved.values.shape == (16, 32, 1)
    assert halved.values[0, 0].item() == pytest.approx((1 + 64 + 65) / 3)
    assert halved.values[0, 1].item() == (2 + 3 + 66 + 67) / 4
    assert halved.values[1, 1].isnan().item()


def test_an_overview_covers_the_same_ground_where_rows_are_odd():
    latitude = grid(45)[:, :, 1:].float()
    found = Raster(latitude, GLOBE).halved.values[:, 0, 0]
    torch.testing.assert_close(found, 90 - (torch.arange(22) + 0.5) * (180 / 22), atol=180 / 45 / 2, rtol=0)


@pytest.mark.parametrize(
    ("pixel_deg", "rows"), [(0.01, 720), (0.49, 720), (0.5, 360), (1.99, 180), (2.0, 90), (90, 22)]
)
def test_samples_come_from_the_overview_with_pixels_no_higher_than_they_are_apart(pixel_deg, rows):
    assert POSITIONS.at(pixel_deg).rows == rows


def test_what_lies_between_a_tile_s_pixels_counts():
    """Stripes of one pixel, which samples 16 pixels apart would all hit, or all miss."""
    stripes = Raster((torch.arange(720) % 2).float()[:, None, None].repeat(1, 1440, 1), GLOBE)
    tile = Mosaic([stripes], size=8, footprints_km=[8 * 445]).tiles(places((10, 0)))
    torch.testing.assert_close(tile, torch.full_like(tile, 0.5))
