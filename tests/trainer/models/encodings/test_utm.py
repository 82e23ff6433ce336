import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.models.encodings.utm import (
    COLUMNS,
    NORTH_CAP,
    SOUTH_CAP,
    ZONES,
    UtmOneHot,
    UtmSoft,
    utm_metres,
    utm_zone,
    zone_extent,
)

BANDS = "CDEFGHJKLMNPQRSTUVWX"


def places(*lonlat: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(lonlat, dtype=torch.float64)


def zone_name(lon: float, lat: float) -> str:
    zone = int(utm_zone(places((lon, lat)))[0, 0])
    band, column = divmod(zone, COLUMNS)
    return {SOUTH_CAP: "south", NORTH_CAP: "north"}.get(zone) or f"{column + 1}{BANDS[band]}"


@pytest.mark.parametrize(
    ("lon", "lat", "name"),
    [
        (2.2945, 48.8582, "31U"),
        (103.76, 1.32, "48N"),
        (-180, 0, "1N"),
        (180, 0, "1N"),
        (179.9999, -0.0001, "60M"),
        (0, -80, "31C"),
        (0, -80.0001, "south"),
        (0, 83.999, "31X"),
        (0, 84, "north"),
        (-77, 90, "north"),
        (13, -90, "south"),
        (5, 60, "32V"),
        (2.9, 60, "31V"),
        (5, 55.9, "31U"),
        (8.9, 75, "31X"),
        (9, 75, "33X"),
        (20.9, 75, "33X"),
        (21, 75, "35X"),
        (33, 75, "37X"),
        (41.9, 75, "37X"),
        (42, 75, "38X"),
        (-0.1, 75, "30X"),
    ],
)
def test_zones(lon, lat, name):
    assert zone_name(lon, lat) == name


@given(lon=st.floats(-180, 180), lat=st.floats(-90, 90))
def test_onehot_is_one_zone_the_same_on_every_turn(lon, lat):
    here, there = UtmOneHot()(places((lon, lat), (lon + 360, lat)))
    assert here.sum() == 1
    assert int(here.argmax()) == int(utm_zone(places((lon, lat)))[0, 0])
    if abs(lon / 3 - round(lon / 3)) > 1e-9:  # on an edge, a turn may round to the other side
        assert torch.equal(here, there)


@pytest.mark.parametrize(
    ("lon", "lat", "east", "north"),
    [
        (2.2945, 48.8582, 448251.8 - 500000, 5411932.7),  # the Eiffel tower
        (9.0, 0.0, 0.0, 0.0),
        (9.0, 45.0, 0.0, 0.9996 * 4984944.378),  # the meridian's quarter, Snyder 1987, table 3
    ],
)
def test_metres(lon, lat, east, north):
    lonlat = places((lon, lat))
    np.testing.assert_allclose(utm_metres(lonlat, utm_zone(lonlat)), [[east, north]], rtol=0, atol=0.1)


def test_every_place_lies_within_its_zones_extent():
    unit = np.random.default_rng(0).random((20_000, 2))
    lonlat = torch.tensor(unit * [360, 180] - [180, 90])
    zone = utm_zone(lonlat)
    extents = torch.tensor([zone_extent(int(z)) for z in zone[:, 0]], dtype=torch.float64)
    metres = utm_metres(lonlat, zone)
    share = (metres - extents[:, [0, 2]]) / extents[:, [1, 3]]
    assert (share > -1e-3).all()
    assert (share < 1 + 1e-3).all()


def test_soft_cells_fall_off_with_distance():
    encoding = UtmSoft(cells=20, sigma_m=20_000).double()
    lonlat = places((9.0, 44.0))
    west, width, south, height = zone_extent(int(utm_zone(lonlat)[0, 0]))
    east, north = utm_metres(lonlat, utm_zone(lonlat))[0].tolist()
    kernel = encoding(lonlat)[0, ZONES:].view(20, 20)
    for column, row in ((0, 0), (9, 13), (19, 4)):
        x, y = west + width * (column + 0.5) / 20, south + height * (row + 0.5) / 20
        assert kernel[column, row] == pytest.approx(np.exp(-np.hypot(x - east, y - north) / 20_000))


@pytest.mark.parametrize("pole", [-90.0, 90.0])
def test_poles_have_one_soft_encoding(pole):
    rows = UtmSoft()(places(*((lon, pole) for lon in (-180, -77.7, 0, 13, 180))))
    assert (rows - rows[0]).abs().max() == 0
