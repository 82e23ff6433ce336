import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from service.errors import BackendFailed
from service.maps import raster as raster_module
from service.maps.cog import write_cog
from service.maps.geometry import Geometry
from service.maps.grid import BBox, Grid
from service.maps.raster import raster
from service.maps.render import category_colors

FOREVER = float("inf")


@pytest.fixture
def written(run, drawing, tmp_path):
    """`written(layer, bbox, width, height)`: the file, and the values it should hold."""

    def write(layer, bbox, width, height, **options):
        grid, path = Grid.of_bbox(BBox.of(bbox), width, height), tmp_path / "map.tif"

        async def main():
            async with drawing() as model:
                await write_cog(path, model, grid, layer, FOREVER, **options)
                return await raster(model, grid, layer, FOREVER)

        return path, run(main())

    return write


def assert_valid(path):
    valid, errors, warnings = cog_validate(path)
    assert valid, errors
    assert not warnings
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("bbox", "width", "height"),
    [
        ([-180, -90, 180, 90], 1300, 650),
        ([170, -60, -170, 60], 100, 600),
        ([116, 39, 117, 40], 3, 2),
        ([0, 0, 1, 1], 1, 1),
        ([-10, -90, 10, 90], 7, 1100),
    ],
)
def test_a_raster_is_a_valid_cog_that_holds_the_values_where_they_are(written, plain, bbox, width, height):
    path, expected = written(plain, bbox, width, height)
    assert_valid(path)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), expected[..., 0])
        assert file.crs.to_epsg() == 4326
        assert file.dtypes == ("float32",)
        assert np.isnan(file.nodata)
        assert file.descriptions == ("plain",)
        assert file.units == ("m",)
        assert {"MODEL": "tiny", "LAYER": "plain", "UNIT": "m"}.items() <= file.tags().items()
        assert len(file.tags()["MODEL_DIGEST"]) == 64
        box = BBox.of(bbox)
        assert tuple(file.bounds) == pytest.approx((box.west, box.south, box.east, box.north))
        assert bool(file.overviews(1)) == (max(width, height) > 512)


@pytest.mark.parametrize("own", [None, ("#1c0dff", "#009900", "#f9ffa4")])
def test_categories_are_bytes_with_a_colour_table_and_nearest_overviews(written, kinds, own):
    kinds.category_colors = own
    path, expected = written(kinds, [-180, -90, 180, 90], 1200, 600)
    assert_valid(path)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), expected[..., 0])
        assert file.nodata == 255
        table = file.colormap(1)
        assert [table[code] for code in range(3)] == [tuple(color) for color in category_colors(kinds).tolist()]
        assert [file.tags()[f"CATEGORY_{code}"] for code in range(3)] == ["low", "middle", "high"]
        factor = file.overviews(1)[0]
    with rasterio.open(path, overview_level=0) as overview:
        assert set(np.unique(overview.read(1))) <= {0, 1, 2}
        assert overview.width == 1200 // factor


def test_bands_are_red_green_and_blue(written, plain):
    plain.bands = 3
    path, expected = written(plain, [0, 0, 10, 10], 20, 20)
    assert_valid(path)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(), np.moveaxis(expected, 2, 0))
        assert [band.name for band in file.colorinterp] == ["red", "green", "blue"]


def test_outside_of_a_geometry_there_is_no_data(written, plain, monkeypatch):
    monkeypatch.setattr(raster_module, "STRIP_POINTS", 100)
    corners = [[-10, -10], [10, -10], [10, 10], [-10, 10], [-10, -10]]
    area = Geometry.of({"type": "Polygon", "coordinates": [corners]})
    path, expected = written(plain, [-20, -20, 20, 20], 40, 40, inside=area)
    assert_valid(path)
    with rasterio.open(path) as file:
        values = file.read(1)
    np.testing.assert_array_equal(values[10:30, 10:30], expected[10:30, 10:30, 0])
    assert np.isfinite(values).sum() == 400


def test_it_says_how_far_it_is(written, plain):
    points = []
    written(plain, [0, 0, 10, 10], 30, 20, advance=points.append)
    assert sum(points) == 600


def test_what_fails_leaves_no_file(run, drawing, tmp_path, plain):
    plain.values = lambda rows: np.full((len(rows), 1), np.nan, np.float32)

    async def main():
        async with drawing() as model:
            with pytest.raises(BackendFailed):
                await write_cog(tmp_path / "a.tif", model, Grid.of_bbox(BBox.of([0, 0, 1, 1]), 5, 5), plain, FOREVER)

    run(main())
    assert list(tmp_path.iterdir()) == []
