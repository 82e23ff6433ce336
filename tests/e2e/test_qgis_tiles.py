"""As QGIS uses tiles: TileJSON is read, and all tiles of the first zooms are fetched, many at a time."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from rasterio.io import MemoryFile

from tests.e2e.conftest import Served

BEIJING = {"reference": "116.4,39.9"}
CONNECTIONS = 8
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # as any picture


def pyramid(client: httpx.Client, template: str, zooms: range) -> dict[tuple[int, int, int], bytes]:
    names = [(z, x, y) for z in zooms for x in range(2**z) for y in range(2**z)]
    with ThreadPoolExecutor(CONNECTIONS) as connections:
        answers = connections.map(lambda name: client.get(template.format(z=name[0], x=name[1], y=name[2])), names)
        tiles = dict(zip(names, answers, strict=True))
    assert {answer.status_code for answer in tiles.values()} == {200}
    return {name: answer.content for name, answer in tiles.items()}


def mosaic(tiles: dict[tuple[int, int, int], np.ndarray], z: int) -> np.ndarray:
    return np.block([[tiles[z, x, y] for x in range(2**z)] for y in range(2**z)])


def test_all_tiles_of_the_first_zooms_are_there_and_their_edges_meet(served: Served) -> None:
    with served.client() as client:
        described = client.get("/v1/similarity/WebMercatorQuad/tilejson.json", params=BEIJING).json()
        (template,) = described["tiles"]
        assert template.startswith(served.url)
        assert described["minzoom"] == 0
        assert described["maxzoom"] >= 3
        for content in pyramid(client, template, range(2)).values():
            with MemoryFile(content) as memory, memory.open() as picture:
                assert picture.shape == (256, 256)
        raw = pyramid(client, template.replace(".png?", ".npy?"), range(4))
    values = {name: np.load(io.BytesIO(content))[0] for name, content in raw.items()}
    for z in range(1, 4):
        whole = mosaic(values, z)
        assert roughness(whole, seams_only=True) <= 1.5 * roughness(whole) + 1e-6
        assert roughness(whole.T, seams_only=True) <= 1.5 * roughness(whole.T) + 1e-6
        turned = np.roll(whole, 128, axis=1)  # the antimeridian is a seam like any other
        assert roughness(turned) <= 1.5 * roughness(whole) + 1e-6
    np.testing.assert_allclose(values[0, 0, 0].mean(), mosaic(values, 3).mean(), atol=0.01)


def roughness(whole: np.ndarray, seams_only: bool = False) -> float:
    """How far a step from one column to the next is from the mean of the steps beside it, at most."""
    steps = np.diff(whole.astype(np.float64), axis=1)
    bends = np.abs(steps[:, 1:-1] - (steps[:, :-2] + steps[:, 2:]) / 2)
    at_seams = np.arange(bends.shape[1]) % 256 == 254
    return float(bends[:, at_seams if seams_only else ~at_seams].max())


def test_one_place_is_one_value_in_tile_raster_point_and_similarity(served: Served) -> None:
    """At the centres of pixels of a tile of WorldCRS84Quad, whose box a raster has too."""
    with served.client() as client:
        tile = client.get("/v1/similarity/tiles/WorldCRS84Quad/3/13/2.npy", params=BEIJING).content
        west, north, side = -180 + 13 * 22.5, 90 - 2 * 22.5, 22.5
        body = {
            "reference": [116.4, 39.9],
            "bbox": [west, north - side, west + side, north],
            "width": 256,
            "height": 256,
        }
        raster = client.post("/v1/similarity/map", json=body, headers={"accept": "image/tiff"}).content
        with MemoryFile(raster) as memory, memory.open() as file:
            in_raster = file.read(1)
        in_tile = np.load(io.BytesIO(tile))[0]
        np.testing.assert_allclose(in_tile, in_raster, atol=1e-5)

        pixels = [(0, 0), (255, 255), (40, 200), (128, 127)]
        places = [[west + side * (column + 0.5) / 256, north - side * (row + 0.5) / 256] for row, column in pixels]
        scores = client.post("/v1/similarity", json={"reference": [116.4, 39.9], "candidates": places}).json()["data"]
        for (row, column), (lon, lat), scored in zip(pixels, places, scores, strict=True):
            point = client.get(f"/v1/similarity/point/{lon!r},{lat!r}", params=BEIJING).json()
            assert point["value"] == pytest.approx(scored["score"], abs=1e-5)
            assert in_tile[row, column] == pytest.approx(scored["score"], abs=1e-5)
        own = client.get("/v1/similarity/point/116.4,39.9", params=BEIJING).json()
        assert own["value"] == pytest.approx(1, abs=1e-6)


def test_behind_a_proxy_tilejson_names_the_outside(served: Served) -> None:
    with served.client() as client:
        described = client.get(
            "/v1/similarity/WebMercatorQuad/tilejson.json",
            params=BEIJING,
            headers={"host": "maps.example", "x-forwarded-proto": "https"},
        ).json()
    assert described["tiles"][0].startswith("https://maps.example/v1/similarity/tiles/")


def test_a_client_that_leaves_ends_a_map(served: Served) -> None:
    left_before = served.metric('satcle_rejected_total{reason="client_gone"}')
    body = {"reference": [116.4, 39.9], "bbox": [-180, -90, 180, 90], "width": 4000, "height": 2000}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(served.url + "/v1/similarity/map", json=body, timeout=httpx.Timeout(30, read=0.3))
    for _ in range(10_000):
        left = served.metric('satcle_rejected_total{reason="client_gone"}')
        if left > left_before and served.metric("satcle_queue_points") == 0:
            break
    assert served.metric('satcle_rejected_total{reason="client_gone"}') > left_before
    assert served.metric("satcle_queue_points") == 0
