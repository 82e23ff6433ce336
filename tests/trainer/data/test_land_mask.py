"""The mask of land: made of polygons, encoded, read by the service, and compared with the polygons."""

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from typer.testing import CliRunner

from service.geography.land import Land
from trainer.cli.data import data
from trainer.data.land_mask import encoded, land_mask, share_wrong
from trainer.data.polygons import read_polygons
from trainer.errors import TableError


def box(west, south, east, north):
    return np.array([[west, south], [east, south], [east, north], [west, north], [west, south]], float)


def served(content):
    """As `service.geography.land.read_land` reads the mask that ships."""
    return Land.read(io.BytesIO(content))


def centres(rows, columns):
    lat = 90 - (np.arange(rows) + 0.5) * 180 / rows
    lon = -180 + (np.arange(columns) + 0.5) * 360 / columns
    return np.stack(np.meshgrid(lon, lat), axis=-1).reshape(-1, 2)


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_the_service_reads_any_mask_as_it_was(mask):
    np.testing.assert_array_equal(served(encoded(mask)).holds(centres(*mask.shape)), mask.reshape(-1))


def test_cells_whose_centre_is_in_a_polygon_and_not_in_its_hole_are_land():
    mask = land_mask([[box(0, 0, 30, 30), box(10, 10, 20, 20)], [box(170, -20, 190, -10)]], cells_per_degree=2)
    assert mask.shape == (360, 720)
    inside = served(encoded(mask)).holds(np.array([[5.0, 5], [15, 15], [25, 25], [-5, 5], [-175, -15], [175, -15.0]]))
    assert inside.tolist() == [True, False, True, False, True, True]
    assert mask.sum() == 4 * (900 - 100 + 200)


def test_a_mask_that_is_fine_enough_is_hardly_ever_wrong():
    """A diamond has edges that cut cells in two: 160 of one degree, each of which is half wrong."""
    diamond = [np.array([[0, -40], [40, 0], [0, 40], [-40, 0], [0, -40]], float)]
    places = np.random.default_rng(0).uniform((-45, -45), (45, 45), (100_000, 2))
    wrong = [share_wrong(land_mask([diamond], cells), [diamond], places) for cells in (1, 2, 8)]
    assert wrong[0] == pytest.approx(160 / 2 / 90**2, rel=0.2)
    assert wrong[2] < wrong[1] < wrong[0]
    assert wrong[2] == pytest.approx(wrong[0] / 8, rel=0.3)


@pytest.mark.parametrize("kind", ["GeoJSON", "TopoJSON"])
def test_the_command_writes_what_the_service_reads_and_says_how_often_it_is_wrong(tmp_path, kind):
    ring = box(-60, -30, 60, 30).tolist()
    if kind == "GeoJSON":
        content = {"features": [{"geometry": {"type": "Polygon", "coordinates": [ring]}}], "type": "FeatureCollection"}
    else:
        land = {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "arcs": [[0]]}]}
        content = {"type": "Topology", "objects": {"land": land}, "arcs": [ring]}
    (tmp_path / "land.json").write_text(json.dumps(content))
    arguments = [
        "land-mask",
        str(tmp_path / "land.json"),
        "--out",
        str(tmp_path / "land.npz"),
        "--cells-per-degree",
        "1",
    ]
    result = CliRunner().invoke(data, arguments)
    assert result.exit_code == 0, result.output
    assert "wrong at 0.000% of 1,000,000 places" in result.output
    mask = served((tmp_path / "land.npz").read_bytes())
    assert mask.holds(np.array([[0.5, 0.5], [60.5, 0.5], [0.5, -30.5]])).tolist() == [True, False, False]


def test_polygons_need_no_name(tmp_path):
    path = tmp_path / "land.json"
    feature = {"geometry": {"type": "Polygon", "coordinates": [box(0, 0, 1, 1).tolist()]}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    (polygon,) = read_polygons(path)
    np.testing.assert_array_equal(polygon[0], box(0, 0, 1, 1))
    path.write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    with pytest.raises(TableError, match="holds no polygons"):
        read_polygons(path)


@given(st.integers(0, 3))
def test_a_ring_without_area_is_no_land(positions):
    assert not land_mask([[box(0, 0, 9, 9)[:positions]], [box(-9, -9, -8, -8)]], 1)[:90].any()
