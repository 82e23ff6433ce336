"""Pictures of a grid, cut to an area, and values at cells."""

import numpy as np
import pytest

from service.bundle import LonLat
from service.embedding.cells import cells_of, centres_of
from service.errors import DeadlineExceeded
from service.maps.geometry import Geometry
from service.maps.grid import BBox, Grid
from service.maps.raster import raster
from service.maps.regions import colored_raster, values_of_cells
from service.maps.render import Style, colored

FOREVER = float("inf")
GRID = Grid.of_bbox(BBox.of([170, -10, -170, 10]), 300, 700)
TRIANGLE = {"type": "Polygon", "coordinates": [[[172, -8], [179, -8], [172, 8], [172, -8]]]}


@pytest.mark.parametrize("geojson", [None, TRIANGLE])
def test_a_picture_made_in_strips_is_the_picture_of_the_raster(run, drawing, plain, geojson):
    inside = geojson and Geometry.of(geojson)
    style = Style("magma", -1, 1)
    told = []

    async def main():
        async with drawing() as model:
            pixels = await colored_raster(model, GRID, plain, style, FOREVER, inside=inside, advance=told.append)
            values = await raster(model, GRID, plain, FOREVER)
            if inside:
                values[~inside.mask(GRID.lons, GRID.lats)] = np.nan
            np.testing.assert_array_equal(pixels, colored(values, plain, style))
            assert (pixels[..., 3] == 0).any() == bool(inside)

    run(main())
    assert sum(told) == len(GRID)
    assert len(told) > 1


def test_cells_have_the_values_of_their_centres(run, drawing, plain):
    rng = np.random.default_rng(0)

    cells = np.unique(cells_of(LonLat.from_degrees(rng.uniform([-180, -90], [180, 90], (1500, 2))), 8))

    async def main():
        async with drawing(max_batch_points=100) as model:
            values = await values_of_cells(model, cells, plain, FOREVER)
            expected = plain.values(model.backend.embed(centres_of(cells)))
            np.testing.assert_allclose(values, expected, atol=1e-6)
            with pytest.raises(DeadlineExceeded):
                await values_of_cells(model, cells, plain, 0.0)

    run(main())
