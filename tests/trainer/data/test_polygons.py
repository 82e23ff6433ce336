"""Polygons as a globe of names: across the antimeridian, around a pole, with holes, from GeoJSON and TopoJSON."""

import json

import pytest
import torch

from trainer.data.polygons import read_areas
from trainer.errors import TableError


def feature(name, *rings, kind="Polygon"):
    return {
        "type": "Feature",
        "properties": {"name": name},
        "geometry": {"type": kind, "coordinates": [list(rings)] if kind == "MultiPolygon" else list(rings)},
    }


def box(west, south, east, north):
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def names_at(path, *places, name_property="name"):
    areas = read_areas(path, name_property)
    values = areas.raster.pixels(torch.tensor(places).double())[:, 0].tolist()
    return [areas.labels.get(value) for value in values]


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "areas.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_boxes_holes_and_parts(write):
    path = write(
        {
            "type": "FeatureCollection",
            "features": [
                feature("ring", box(0, 0, 30, 30), box(10, 10, 20, 20)),
                feature("part", box(-50, -20, -40, -10), kind="MultiPolygon"),
                {
                    "type": "Feature",
                    "properties": None,
                    "geometry": {"type": "Polygon", "coordinates": [box(60, 0, 70, 9)]},
                },
                {
                    "type": "Feature",
                    "properties": {"name": "a point"},
                    "geometry": {"type": "Point", "coordinates": [1, 2]},
                },
                {"type": "Feature", "properties": {"name": "nothing"}, "geometry": None},
            ],
        }
    )
    found = names_at(path, [5.0, 5.0], [15.0, 15.0], [-45.0, -15.0], [100.0, 0.0], [65.0, 5.0])
    assert found == ["ring", None, "part", None, None]


@pytest.mark.parametrize(
    "ring",
    [
        [[170, 10], [-170, 10], [-170, 20], [170, 20], [170, 10]],
        [[-170, 10], [-170, 20], [170, 20], [170, 10], [-170, 10]],
        [[170, 10], [190, 10], [190, 20], [170, 20], [170, 10]],
    ],
)
def test_a_ring_across_the_antimeridian_does_not_go_around_the_world(write, ring):
    path = write({"type": "FeatureCollection", "features": [feature("fiji", ring)]})
    assert names_at(path, [175.0, 15.0], [-175.0, 15.0], [0.0, 15.0], [160.0, 15.0]) == ["fiji", "fiji", None, None]


@pytest.mark.parametrize("lat", [-70, 75])
def test_a_ring_around_a_pole_holds_the_pole(write, lat):
    ring = [[lon, lat] for lon in range(-180, 181, 10)]
    path = write({"type": "FeatureCollection", "features": [feature("cap", ring)]})
    pole = 89.9 if lat > 0 else -89.9
    assert names_at(path, [0.0, pole], [-179.9, pole], [120.0, lat + (1 if lat > 0 else -1)], [0.0, 0.0]) == [
        *["cap"] * 3,
        None,
    ]


def test_topojson_arcs_are_shared_reversed_and_delta_encoded(write):
    """Two boxes with one side in common: x 0..10 and 10..20, y 0..10, quantized at 0.5."""
    topology = {
        "type": "Topology",
        "transform": {"scale": [0.5, 0.5], "translate": [0, 0]},
        "arcs": [
            [[20, 0], [0, 20]],  # the side: (10, 0) to (10, 10)
            [[20, 20], [-20, 0], [0, -20], [20, 0]],  # the rest of the west box
            [[20, 0], [20, 0], [0, 20], [-20, 0]],  # the rest of the east box
        ],
        "objects": {
            "countries": {
                "type": "GeometryCollection",
                "geometries": [
                    {"type": "Polygon", "arcs": [[0, 1]], "properties": {"name": "west"}},
                    {"type": "MultiPolygon", "arcs": [[[2, -1]]], "properties": {"name": "east"}},
                ],
            },
            "land": {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "arcs": [[0, 1]]}]},
        },
    }
    assert names_at(write(topology), [5.0, 5.0], [15.0, 5.0], [25.0, 5.0]) == ["west", "east", None]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "is neither GeoJSON nor TopoJSON"),
        ("[1, 2]", "is neither GeoJSON nor TopoJSON"),
        ({"type": "FeatureCollection"}, "is neither GeoJSON nor TopoJSON"),
        ({"type": "FeatureCollection", "features": []}, "holds no polygons with a property 'name'"),
        (
            {"type": "FeatureCollection", "features": [{"geometry": {"type": "Polygon", "coordinates": 5}}]},
            "is neither GeoJSON nor TopoJSON",
        ),
        ({"type": "FeatureCollection", "features": [feature("x", [[0, "a"]])]}, "is neither GeoJSON nor TopoJSON"),
    ],
)
def test_what_are_no_polygons_is_one_line(write, content, message):
    with pytest.raises(TableError, match=message) as raised:
        read_areas(write(content), "name")
    assert "\n" not in str(raised.value)
