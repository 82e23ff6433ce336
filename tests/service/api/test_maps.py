"""POST …/map of similarity, predictions and embeddings: rasters, pictures and tables of a region."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rasterio.io import MemoryFile
from starlette.requests import Request
from starlette.testclient import TestClient

from service.api.maps import Drawing
from service.bundle import LonLat
from service.embedding.backends.fake import FakeBackend
from service.embedding.cells import cell_strings, cells_of, centres_of

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # as any picture

SIMILARITY, PREDICTIONS = "/v1/similarity/map", "/v1/predictions/map"
BEIJING = [116.4, 39.9]
TIFF, PNG, GEOJSON = "image/tiff", "image/png", "application/geo+json"
ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
AROUND = {"bbox": [115, 39, 118, 41], "width": 30, "height": 20}
CELLS = {"bbox": [115, 39, 118, 41], "h3_resolution": 5}


def ask(client: TestClient, accept: str, url: str = SIMILARITY, **body: Any) -> Any:
    what = {"reference": BEIJING} if url == SIMILARITY else {"head": "height"}
    answer = client.post(url, json=what | body, headers={"accept": accept})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == accept
    return answer


def raster(client: TestClient, url: str = SIMILARITY, **body: Any) -> np.ndarray:
    """(H, W); NaN where there is no data."""
    with MemoryFile(ask(client, TIFF, url, **body).content) as memory, memory.open() as file:
        assert file.crs.to_string() == "EPSG:4326"
        band = file.read(1, masked=True)
        return band.astype(np.float64).filled(np.nan)


def table(client: TestClient, url: str = SIMILARITY, **body: Any) -> dict[int, Any]:
    content = ask(client, ARROW, url, **body).content
    read = pa.ipc.open_stream(content).read_all()
    assert read.schema.field("h3").type == pa.uint64()
    cells = read["h3"].to_pylist()
    assert len(set(cells)) == len(cells)
    return dict(zip(cells, read["value"].to_pylist(), strict=True))


def similarities(client: TestClient, places: list[list[float]]) -> list[float]:
    answer = client.post("/v1/similarity", json={"reference": BEIJING, "candidates": places})
    return [item["score"] for item in answer.json()["data"]]


def test_each_pixel_is_what_similarity_says_of_its_centre(map_client: TestClient) -> None:
    found = raster(map_client, **AROUND)
    assert found.shape == (20, 30)
    places = [[115 + 3 * (column + 0.5) / 30, 41 - 2 * (row + 0.5) / 20] for row in range(20) for column in range(30)]
    np.testing.assert_allclose(found.ravel(), similarities(map_client, places), atol=1e-6)


def test_a_map_of_a_tiles_box_is_the_tile(map_client: TestClient) -> None:
    content = map_client.get("/v1/similarity/tiles/WorldCRS84Quad/2/5/1.npy?reference=116.4,39.9").content
    found = raster(map_client, bbox=[45, 0, 90, 45], width=256, height=256)
    np.testing.assert_array_equal(found, np.load(io.BytesIO(content))[0])


def test_cells_have_the_value_of_their_centres(map_client: TestClient) -> None:
    values = table(map_client, **CELLS)
    assert len(values) > 100
    centres = centres_of(np.array(list(values), np.uint64))
    np.testing.assert_allclose(list(values.values()), similarities(map_client, centres.degrees.tolist()), atol=1e-6)
    assert (centres.degrees >= [115, 39]).all()
    assert (centres.degrees <= [118, 41]).all()


def test_arrow_parquet_and_geojson_say_the_same(map_client: TestClient) -> None:
    values = table(map_client, **CELLS)
    parquet = pq.read_table(io.BytesIO(ask(map_client, PARQUET, **CELLS).content))
    assert dict(zip(parquet["h3"].to_pylist(), parquet["value"].to_pylist(), strict=True)) == values
    features = json.loads(ask(map_client, GEOJSON, **CELLS).content)["features"]
    assert {int(feature["properties"]["h3"], 16) for feature in features} == values.keys()
    for feature in features:
        assert feature["properties"]["value"] == pytest.approx(values[int(feature["properties"]["h3"], 16)], abs=1e-7)
        assert feature["geometry"]["type"] == "Polygon"


def test_without_a_preference_pixels_are_a_geotiff_and_cells_geojson(map_client: TestClient) -> None:
    for region, media_type in ((AROUND, TIFF), (CELLS, GEOJSON)):
        answer = map_client.post(SIMILARITY, json={"reference": BEIJING, **region})
        assert answer.headers["content-type"] == media_type


def test_a_picture_says_what_its_colours_range_over(map_client: TestClient) -> None:
    answer = ask(map_client, PNG, **AROUND)
    assert answer.headers["x-value-range"] == "-1,1"
    with MemoryFile(answer.content) as memory, memory.open() as picture:
        assert picture.read().shape == (4, 20, 30)
    rescaled = ask(map_client, PNG, **AROUND, rescale="0.5,1", colormap_name="magma")
    assert rescaled.headers["x-value-range"] == "0.5,1"
    assert rescaled.content != answer.content
    assert ask(map_client, PNG, PREDICTIONS, **AROUND).headers["x-value-range"] == "-5,5"


def test_a_heads_map_agrees_with_its_point_values(map_client: TestClient) -> None:
    heights = raster(map_client, PREDICTIONS, **AROUND)
    classes = raster(map_client, PREDICTIONS, head="cover", **AROUND)
    for row, column in ((0, 0), (19, 29), (7, 11)):
        place = f"{115 + 3 * (column + 0.5) / 30!r},{41 - 2 * (row + 0.5) / 20!r}"
        height = map_client.get(f"/v1/predictions/height/point/{place}").json()["value"]
        assert heights[row, column] == pytest.approx(height, abs=1e-5)
        assert classes[row, column] == map_client.get(f"/v1/predictions/cover/point/{place}").json()["value"]


def test_classes_go_by_name_in_tables(map_client: TestClient) -> None:
    assert set(table(map_client, PREDICTIONS, head="cover", **CELLS).values()) <= {"wood", "field", "town"}


def test_over_the_antimeridian_a_map_is_one_piece(map_client: TestClient) -> None:
    across = raster(map_client, bbox=[170, -20, -170, 0], width=40, height=40)
    west = raster(map_client, bbox=[170, -20, 180, 0], width=20, height=40)
    east = raster(map_client, bbox=[-180, -20, -170, 0], width=20, height=40)
    np.testing.assert_allclose(across, np.hstack([west, east]), atol=1e-6)
    assert table(map_client, bbox=[170, -20, -170, 0], h3_resolution=3) == pytest.approx(
        table(map_client, bbox=[170, -20, 180, 0], h3_resolution=3)
        | table(map_client, bbox=[-180, -20, -170, 0], h3_resolution=3),
        abs=1e-6,
    )


def test_the_whole_globe_poles_and_all(map_client: TestClient) -> None:
    found = raster(map_client, bbox=[-180, -90, 180, 90], width=360, height=180)
    assert np.isfinite(found).all()
    assert found.max() == pytest.approx(1, abs=0.01)
    assert len(table(map_client, bbox=[-180, -90, 180, 90], h3_resolution=2)) == 2 + 120 * 7**2
    north = table(map_client, bbox=[-180, 60, 180, 90], h3_resolution=1)
    assert int(cells_of(LonLat.from_degrees([[0, 90]]), 1)[0]) in north


SQUARE = [[115.5, 39.5], [117, 39.5], [117, 40.5], [115.5, 40.5], [115.5, 39.5]]
HOLE = [[116, 39.8], [116, 40.2], [116.6, 40.2], [116.6, 39.8], [116, 39.8]]
POLYGON = {"type": "Polygon", "coordinates": [SQUARE, HOLE]}


def in_polygon(lon: Any, lat: Any) -> Any:
    in_square = (lon >= 115.5) & (lon < 117) & (lat >= 39.5) & (lat < 40.5)
    return in_square & ~((lon >= 116) & (lon < 116.6) & (lat >= 39.8) & (lat < 40.2))


def test_outside_an_area_pixels_have_no_data(map_client: TestClient) -> None:
    found = raster(map_client, geometry=POLYGON, width=31, height=21)
    lons, lats = 115.5 + 1.5 * (np.arange(31) + 0.5) / 31, 40.5 - (np.arange(21) + 0.5) / 21
    np.testing.assert_array_equal(np.isfinite(found), in_polygon(lons[None], lats[:, None]))
    box = raster(map_client, bbox=[115.5, 39.5, 117, 40.5], width=31, height=21)
    inside = np.isfinite(found)
    np.testing.assert_allclose(found[inside], box[inside], atol=1e-6)
    picture = ask(map_client, PNG, geometry=POLYGON, width=31, height=21).content
    with MemoryFile(picture) as memory, memory.open() as file:
        np.testing.assert_array_equal(file.read(4) == 255, inside)


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "Feature", "properties": {}, "geometry": POLYGON},
        {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": POLYGON}]},
        {"type": "MultiPolygon", "coordinates": [POLYGON["coordinates"]]},
    ],
)
def test_cells_are_those_inside_the_area(map_client: TestClient, geometry: dict[str, Any]) -> None:
    every = table(map_client, bbox=[115.5, 39.5, 117, 40.5], h3_resolution=6)
    lon, lat = centres_of(np.array(list(every), np.uint64)).degrees.T
    inside = [cell for cell, wanted in zip(every, in_polygon(lon, lat), strict=True) if wanted]
    assert sorted(table(map_client, geometry=geometry, h3_resolution=6)) == sorted(inside)


def test_an_area_on_both_sides_of_the_antimeridian(map_client: TestClient) -> None:
    def box(west: float, east: float) -> list[list[list[float]]]:
        return [[[west, -20], [east, -20], [east, -10], [west, -10], [west, -20]]]

    geometry = {"type": "MultiPolygon", "coordinates": [box(175, 180), box(-180, -175)]}
    found = raster(map_client, geometry=geometry, width=20, height=20)
    expected = raster(map_client, bbox=[175, -20, -175, -10], width=20, height=20)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_point_of_the_map_may_be_one_pixel_or_one_cell(map_client: TestClient) -> None:
    assert raster(map_client, bbox=[116, 39.5, 116.8, 40.3], width=1, height=1)[0, 0] == pytest.approx(1, abs=1e-6)
    (cell,) = cells_of(LonLat.from_degrees([BEIJING]), 9)
    (centre,) = centres_of(np.array([cell])).degrees.tolist()
    bbox = [centre[0] - 1e-6, centre[1] - 1e-6, centre[0] + 1e-6, centre[1] + 1e-6]
    assert list(table(map_client, bbox=bbox, h3_resolution=9)) == [int(cell)]
    assert cell_strings(np.array([cell]))


def test_options_may_stand_in_the_query(map_client: TestClient) -> None:
    body = {"reference": BEIJING, "bbox": [0, 0, 1, 1]}
    answer = map_client.post(f"{SIMILARITY}?width=3&height=2", json=body, headers={"accept": PNG})
    assert answer.status_code == 200


def with_(**body: Any) -> dict[str, Any]:
    return {"reference": BEIJING, "bbox": [0, 0, 1, 1], "width": 2, "height": 2} | body


def without(*fields: str, **body: Any) -> dict[str, Any]:
    return {name: value for name, value in with_(**body).items() if name not in fields}


def ring(*positions: list[Any]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [list(positions)]}


@pytest.mark.parametrize(
    ("body", "status", "names"),
    [
        (without("reference"), 422, "/reference"),
        (with_(reference=[[0, 99]]), 422, "/reference/0/1"),
        (with_(negative=[]), 422, "/negative"),
        (without("bbox"), 422, "/bbox"),
        (with_(geometry=POLYGON), 422, "not both"),
        (with_(bbox=None), 422, "/bbox"),
        (with_(bbox=[0, 0, 1]), 422, "/bbox"),
        (with_(bbox=[0, 0, 1, "1"]), 422, "/bbox"),
        (with_(bbox=[0, 0, 1, True]), 422, "/bbox"),
        (with_(bbox=[0, 0, 1, 10**400]), 422, "/bbox"),
        (with_(bbox=[0, 0, 0, 1]), 422, "0 wide"),
        (with_(bbox=[0, 1, 1, 1]), 422, "0 high"),
        (with_(bbox=[0, 2, 1, 1]), 422, "north"),
        (with_(bbox=[0, -91, 1, 1]), 422, "/bbox/1"),
        (with_(bbox=[0, 0, 361, 1]), 422, "/bbox/2"),
        (with_(bbox=[-200, 0, 200, 1]), 422, "360"),
        (without("bbox", geometry=None), 422, "/geometry"),
        (without("bbox", geometry={"type": "Point", "coordinates": [0, 0]}), 422, "Point"),
        (without("bbox", geometry=ring([0, 0], [1, 0], [1, 1])), 422, "/geometry/coordinates/0"),
        (without("bbox", geometry=ring([0, 0], [1, 0], [1, 1], [0, 1])), 422, "closed"),
        (without("bbox", geometry=ring([0, 0], [1, "0"], [1, 1], [0, 0])), 422, "/geometry/coordinates/0/1"),
        (without("bbox", geometry=ring([0, 0], [1, 0], [1, 91], [0, 0])), 422, "/geometry/coordinates/0/2"),
        (without("bbox", geometry=ring([0, 0], [10**400, 0], [1, 1], [0, 0])), 422, "/geometry/coordinates/0"),
        (without("bbox", geometry={"type": "GeometryCollection", "geometries": []}), 422, "/geometry/geometries"),
        (without("width"), 422, "/width"),
        (without("height"), 422, "/height"),
        (without("width", "height"), 422, "h3_resolution"),
        (with_(h3_resolution=3), 422, "not both"),
        (without("width", h3_resolution=3), 422, "not both"),
        (with_(width=0), 422, "/width"),
        (with_(width=-1), 422, "/width"),
        (with_(width=2.5), 422, "/width"),
        (with_(width="2"), 422, "/width"),
        (with_(width=10**30), 422, "/width"),
        (with_(width=1000, height=1000), 413, "SATCLE_MAX_MAP_POINTS"),
        (without("width", "height", h3_resolution=16), 422, "/h3_resolution"),
        (without("width", "height", h3_resolution=-1), 422, "/h3_resolution"),
        (without("width", "height", h3_resolution=12), 422, "/h3_resolution"),
        (without("width", "height", h3_resolution=0), 422, "/h3_resolution"),
        (with_(colormap_name="nope"), 422, "/colormap_name"),
        (with_(rescale="1,0"), 422, "/rescale"),
        (with_(rescale=[0, 1]), 422, "/rescale"),
        (with_(model="nope"), 404, "nope"),
        (with_(head="height"), 422, "/head"),
        (with_(exact=True), 422, "/exact"),
        (with_(reference=[BEIJING] * 1001), 413, "1001"),
        ([], 422, "object"),
    ],
)
def test_what_is_wrong_is_named(map_client: TestClient, body: Any, status: int, names: str) -> None:
    answer = map_client.post(SIMILARITY, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert names in answer.json()["detail"] + json.dumps(answer.json().get("errors", []))


@pytest.mark.parametrize(
    ("head", "status", "names"),
    [(None, 422, "/head"), (5, 422, "/head"), (["height"], 422, "/head"), ("x", 404, "cover")],
)
def test_a_head_that_is_none_is_named(map_client: TestClient, head: object, status: int, names: str) -> None:
    answer = map_client.post(PREDICTIONS, json={"head": head, **AROUND})
    assert answer.status_code == status
    assert names in answer.json()["detail"]


def test_media_types_are_those_of_pixels_or_of_cells(map_client: TestClient) -> None:
    for region, accept, served in ((AROUND, PARQUET, PNG), (CELLS, PNG, PARQUET), (AROUND, "text/html", TIFF)):
        answer = map_client.post(SIMILARITY, json={"reference": BEIJING, **region}, headers={"accept": accept})
        assert answer.status_code == 406
        assert served in answer.json()["detail"]
    answer = map_client.post(SIMILARITY, content=b"x", headers={"content-type": "text/plain"})
    assert answer.status_code == 415
    assert map_client.get(SIMILARITY).status_code == 405


class Slow(FakeBackend):
    """Counts the places that it embeds; each batch outlasts a deadline."""

    places = 0

    def embed(self, lonlat: LonLat) -> np.ndarray:
        self.places += len(lonlat)
        if len(lonlat) > 1:
            np.linalg.svd(np.ones((300, 300)))
        return super().embed(lonlat)


@pytest.mark.parametrize("accept", [TIFF, PNG])
def test_what_is_not_ready_in_time_is_a_504_and_costs_no_more(make_client, accept: str) -> None:
    backend = Slow(8)
    client = make_client(backend=backend, max_batch_points=512)
    body = {"reference": BEIJING, "bbox": [-180, -90, 180, 90], "width": 2000, "height": 1000}
    answer = client.post(SIMILARITY, json=body, headers={"accept": accept, "x-deadline-ms": "100"})
    assert answer.status_code == 504
    assert backend.places < 2_000_000
    assert client.get("/info").json()["models"][0]["queue_points"] == 0


@pytest.mark.parametrize(("headers", "later"), [([], [0, 0, 30, 270]), ([(b"x-deadline-ms", b"5")], [0, 0, 0, 0])])
def test_a_large_map_has_as_many_times_the_time_but_not_more_than_is_asked(map_client, headers, later) -> None:
    request = Request({"type": "http", "headers": headers, "app": map_client.app})
    drawing = Drawing(request, *[None] * 6, deadline=100.0)
    assert [drawing.deadline_for(points) - 100 for points in (1, 1000, 2000, 10_000)] == pytest.approx(later)


def test_a_backend_that_fails_is_a_503(make_client) -> None:
    class Failing(FakeBackend):
        def embed(self, lonlat: LonLat) -> np.ndarray:
            if len(lonlat) > 1 and lonlat.degrees[0, 1] > 80:
                raise RuntimeError("no")
            return super().embed(lonlat)

    client = make_client(backend=Failing(8))
    for accept in (TIFF, PNG):
        body = {"reference": BEIJING, "bbox": [0, 0, 10, 90], "width": 100, "height": 100}
        assert client.post(SIMILARITY, json=body, headers={"accept": accept}).status_code == 503
    assert client.get("/v1/similarity/tiles/WorldCRS84Quad/0/0/0.png?reference=1,2").status_code == 503


def test_a_map_of_components_is_the_tile_in_three_bands(map_client: TestClient) -> None:
    box = {"bbox": [45, 0, 90, 45], "width": 256, "height": 256}
    answer = map_client.post("/v1/embeddings/map", json=box, headers={"accept": TIFF})
    with MemoryFile(answer.content) as memory, memory.open() as file:
        found = file.read()
    tile = map_client.get("/v1/embeddings/tiles/WorldCRS84Quad/2/5/1.npy").content
    np.testing.assert_array_equal(found, np.load(io.BytesIO(tile))[:3])
    picture = map_client.post("/v1/embeddings/map", json=box, headers={"accept": PNG})
    assert picture.headers["content-type"] == PNG


def test_components_are_no_map_of_cells(map_client: TestClient) -> None:
    answer = map_client.post("/v1/embeddings/map", json=CELLS)
    assert answer.status_code == 422
    assert "send width and height" in answer.json()["detail"]
