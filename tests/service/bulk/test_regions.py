"""What a region may be called, and which places are in it."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from service.bulk.countries import BORDERS, CODES, country
from service.bulk.regions import WORLD, region_of
from service.bundle import LonLat
from service.errors import InvalidRequest
from service.maps.grid import BBox
from service.web.built import FOLDER

built = pytest.mark.skipif(not any(FOLDER.glob(BORDERS)), reason="the map page, whose borders these are, is not built")
KM2_PER_STERADIAN = 6371.0**2


def holds(area, lon, lat):
    return bool(area.contains(LonLat.from_degrees([[lon, lat]]))[0])


def test_the_world_is_the_whole_sphere():
    assert region_of("World").area == WORLD
    assert WORLD.steradians == pytest.approx(4 * np.pi)
    assert holds(WORLD, 0, 90)
    assert holds(WORLD, -180, -90)


@pytest.mark.parametrize("text", ["170,-20,-170,20", " 170, -20, -170, 2e1 "])
def test_a_box_is_west_south_east_north(text):
    assert region_of(text).area == BBox(170, -20, 190, 20)


@pytest.mark.parametrize(("text", "message"), [("1,2,3", "3 numbers"), ("0,10,5,5", "north"), ("0,0,0,999", "outside")])
def test_a_box_that_is_none_is_refused(text, message):
    with pytest.raises(InvalidRequest, match=message):
        region_of(text)


@built
@pytest.mark.parametrize("name", ["France", "france", "FR", "fra", "250"])
def test_a_country_has_many_names_and_one_digest(name):
    assert region_of(name).digest == region_of("France").digest


@built
@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("RU", [(37.6, 55.7), (179, 66), (-179, 66.5)], [(0, 55), (-179, 50)]),
        ("Fiji", [(179.3, -16.5), (-179.95, -16.75)], [(178, -30)]),
        ("Antarctica", [(0, -90), (0, -89.9999), (179.99, -85), (-179.99, -85)], [(0, -60)]),
        ("ZA", [(25, -29)], [(28, -29.5)]),  # Lesotho is a hole
        ("US", [(-100, 40), (173, 52.9), (-155.5, 19.6)], [(-100, 52)]),
    ],
)
def test_a_country_holds_what_is_within_its_borders(name, inside, outside):
    area = country(name)
    assert all(holds(area, *place) for place in inside)
    assert not any(holds(area, *place) for place in outside)


@built
@pytest.mark.parametrize(
    ("name", "km2"), [("FR", 640e3), ("RU", 16.9e6), ("AQ", 12.3e6), ("ZA", 1.22e6), ("CA", 9.9e6), ("AU", 7.7e6)]
)
def test_a_country_has_its_area(name, km2):
    assert country(name).steradians * KM2_PER_STERADIAN == pytest.approx(km2, rel=0.02)


@built
def test_every_country_has_a_shape_and_every_number_that_has_one_a_code():
    topology = json.loads(next(FOLDER.glob(BORDERS)).read_bytes())
    countries = topology["objects"]["countries"]["geometries"]
    with CODES.open(newline="") as file:
        numbers = {row["numeric"] for row in csv.DictReader(file)}
    for each in countries:
        assert country(each["properties"]["name"]).steradians > 0
        assert each.get("id") is None or each["id"] in numbers


@built
@pytest.mark.parametrize(
    ("name", "message"), [("Frnace", "is it France"), ("", "is no country"), ("Atlantis", "GeoJSON")]
)
def test_what_is_no_country_gets_a_hint(name, message):
    with pytest.raises(InvalidRequest, match=message):
        region_of(name)


def test_without_the_map_page_there_are_no_countries(tmp_path):
    with pytest.raises(InvalidRequest, match="give a bbox or a GeoJSON file"):
        country("France", tmp_path)


def test_a_file_of_polygons(tmp_path):
    ring = [[0, 0], [10, 0], [10, 10], [0, 0]]
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    region = region_of(str(path))
    assert holds(region.area, 9, 1)
    assert not holds(region.area, 1, 9)
    moved = [[lon + 1, lat] for lon, lat in ring]
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [moved]}))
    assert region_of(str(path)).digest != region.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not GeoJSON"), ('{"type": "Point", "coordinates": [1, 2]}', "only Polygon and MultiPolygon")],
)
def test_a_file_of_something_else_is_refused(tmp_path, text, message):
    path = tmp_path / "area.json"
    path.write_text(text)
    with pytest.raises(InvalidRequest, match=message):
        region_of(str(path))


def test_a_file_that_is_not_there():
    with pytest.raises(FileNotFoundError):
        region_of("nowhere.geojson")
