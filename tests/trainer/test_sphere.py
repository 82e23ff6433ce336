import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.sphere import distance_deg, from_vectors, move, unit_vectors

lons = st.floats(-180, 180)
lats = st.floats(-90, 90)


def place(lon: float, lat: float) -> torch.Tensor:
    return torch.tensor([lon, lat], dtype=torch.float64)


@given(lons, lats, st.floats(0, 170), st.floats(0, 360))
def test_a_move_has_its_length_wherever_it_starts(lon, lat, length, bearing):
    angle = torch.deg2rad(torch.tensor(bearing, dtype=torch.float64))
    moved = move(place(lon, lat), length * torch.stack((angle.sin(), angle.cos())))
    assert float(distance_deg(place(lon, lat), moved)) == pytest.approx(length, abs=1e-6)


@given(lons, lats)
def test_vectors_and_degrees_are_inverse(lon, lat):
    vector = unit_vectors(place(lon, lat))
    torch.testing.assert_close(unit_vectors(from_vectors(vector)), vector, atol=1e-14, rtol=0)


@given(lons, lats)
def test_no_move_is_the_same_place(lon, lat):
    moved = move(place(lon, lat), torch.zeros(2, dtype=torch.float64))
    assert float(distance_deg(place(lon, lat), moved)) < 1e-9


@pytest.mark.parametrize(
    ("start", "east_north", "end"),
    [
        ((0, 0), (10, 0), (10, 0)),
        ((0, 0), (0, 10), (0, 10)),
        ((175, 0), (10, 0), (-175, 0)),
        ((30, 80), (0, 20), (-150, 80)),
        ((0, 90), (1, 0), (90, 89)),
        ((0, 90), (0, 1), (180, 89)),
        ((40, -90), (0, 2), (40, -88)),
    ],
)
def test_moves_in_closed_form(start, east_north, end):
    moved = move(place(*start), torch.tensor(east_north, dtype=torch.float64))
    assert float(distance_deg(moved, place(*end))) < 1e-9


@pytest.mark.parametrize(
    ("a", "b", "degrees"),
    [((0, 0), (90, 0), 90), ((0, 90), (77, -90), 180), ((-179.5, 0), (179.5, 0), 1), ((0, 89), (180, 89), 2)],
)
def test_distances_in_closed_form(a, b, degrees):
    assert float(distance_deg(place(*a), place(*b))) == pytest.approx(degrees, abs=1e-9)


def test_a_millimetre_is_still_a_distance():
    assert float(distance_deg(place(10, 50), place(10, 50 + 1e-8))) == pytest.approx(1e-8, rel=1e-5)
