import h3.api.basic_int as h3
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bundle import LonLat
from service.embedding.cells import cell_strings, cells_of, centres_of, first_invalid, parse_cell

RESOLUTIONS = range(16)
RESOLUTION = st.integers(0, 15)
PLACE = st.tuples(st.floats(-360, 360), st.floats(-90, 90))
CORNERS = [(0, 90), (123, -90), (180, 0), (-180, 45), (179.9999999, -16.5), (-179.9999999, 65), (0, 0), (-0.0, -0.0)]
BEIJING = h3.latlng_to_cell(39.9, 116.4, 10)


def array(*cells):
    return np.array(cells, np.uint64)


def assert_cells_agree_with_h3(rows, resolution):
    places = LonLat.from_degrees(rows)
    expected = [h3.latlng_to_cell(lat, lon, resolution) for lon, lat in places.degrees.tolist()]
    cells = cells_of(places, resolution)
    assert cells.dtype == np.uint64
    assert cells.tolist() == expected


def assert_centres_snap_to_their_own_cell(cells, resolution):
    np.testing.assert_array_equal(cells_of(centres_of(cells), resolution), cells)


@given(st.lists(PLACE, min_size=1, max_size=20), RESOLUTION)
def test_cells_are_those_of_h3(rows, resolution):
    assert_cells_agree_with_h3(rows, resolution)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_cells_are_those_of_h3_at_the_poles_and_the_antimeridian(resolution):
    assert_cells_agree_with_h3(CORNERS, resolution)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
@pytest.mark.parametrize("pair", [[(180, 12), (-180, 12)], [(200, 5), (-160, 5)], [(10, 90), (99, 90)]])
def test_two_ways_to_write_a_place_have_one_cell(pair, resolution):
    one, other = cells_of(LonLat.from_degrees(pair), resolution)
    assert one == other


@given(st.lists(PLACE, min_size=1, max_size=20), RESOLUTION)
def test_centres_are_those_of_h3(rows, resolution):
    cells = cells_of(LonLat.from_degrees(rows), resolution)
    expected = LonLat.from_degrees([h3.cell_to_latlng(cell)[::-1] for cell in cells.tolist()])
    np.testing.assert_array_equal(centres_of(cells).degrees, expected.degrees)


@given(st.lists(PLACE, min_size=1, max_size=50), RESOLUTION)
def test_the_centre_of_a_cell_lies_in_that_cell(rows, resolution):
    assert_centres_snap_to_their_own_cell(cells_of(LonLat.from_degrees(rows), resolution), resolution)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_the_centre_of_a_cell_lies_in_that_cell_everywhere_on_earth(resolution):
    rng = np.random.default_rng(resolution)
    everywhere = np.stack([rng.uniform(-180, 180, 3000), np.degrees(np.arcsin(rng.uniform(-1, 1, 3000)))], axis=1)
    polar = np.stack([rng.uniform(-180, 180, 300), rng.choice([-1, 1], 300) * rng.uniform(89.99, 90, 300)], axis=1)
    date_line = np.stack([180 + rng.normal(0, 1e-4, 300), rng.uniform(-90, 90, 300)], axis=1)
    places = LonLat.from_degrees(np.concatenate([everywhere, polar, date_line, CORNERS]))
    assert_centres_snap_to_their_own_cell(cells_of(places, resolution), resolution)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_the_centre_of_a_pentagon_and_of_its_neighbours_lies_in_that_cell(resolution):
    neighbours = {cell for pentagon in h3.get_pentagons(resolution) for cell in h3.grid_disk(pentagon, 2)}
    assert_centres_snap_to_their_own_cell(array(*neighbours), resolution)


def test_no_places_have_no_cells_and_no_cells_no_centres():
    assert cells_of(LonLat.from_degrees(np.empty((0, 2))), 10).shape == (0,)
    assert centres_of(array()).degrees.shape == (0, 2)


@given(PLACE, RESOLUTION)
def test_a_cell_written_as_text_is_read_back(place, resolution):
    cells = cells_of(LonLat.from_degrees([place]), resolution)
    (text,) = cell_strings(cells)
    assert text == h3.int_to_str(int(cells[0]))
    assert parse_cell(text) == parse_cell(text.upper()) == cells[0]


@given(st.text() | st.text(alphabet="0123456789abcdefxABCDEF-+_ \0\n", max_size=40) | st.from_regex(r"[-+]?[0-9a-f]+"))
def test_any_text_is_a_valid_cell_or_none(text):
    cell = parse_cell(text)
    assert cell is None or (h3.is_valid_cell(cell) and int(text, 16) == cell)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-1",
        "f" * 16,
        "f" * 4000,
        f"0x{BEIJING:x}",
        f" {BEIJING:x}",
        f"{BEIJING:x}\n",
        f"+{BEIJING:x}",
        f"{BEIJING:x}"[:-1],
        f"1{0:x}{BEIJING:x}",
        str(BEIJING),
        "\uff18a318520cdb7fff",
        "\ud800",
        "\0",
    ],
)
def test_text_that_is_nearly_a_cell_is_none(text):
    assert parse_cell(text) is None


@pytest.mark.parametrize(
    "index", [h3.origin_to_directed_edges(BEIJING)[0], h3.cell_to_vertexes(BEIJING)[0]], ids=["edge", "vertex"]
)
def test_an_h3_index_that_is_no_cell_is_refused(index):
    assert h3.is_valid_index(index)
    assert parse_cell(f"{index:x}") is None
    assert first_invalid(array(BEIJING, index)) == 1


@pytest.mark.parametrize(
    ("cells", "row"),
    [([], None), ([BEIJING], None), ([0, BEIJING], 0), ([BEIJING, BEIJING, 2**64 - 1, 0], 2), ([2**63], 0)],
)
def test_the_first_row_that_is_no_cell_is_named(cells, row):
    assert first_invalid(array(*cells)) == row
