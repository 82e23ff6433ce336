"""Tables from rasters: uniform by area, each place with the value of its pixel."""

import numpy as np
import pytest

from tests.synthetic_world import grid, write_raster
from trainer.config import points_between
from trainer.data.land import land
from trainer.data.mosaic import Raster
from trainer.data.sampling import RasterBand, sample_table
from trainer.errors import ConfigError, ImageryError


@pytest.fixture
def latitudes(tmp_path):
    """Two bands: the latitude of each pixel's centre, and 1 to 4 by quadrant with 4 as no data."""
    centres = grid(90).numpy()
    quadrant = 1 + (centres[..., 0] > 0) + 2 * (centres[..., 1] > 0)
    return write_raster(tmp_path / "r.tif", np.stack([centres[..., 1], quadrant], axis=2).astype(np.float32))


def sample(band, n=4000, *, on_land=False, labels=None, min_lat=-90, max_lat=90, seed=0):
    points = points_between(n, min_lat, max_lat)
    return sample_table(band.read(), points, "v", seed, on_land=on_land, labels=labels)


def test_each_place_has_the_value_of_the_pixel_that_holds_it(latitudes):
    table = sample(RasterBand(latitudes))
    assert table.column_names == ["lon", "lat", "v"]
    assert np.abs(table["v"].to_numpy() - table["lat"].to_numpy()).max() <= 1 + 1e-6  # pixels of 2 degrees


def test_places_are_uniform_by_area(latitudes):
    sines = np.sin(np.radians(sample(RasterBand(latitudes), 20_000)["lat"].to_numpy()))
    counts, _ = np.histogram(sines, bins=10, range=(-1, 1))
    np.testing.assert_allclose(counts, 2000, rtol=0.1)


def test_no_data_and_latitudes_are_left_out(latitudes):
    table = sample(RasterBand(latitudes, band=2, nodata=4), min_lat=-30, max_lat=60)
    assert set(table["v"].to_pylist()) == {1.0, 2.0, 3.0}
    assert table["lat"].to_numpy().min() >= -30
    assert table["lat"].to_numpy().max() <= 60


def test_labels_replace_values_and_leave_out_the_rest(latitudes):
    table = sample(RasterBand(latitudes, band=2), labels={1.0: "south west", 4.0: "north east"})
    assert set(table["v"].to_pylist()) == {"south west", "north east"}
    for row in table.to_pylist()[:100]:
        assert row["v"] == ("north east" if row["lat"] > 0 else "south west")


def test_the_same_seed_draws_the_same_and_more_only_adds(latitudes):
    band = RasterBand(latitudes)
    assert sample(band, 100).equals(sample(band, 200).slice(0, 100))
    assert not sample(band, 100, seed=1).equals(sample(band, 100))


def test_land_is_land(latitudes):
    table = sample(RasterBand(latitudes), on_land=True, min_lat=-60)
    lonlat = np.stack([table["lon"], table["lat"]], axis=1)
    mid_atlantic = (np.abs(lonlat[:, 0] + 40) < 10) & (np.abs(lonlat[:, 1] - 30) < 10)
    sahara = (np.abs(lonlat[:, 0] - 10) < 10) & (np.abs(lonlat[:, 1] - 22) < 5)
    assert not mid_atlantic.any()
    assert sahara.sum() > 10
    import torch

    places = torch.tensor([[116.4, 39.9], [-30.0, 0.0], [2.35, 48.86], [0.0, -90.0], [-180.0, 0.0]]).double()
    assert land().has_data(places).tolist() == [True, False, True, True, False]


def test_a_pixel_beyond_the_bounds_has_no_data():
    import torch

    raster = Raster(torch.ones(10, 10, 1), (0.0, 0.0, 10.0, 10.0))
    places = torch.tensor([[5.0, 5], [-5, 5], [5, 11]]).double()
    assert raster.has_data(places).tolist() == [True, False, False]
    assert raster.pixels(places)[0].item() == 1


@pytest.mark.parametrize(
    ("band", "message"),
    [
        (lambda path: RasterBand(path, band=3), "has no band 3; it has 2"),
        (lambda path: RasterBand(path, band=0), "has no band 0"),
        (lambda path: RasterBand(path.with_name("none.tif")), "none.tif does not exist"),
        (lambda path: RasterBand(path.with_name("text.tif")), "is not a raster"),
    ],
)
def test_what_is_no_raster_band_is_one_line(latitudes, band, message):
    latitudes.with_name("text.tif").write_text("no raster")
    with pytest.raises(ImageryError, match=message):
        band(latitudes).read()


def test_a_raster_without_data_there_and_latitudes_out_of_order(latitudes):
    with pytest.raises(ImageryError, match="the raster has no data between"):
        sample(RasterBand(latitudes), labels={77.5: "nowhere"})
    with pytest.raises(ConfigError, match="min_lat must be below max_lat"):
        points_between(5, 10, -10)
