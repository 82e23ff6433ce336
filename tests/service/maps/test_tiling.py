import morecantile
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import UnknownTile
from service.maps.tiling import EARTH_RADIUS_M, TILE_MATRIX_SETS, tile_grid

LIMIT = 85.0511287798066


@st.composite
def tiles(draw, max_zoom=20):
    tms = draw(st.sampled_from(sorted(TILE_MATRIX_SETS)))
    z = draw(st.integers(0, max_zoom))
    matrix = TILE_MATRIX_SETS[tms].matrix(z)
    return tms, z, draw(st.integers(0, matrix.matrixWidth - 1)), draw(st.integers(0, matrix.matrixHeight - 1))


@given(tiles())
def test_pixels_lie_within_the_tile_as_morecantile_has_it(tile):
    tms, z, x, y = tile
    grid = tile_grid(*tile, size=8)
    bounds = TILE_MATRIX_SETS[tms].bounds(morecantile.Tile(x, y, z))
    assert ((grid.lons > bounds.left) & (grid.lons < bounds.right)).all()
    assert ((grid.lats > bounds.bottom) & (grid.lats < bounds.top)).all()
    assert (np.diff(grid.lons) > 0).all()
    assert (np.diff(grid.lats) < 0).all()


@given(tiles(max_zoom=12), st.integers(0, 15), st.integers(0, 15))
def test_a_pixel_is_where_morecantile_puts_the_tile_of_its_size(tile, column, row):
    tms, z, x, y = tile
    grid = tile_grid(*tile, size=16)
    pixel = TILE_MATRIX_SETS[tms].bounds(morecantile.Tile(16 * x + column, 16 * y + row, z + 4))
    assert grid.lons[column] == pytest.approx((pixel.left + pixel.right) / 2, abs=1e-9)
    assert pixel.bottom < grid.lats[row] < pixel.top


def test_the_world_in_web_mercator_is_a_square():
    grid = tile_grid("WebMercatorQuad", 0, 0, 0)
    assert grid.width == grid.height == 256
    half = np.pi * EARTH_RADIUS_M
    assert grid.bounds == pytest.approx((-half, -half, half, half))
    np.testing.assert_allclose(grid.lats, -grid.lats[::-1], atol=1e-12)
    assert LIMIT - 0.2 < grid.lats[0] < LIMIT
    assert grid.crs == "EPSG:3857"


def test_the_two_tiles_of_crs84_cover_both_poles():
    west, east = (tile_grid("WorldCRS84Quad", 0, x, 0) for x in (0, 1))
    assert (west.bounds, east.bounds) == ((-180, -90, 0, 90), (0, -90, 180, 90))
    step = 180 / 256
    np.testing.assert_allclose(np.diff(np.concatenate([west.lons, east.lons])), step)


def test_neighbours_meet_without_a_seam():
    left, right = (tile_grid("WebMercatorQuad", 3, x, 2) for x in (4, 5))
    assert right.lons[0] - left.lons[-1] == pytest.approx(left.lons[1] - left.lons[0])
    np.testing.assert_array_equal(left.lats, right.lats)


@pytest.mark.parametrize(
    ("tile", "message"),
    [
        (("Mars", 0, 0, 0), "there is WebMercatorQuad, WorldCRS84Quad"),
        (("WebMercatorQuad", 0, 1, 0), "zoom 0 goes from 0/0 to 0/0"),
        (("WebMercatorQuad", 2, 0, -1), "no tile 2/0/-1"),
        (("WorldCRS84Quad", 0, 2, 0), "goes from 0/0 to 1/0"),
        (("WebMercatorQuad", 99, 0, 0), "has no zoom 99; it has 0 to"),
        (("WebMercatorQuad", -1, 0, 0), "has no zoom -1"),
    ],
)
def test_a_tile_that_is_not_is_unknown(tile, message):
    with pytest.raises(UnknownTile, match=message):
        tile_grid(*tile)
