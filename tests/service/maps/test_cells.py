import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.bundle import LonLat
from service.embedding.cells import cells_of, centres_of, number_of_cells
from service.errors import InvalidRequest
from service.maps.cells import covering, outline
from service.maps.geometry import Geometry
from service.maps.grid import BBox

GLOBE = BBox.of([-180, -90, 180, 90])


def cover(run, region, resolution, **limits):
    return run(covering(region, resolution, **limits))


@pytest.fixture(scope="module")
def everywhere():
    import asyncio

    return {resolution: asyncio.run(covering(GLOBE, resolution)) for resolution in range(4)}


@pytest.mark.parametrize("resolution", range(4))
def test_the_globe_is_every_cell_once(everywhere, resolution):
    cells = everywhere[resolution]
    assert len(cells) == number_of_cells(resolution)
    assert (np.diff(cells.astype(object)) > 0).all()


def edges():
    return st.tuples(st.floats(-180, 180), st.floats(-90, 90), st.floats(-180, 180), st.floats(-90, 90))


@settings(max_examples=60)
@given(edges(), st.integers(0, 3))
def test_a_box_is_the_cells_whose_centre_is_in_it(run, everywhere, box, resolution):
    try:
        region = BBox.of(box)
    except InvalidRequest:
        return
    expected = everywhere[resolution][region.contains(centres_of(everywhere[resolution]))]
    if len(expected):
        np.testing.assert_array_equal(cover(run, region, resolution), expected)
    else:
        with pytest.raises(InvalidRequest, match="choose a finer one"):
            cover(run, region, resolution)


@pytest.mark.parametrize(
    "box",
    [[170, -20, -170, 20], [-180, 60, 180, 90], [-180, -90, 180, -60], [10, -90, 50, 90], [-180, -90, -170, -80]],
)
def test_boxes_that_meet_divide_their_cells(run, box):
    west, south, east, north = BBox.of(box).west, box[1], BBox.of(box).east, box[3]
    middle = (west + east) / 2
    whole = cover(run, BBox.of(box), 4)
    halves = [cover(run, BBox.of([a, south, b, north]), 4) for a, b in ((west, middle), (middle, east))]
    np.testing.assert_array_equal(np.sort(np.concatenate(halves)), whole)


def test_a_fine_resolution_finds_every_cell_of_a_small_box(run):
    box = BBox.of([116.39, 39.89, 116.41, 39.91])
    lons, lats = np.meshgrid(np.linspace(116.38, 116.42, 400), np.linspace(39.88, 39.92, 400))
    sampled = np.unique(cells_of(LonLat.from_degrees(np.column_stack([lons.ravel(), lats.ravel()])), 9))
    expected = sampled[box.contains(centres_of(sampled))]
    np.testing.assert_array_equal(cover(run, box, 9), expected)


def test_a_geometry_is_the_cells_whose_centre_is_in_it(run, everywhere):
    ring = [[-30, -40], [60, -10], [20, 70], [-30, -40]]
    area = Geometry.of({"type": "Polygon", "coordinates": [ring]})
    cells = everywhere[3]
    np.testing.assert_array_equal(cover(run, area, 3), cells[area.contains(centres_of(cells))])


@pytest.mark.parametrize("resolution", [5, 9, 15])
def test_more_cells_than_the_limit_are_refused_with_a_resolution_that_fits(run, resolution):
    with pytest.raises(InvalidRequest, match="choose resolution 1 or a coarser one") as refused:
        cover(run, GLOBE, resolution, max_cells=1000)
    assert refused.value.items[0].pointer == "/h3_resolution"
    assert len(cover(run, GLOBE, 1, max_cells=1000)) <= 1000


@pytest.mark.parametrize("resolution", [-1, 16])
def test_a_resolution_that_is_none_is_refused(run, resolution):
    with pytest.raises(InvalidRequest, match="from 0 to 15"):
        cover(run, GLOBE, resolution)


def test_a_thin_geometry_costs_what_lies_along_it(run):
    thin = Geometry.of({"type": "Polygon", "coordinates": [[[-179, -80], [179, 80], [179, 80.001], [-179, -80]]]})
    with pytest.raises(InvalidRequest, match="cells"):
        cover(run, thin, 12, max_cells=10)


def rings_of(geometry):
    kind, coordinates = geometry["type"], geometry["coordinates"]
    return [rings[0] for rings in ([coordinates] if kind == "Polygon" else coordinates)]


def area_of(ring):
    x, y = np.array(ring).T
    return 0.5 * np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])


@pytest.mark.parametrize("resolution", range(4))
def test_outlines_divide_the_map_without_gap_or_overlap(everywhere, resolution):
    total = 0.0
    for cell in everywhere[resolution].tolist():
        geometry = outline(cell)
        json.dumps(geometry, allow_nan=False)
        for ring in rings_of(geometry):
            assert ring[0] == ring[-1]
            assert len(ring) >= 4
            lons, lats = np.array(ring).T
            assert np.abs(lons).max() <= 180
            assert np.abs(lats).max() <= 90
            area = area_of(ring)
            assert area > 0, "counterclockwise"
            total += area
    assert total == pytest.approx(360 * 180, rel=1e-9)


def test_an_outline_over_the_antimeridian_is_cut_there():
    (cell,) = cells_of(LonLat.from_degrees([[180, 0]]), 3)
    geometry = outline(int(cell))
    assert geometry["type"] == "MultiPolygon"
    for ring in rings_of(geometry):
        lons = np.array(ring)[:, 0]
        assert np.ptp(lons) < 5
        assert np.abs(lons).max() == 180


@pytest.mark.parametrize(("lat", "resolution"), [(90, 0), (90, 3), (90, 15), (-90, 0), (-90, 5), (-90, 15)])
def test_an_outline_of_a_pole_reaches_it_along_the_width_of_the_map(lat, resolution):
    (cell,) = cells_of(LonLat.from_degrees([[0, lat]]), resolution)
    (ring,) = rings_of(outline(int(cell)))
    assert {lon for lon, at in ring if at == lat} >= {-180.0, 180.0}
    assert area_of(ring) > 0
