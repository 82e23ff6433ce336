import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.maps.antimeridian import unwrapped, within_the_map


def box(west, south, east, north):
    return np.array([[west, south], [east, south], [east, north], [west, north]], float)


def area(ring):
    x, y = ring.T
    return abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2


@given(st.floats(-180, 180), st.floats(1, 170), st.floats(-80, 70), st.floats(1, 10))
def test_a_box_keeps_its_area_wherever_it_is_cut(west, width, south, height):
    corners = box(west, south, west + width, south + height)
    written = corners.copy()
    written[:, 0] = (written[:, 0] + 180) % 360 - 180
    ring, turn = unwrapped(written)
    parts = within_the_map(ring)
    assert turn == 0
    assert all((np.abs(part[:, 0]) <= 180 + 1e-9).all() for part in parts)
    np.testing.assert_allclose(sum(map(area, parts)), width * height, rtol=1e-6, atol=1e-6)


def test_a_ring_around_a_pole_turns_once():
    lons = np.arange(-180, 180, 30.0)
    eastwards = np.column_stack([lons, np.full(len(lons), -70.0)])
    assert unwrapped(eastwards)[1] == 1
    assert unwrapped(eastwards[::-1])[1] == -1
