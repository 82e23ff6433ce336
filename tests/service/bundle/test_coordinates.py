import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bundle import CoordinateError, LonLat

LON = st.floats(-360, 360)
LAT = st.floats(-90, 90)
PLACES = st.lists(st.tuples(LON, LAT), min_size=1, max_size=30)
ANYTHING = st.lists(st.tuples(st.floats(), st.floats()), min_size=1, max_size=60)


def bits(places):
    return places.degrees.tobytes()


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ([200, 10], [-160, 10]),
        ([-200, 10], [160, 10]),
        ([270, 10], [-90, 10]),
        ([180, 10], [-180, 10]),
        ([360, 10], [0, 10]),
        ([-360, 10], [0, 10]),
        ([-0.0, -0.0], [0.0, 0.0]),
        ([77, 90], [0, 90]),
        ([-180, -90], [0, -90]),
        ([359.5, 0], [-0.5, 0]),
    ],
)
def test_two_ways_to_write_a_place_are_one_bit_pattern(written, canonical):
    places = LonLat.from_degrees([written])
    assert places.degrees.tolist() == [canonical]
    assert bits(places) == bits(LonLat.from_degrees([canonical]))


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ([180, 10], [180, 10]),
        ([77, 90], [77, 90]),
        ([-180, -90], [-180, -90]),
        ([200, 10], [-160, 10]),
        ([200, 90], [0, 90]),
        ([12, 34], [12, 34]),
    ],
)
def test_what_was_written_is_kept_within_180(written, kept):
    assert LonLat.from_degrees([[1, 2], written]).as_written.tolist() == [[1, 2], kept]


@given(PLACES)
def test_what_was_written_is_another_name_of_the_same_place(places):
    once = LonLat.from_degrees(places)
    assert bits(LonLat.from_degrees(once.as_written)) == bits(once)
    assert (np.abs(once.as_written[:, 0]) <= 180).all()


@given(PLACES, st.integers(1, 29))
def test_places_put_together_again_are_what_they_were(places, at):
    once = LonLat.from_degrees(places)
    again = LonLat.concatenate([once[:at], once[at:]])
    assert bits(again) == bits(once)
    assert again.as_written.tobytes() == once.as_written.tobytes()


@given(lon=st.integers(-360, 0), lat=LAT)
def test_a_whole_turn_changes_nothing(lon, lat):
    assert bits(LonLat.from_degrees([[lon, lat]])) == bits(LonLat.from_degrees([[lon + 360, lat]]))


@given(lon=LON, pole=st.sampled_from([-90.0, 90.0]))
def test_a_pole_is_one_place_whatever_the_longitude(lon, pole):
    assert bits(LonLat.from_degrees([[lon, pole]])) == bits(LonLat.from_degrees([[0, pole]]))


@given(PLACES)
def test_canonical_degrees_are_in_range_without_a_negative_zero(places):
    lon, lat = LonLat.from_degrees(places).degrees.T
    assert ((lon >= -180) & (lon < 180) & (np.abs(lat) <= 90)).all()
    assert not np.signbit(lon[lon == 0]).any()
    assert not np.signbit(lat[lat == 0]).any()


@given(PLACES)
def test_canonicalising_twice_changes_nothing(places):
    once = LonLat.from_degrees(places)
    assert bits(LonLat.from_degrees(once.degrees)) == bits(once)


@given(PLACES)
def test_canonicalising_moves_no_place(places):
    given_lon, given_lat = np.array(places, np.float64).T
    lon, lat = LonLat.from_degrees(places).degrees.T
    turned = np.radians(lon - given_lon)
    np.testing.assert_array_equal(lat, given_lat)
    np.testing.assert_allclose(np.cos(turned[np.abs(lat) < 90]), 1, atol=1e-12)


@given(ANYTHING)
def test_any_numbers_are_places_or_an_error_that_counts_and_names_every_wrong_row(rows):
    wrong = [
        i for i, (lon, lat) in enumerate(rows) if not (abs(lon) <= 360 and abs(lat) <= 90)
    ]  # a comparison with NaN is False
    if not wrong:
        assert len(LonLat.from_degrees(rows)) == len(rows)
        return
    with pytest.raises(CoordinateError) as caught:
        LonLat.from_degrees(rows)
    assert caught.value.total == len(wrong)
    assert [problem.index for problem in caught.value.problems] == wrong[:20]


@pytest.mark.parametrize(
    ("row", "axis", "message"),
    [
        ([float("nan"), 0], 0, "lon is nan; it must be finite"),
        ([0, float("nan")], 1, "lat is nan; it must be finite"),
        ([float("inf"), 0], 0, "lon is inf; it must be finite"),
        ([0, float("-inf")], 1, "lat is -inf; it must be finite"),
        ([360.5, 0], 0, "lon 360.5 is outside -360 to 360"),
        ([-361, 0], 0, "lon -361 is outside -360 to 360"),
        ([100, 95], 1, "lat 95 is outside -90 to 90"),
        ([0, 1e300], 1, "lat 1e+300 is outside -90 to 90"),
        ([100, 90.0000001], 1, "lat 90.0000001 is outside -90 to 90"),
        ([360.0000001, 0], 0, "lon 360.0000001 is outside -360 to 360"),
    ],
)
def test_a_problem_says_which_row_which_axis_and_why(row, axis, message):
    with pytest.raises(CoordinateError, match=r"^row 1: ") as caught:
        LonLat.from_degrees([[0, 0], row])
    (problem,) = caught.value.problems
    assert (problem.index, problem.axis, problem.message) == (1, axis, message)


@pytest.mark.parametrize(
    ("row", "helps"),
    [([39.9, 116.4], True), ([-90, 360], True), ([91, 116.4], False), ([10, 361], False), ([400, 10], False)],
)
def test_swapping_is_proposed_only_where_it_would_help(row, helps):
    with pytest.raises(CoordinateError) as caught:
        LonLat.from_degrees([row])
    assert ("look swapped" in str(caught.value)) == helps
    if helps:
        LonLat.from_degrees([row[::-1]])


def test_at_most_twenty_problems_are_held_and_all_are_counted():
    with pytest.raises(CoordinateError, match=r"\(and 99 more\)") as caught:
        LonLat.from_degrees(np.full((100, 2), np.nan))
    assert len(caught.value.problems) == 20
    assert caught.value.total == 100


@pytest.mark.parametrize("shape", [(2,), (3, 3), (0,), (2, 1), (1, 2, 2), ()])
def test_another_shape_is_refused_by_name(shape):
    with pytest.raises(ValueError, match=r"shape \(n, 2\)"):
        LonLat.from_degrees(np.zeros(shape))


@pytest.mark.parametrize(
    "values", [[["1", "2"]], [[True, False]], [[1j, 0]], [[None, 0]], [[2**70, 0]], np.array([[b"1", b"2"]])]
)
def test_what_is_not_numbers_is_refused(values):
    with pytest.raises(ValueError, match="must be numbers"):
        LonLat.from_degrees(values)


def test_ragged_rows_are_refused():
    with pytest.raises(ValueError, match="inhomogeneous"):
        LonLat.from_degrees([[1, 2], [3]])


def test_a_big_integer_is_out_of_bounds_rather_than_an_overflow():
    with pytest.raises(CoordinateError, match="lon"):
        LonLat.from_degrees([[2**62, 0]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.int64, np.uint8, ">f8"])
def test_every_kind_of_number_becomes_float64(dtype):
    places = LonLat.from_degrees(np.array([[120, 45]], dtype))
    assert places.degrees.dtype == np.float64
    assert places.degrees.tolist() == [[120, 45]]


def test_no_places_are_fine():
    assert LonLat.from_degrees(np.empty((0, 2))).degrees.shape == (0, 2)


@pytest.mark.parametrize("rows", [slice(None), slice(1, 3), slice(None, None, 2), np.array([2, 0])])
def test_places_and_any_selection_of_them_are_read_only_and_contiguous(rows):
    places = LonLat.from_degrees(np.arange(8.0).reshape(2, 4).T)[rows]
    assert places.degrees.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        places.degrees[0, 0] = 1


def test_the_callers_array_is_left_as_it_was():
    given_array = np.array([[200.0, 10.0]])
    LonLat.from_degrees(given_array)
    given_array += 1
    assert given_array.tolist() == [[201, 11]]
