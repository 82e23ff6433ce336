import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.bundle import LonLat
from service.errors import InvalidRequest
from service.maps.grid import MAX_SIDE, BBox, Grid, lonlat_of

LON, LAT = st.floats(-360, 360), st.floats(-90, 90)


def shape_of(values):
    box = BBox.of(values)
    return box.west, box.south, box.east, box.north


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([-180, -90, 180, 90], (-180, -90, 180, 90)),
        ([100, 20, 140, 50], (100, 20, 140, 50)),
        ([170, -10, -170, 10], (170, -10, 190, 10)),
        ([170, -10, 190, 10], (170, -10, 190, 10)),
        ([-190, -10, -170, 10], (170, -10, 190, 10)),
        ([0, -90, 360, 90], (0, -90, 360, 90)),
        ([180, 0, -170, 1], (-180, 0, -170, 1)),
        ([350, 0, -350, 1], (-10, 0, 10, 1)),
    ],
)
def test_a_box_is_one_interval_wherever_it_lies(given, expected):
    assert shape_of(given) == expected
    assert BBox.of(given).crosses_antimeridian == (expected[2] > 180)


@pytest.mark.parametrize(
    ("given", "pointer", "message"),
    [
        ([0, 0, 1], "/bbox", "not 3 numbers"),
        ([0, 10, 1, 5], "/bbox", "south 10 is north of north 5"),
        ([0, 5, 1, 5], "/bbox", "0 high"),
        ([7, 0, 7, 5], "/bbox", "0 wide"),
        ([180, 0, -180, 5], "/bbox", "0 wide"),
        ([-200, 0, 200, 5], "/bbox", "400 degrees wide"),
        ([math.nan, 0, 1, 5], "/bbox/0", "west is nan; it must be finite"),
        ([0, 0, math.inf, 5], "/bbox/2", "east is inf"),
        ([0, -90.5, 1, 5], "/bbox/1", "south -90.5 is outside -90 to 90"),
        ([0, 0, 361, 5], "/bbox/2", "outside -360 to 360"),
    ],
)
def test_what_is_no_box_is_refused_by_name(given, pointer, message):
    with pytest.raises(InvalidRequest, match=message) as refused:
        BBox.of(given)
    assert refused.value.items[0].pointer == pointer


@given(LON, LAT, LON, LAT)
def test_any_four_numbers_in_range_are_a_box_or_an_error(west, south, east, north):
    try:
        box = BBox.of([west, south, east, north])
    except InvalidRequest:
        return
    assert -180 <= box.west < 180
    assert 0 < box.width <= 360
    assert box.south < box.north


def test_the_globe_has_four_pi_steradians_and_a_hemisphere_half():
    assert BBox.of([-180, -90, 180, 90]).steradians == pytest.approx(4 * math.pi)
    assert BBox.of([20, 0, -160, 90]).steradians == pytest.approx(math.pi)


@given(st.floats(-180, 180), LAT, st.floats(-179, 179), st.floats(-89, 89))
def test_two_boxes_that_meet_share_no_place_and_leave_none_out(lon, lat, cut_lon, cut_lat):
    place = LonLat.from_degrees([[lon, lat]])
    assume(cut_lon > -179)
    quarters = [
        [-180, -90, cut_lon, cut_lat],
        [cut_lon, -90, 180, cut_lat],
        [-180, cut_lat, cut_lon, 90],
        [cut_lon, cut_lat, 180, 90],
    ]
    holding = sum(bool(BBox.of(quarter).contains(place)[0]) for quarter in quarters)
    assert holding == (1 if abs(lat) < 90 else 2)  # a pole is in every box that reaches it


def test_pixels_fill_the_box_north_up():
    grid = Grid.of_bbox(BBox.of([170, -90, -170, 90]), 4, 2)
    assert grid.lons.tolist() == [172.5, 177.5, 182.5, 187.5]
    assert grid.lats.tolist() == [45, -45]
    assert grid.bounds == (170, -90, 190, 90)
    assert (grid.width, grid.height, len(grid)) == (4, 2, 8)


@pytest.mark.parametrize(("width", "height"), [(0, 1), (1, -3), (MAX_SIDE + 1, 1), (1, 10**12)])
def test_sides_have_bounds(width, height):
    with pytest.raises(InvalidRequest, match=f"from 1 to {MAX_SIDE}"):
        Grid.of_bbox(BBox.of([0, 0, 1, 1]), width, height)


def test_places_of_a_grid_are_canonical_whatever_turn_their_longitudes_are_on():
    lonlat = lonlat_of(np.array([170.0, 190.0, 530.0]), np.array([90.0, 0.0]))
    assert lonlat.degrees.tolist() == [[0, 90], [0, 90], [0, 90], [170, 0], [-170, 0], [170, 0]]
