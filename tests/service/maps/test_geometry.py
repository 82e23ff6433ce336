import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidRequest
from service.maps.geometry import MAX_DEPTH, MAX_VERTICES, Geometry
from service.maps.grid import BBox, Grid, lonlat_of


def square(west, south, east, north):
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def polygon(*rings):
    return {"type": "Polygon", "coordinates": [list(ring) for ring in rings]}


def multi(*squares):
    return {"type": "MultiPolygon", "coordinates": [[ring] for ring in squares]}


GRID = Grid.of_bbox(BBox.of([-180, -90, 180, 90]), 72, 36)  # centres at 2.5 + 5 n


def share(geometry):
    return geometry.mask(GRID.lons, GRID.lats).sum()


def test_a_square_holds_the_pixels_within_it():
    assert share(Geometry.of(polygon(square(-10, 0, 10, 20)))) == 16


def test_a_hole_is_outside_whichever_way_its_ring_goes():
    hole = square(-5, 5, 5, 15)
    for ring in (hole, hole[::-1]):
        assert share(Geometry.of(polygon(square(-10, 0, 10, 20), ring))) == 12


def test_polygons_that_overlap_are_united():
    both = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": None, "geometry": polygon(square(-10, 0, 10, 20))},
            {
                "type": "Feature",
                "geometry": {"type": "GeometryCollection", "geometries": [polygon(square(0, 0, 20, 20))]},
            },
        ],
    }
    assert share(Geometry.of(both)) == 24


def test_a_triangle_is_half_its_box():
    lons, lats = np.linspace(0.005, 9.995, 1000), np.linspace(0.005, 9.995, 1000)
    triangle = Geometry.of(polygon([[0, 0], [10, 0], [0, 10], [0, 0]]))
    assert triangle.mask(lons, lats).mean() == pytest.approx(0.5, abs=1e-3)


@given(st.lists(st.tuples(st.floats(-180, 180), st.floats(-90, 90)), min_size=3, max_size=12))
def test_a_mask_is_what_contains_says_of_each_place(corners):
    try:
        geometry = Geometry.of(polygon([*map(list, corners), list(corners[0])]))
    except InvalidRequest:
        return
    places = lonlat_of(GRID.lons, GRID.lats)
    mask = geometry.mask(GRID.lons, GRID.lats)
    assert (geometry.contains(places) != mask.ravel()).sum() <= 1  # rounding at an edge


@given(st.floats(-179, 179), st.floats(-89, 89))
def test_what_a_cut_divides_is_inside_once(lon, lat):
    quarters = [(-180, -90, lon, lat), (lon, -90, 180, lat), (-180, lat, lon, 90), (lon, lat, 180, 90)]
    masks = [Geometry.of(polygon(square(*quarter))).mask(GRID.lons, GRID.lats) for quarter in quarters]
    assert (np.sum(masks, axis=0) == 1).all()


@pytest.mark.parametrize(
    ("squares", "expected"),
    [
        ([(0, 0, 10, 10)], (0, 0, 10, 10)),
        ([(0, 0, 10, 10), (5, -5, 20, 5)], (0, -5, 20, 10)),
        ([(170, 0, 180, 10), (-180, 0, -175, 10)], (170, 0, 185, 10)),
        ([(-180, 0, -175, 10), (100, 0, 120, 5), (170, 0, 180, 10)], (100, 0, 185, 10)),
        ([(-180, -90, 180, 90)], (-180, -90, 180, 90)),
        ([(-180, -90, 180, -60), (170, 0, 180, 10)], (-180, -90, 180, 10)),
    ],
)
def test_the_box_of_polygons_is_the_narrowest(squares, expected):
    box = Geometry.of(multi(*(square(*edges) for edges in squares))).bbox
    assert (box.west, box.south, box.east, box.north) == expected


def test_the_area_is_that_of_the_box_less_its_hole():
    geometry = Geometry.of(polygon(square(-180, 0, 180, 90), square(-90, 0, 90, 90)))
    assert geometry.steradians == pytest.approx(math.pi)


@given(st.floats(-180, 180), st.floats(-85, 85), st.floats(0.1, 60), st.floats(0.1, 60))
def test_what_may_hold_nothing_holds_nothing(lon, lat, reach, radius):
    area = Geometry.of(polygon([[-170, -60], [175, -50], [0, 80], [-170, -60]], square(-20, -20, 20, 20)))
    lons = np.linspace(lon - reach, lon + reach, 21)
    lats = np.linspace(max(-90, lat - radius), min(90, lat + radius), 21)
    if area.mask(lons, lats).any():
        assert area.may_hold(lon, lat, reach, radius)


def test_a_box_far_from_every_edge_may_hold_nothing_or_all():
    area = Geometry.of(polygon([[-170, -60], [175, -50], [0, 80], [-170, -60]], square(-20, -20, 20, 20)))
    assert not area.may_hold(0, 0, 10, 10)  # in the hole
    assert not area.may_hold(170, 80, 5, 5)  # in the box of the triangle, but not in it
    assert area.may_hold(0, 50, 1, 1)


NESTED = polygon(square(0, 0, 1, 1))
for _ in range(MAX_DEPTH):
    NESTED = {"type": "GeometryCollection", "geometries": [NESTED]}


@pytest.mark.parametrize(
    ("geojson", "pointer", "message"),
    [
        (None, "/geometry", "is not GeoJSON"),
        ([], "/geometry", "is not GeoJSON"),
        ({}, "/geometry/type", "only Polygon and MultiPolygon"),
        ({"type": ["Polygon"]}, "/geometry/type", "only Polygon"),
        ({"type": "Point", "coordinates": [0, 0]}, "/geometry/type", "'Point'; only Polygon"),
        ({"type": "Feature", "geometry": None}, "/geometry/geometry", "is not GeoJSON"),
        ({"type": "FeatureCollection", "features": []}, "/geometry/features", "not empty"),
        ({"type": "Polygon"}, "/geometry/coordinates", "list of rings"),
        ({"type": "Polygon", "coordinates": [[]]}, "/geometry/coordinates/0", "at least four"),
        (polygon([[0, 0], [1, 0], [1, 1], [0, 1]]), "/geometry/coordinates/0", "not closed"),
        (polygon([[0, 0], [1, 0], [2, 0], [0, 0]]), "/geometry/coordinates/0", "no area"),
        (polygon([[0, 0], [1, 0], "x", [0, 0]]), "/geometry/coordinates/0/2", "position"),
        (polygon([[0, 0], [1, "0"], [1, 1], [0, 0]]), "/geometry/coordinates/0/1", "of numbers"),
        (polygon([[0, 0], [1, True], [1, 1], [0, 0]]), "/geometry/coordinates/0/1", "of numbers"),
        (polygon([[0, 0], [1, math.nan], [1, 1], [0, 0]]), "/geometry/coordinates/0/1", "outside"),
        (polygon([[170, 0], [190, 0], [190, 10], [170, 0]]), "/geometry/coordinates/0/1", "cut what crosses"),
        (polygon([[0, 0], [10**400, 0], [1, 1], [0, 0]]), "/geometry/coordinates/0", "too large"),
        (NESTED, "/geometry" + "/geometries/0" * MAX_DEPTH, "deep"),
        (polygon([[0, 0]] + [[i % 7, i % 5] for i in range(MAX_VERTICES)] + [[0, 0]]), "/geometry", "simplify"),
    ],
)
def test_what_is_no_area_is_refused_by_name(geojson, pointer, message):
    with pytest.raises(InvalidRequest, match=message) as refused:
        Geometry.of(geojson)
    assert refused.value.items[0].pointer == pointer
