"""Tiles, TileJSON, legends and point values of everything that maps show."""

from __future__ import annotations

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile
from starlette.testclient import TestClient

from service.app import create_app
from service.bundle import Bundle, LonLat
from service.embedding.backends.fake import FakeBackend
from service.embedding.backends.onnx import OnnxBackend
from service.maps.tiling import tile_grid
from service.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # as any picture

BEIJING = "reference=116.4,39.9"
KINDS = {
    "/v1/similarity": BEIJING,
    "/v1/predictions/height": "",
    "/v1/predictions/cover": "",
    "/v1/embeddings": "",
}
WITHOUT_STYLE = ("/v1/predictions/cover", "/v1/embeddings")
kinds = pytest.mark.parametrize("kind", KINDS)
matrices = pytest.mark.parametrize("tms", ["WebMercatorQuad", "WorldCRS84Quad"])


def tile(client: TestClient, kind: str, name: str, query: str = "") -> bytes:
    answer = client.get(f"{kind}/tiles/{name}?{'&'.join(filter(None, [KINDS[kind], query]))}")
    assert answer.status_code == 200, answer.text
    return answer.content


def values(client: TestClient, kind: str, name: str, query: str = "") -> np.ndarray:
    """(bands, H, W)"""
    return np.load(io.BytesIO(tile(client, kind, f"{name}.npy", query)))


def pixels(content: bytes) -> np.ndarray:
    """(4, H, W); WebP leaves an alpha out that is 255 everywhere."""
    with MemoryFile(content) as memory, memory.open() as picture:
        bands = picture.read()
    return bands if len(bands) == 4 else np.vstack([bands, np.full_like(bands[:1], 255)])


@kinds
@matrices
def test_a_tile_holds_what_the_point_endpoint_says_at_each_pixels_centre(map_client, kind: str, tms: str) -> None:
    grid = tile_grid(tms, 2, 3, 1)
    found = values(map_client, kind, f"{tms}/2/3/1")
    assert found.dtype == np.float32
    assert found.shape[1:] == (256, 256)
    for row, column in ((0, 0), (17, 255), (255, 128), (100, 31)):
        lon, lat = (float(np.mod(grid.lons[column] + 180, 360) - 180)), float(grid.lats[row])
        answer = map_client.get(f"{kind}/point/{lon!r},{lat!r}?{KINDS[kind]}").json()
        np.testing.assert_allclose(found[:, row, column], answer["value"], atol=1e-6)
        assert (answer["lon"], answer["lat"]) == (lon, lat)
        assert len(answer["cell"]) == 15


@matrices
def test_a_similarity_tile_agrees_with_similarity(map_client: TestClient, tms: str) -> None:
    grid = tile_grid(tms, 3, 5, 2)
    found = values(map_client, "/v1/similarity", f"{tms}/3/5/2", "reference=10,20&negative=-60,-10")
    candidates = [[float(lon), float(lat)] for lon, lat in zip(grid.lons[::5], grid.lats[::5], strict=True)]
    body = {"reference": [[116.4, 39.9], [10, 20]], "negative": [-60, -10], "candidates": candidates}
    scores = [item["score"] for item in map_client.post("/v1/similarity", json=body).json()["data"]]
    np.testing.assert_allclose(found[0].diagonal()[::5], scores, atol=1e-6)


@kinds
def test_a_tile_and_the_four_of_the_next_zoom_show_the_same(map_client: TestClient, kind: str) -> None:
    """Twice the pixels of a tile are those of its four children, and neighbours go on where the one before ends."""
    large = values(map_client, kind, "WorldCRS84Quad/1/2/1@2x")
    assert large.shape[1:] == (512, 512)
    children = [
        [values(map_client, kind, f"WorldCRS84Quad/2/{4 + east}/{2 + south}") for east in (0, 1)] for south in (0, 1)
    ]
    np.testing.assert_allclose(np.block(children), large, atol=2e-6 if kind != "/v1/predictions/cover" else 0)


@pytest.mark.parametrize("tile_format", ["png", "webp"])
@kinds
def test_pictures_are_opaque_and_as_large_as_asked(map_client, kind: str, tile_format: str) -> None:
    for name, size in ((f"WebMercatorQuad/1/0/0.{tile_format}", 256), (f"WebMercatorQuad/1/0/0@2x.{tile_format}", 512)):
        picture = pixels(tile(map_client, kind, name))
        assert picture.shape == (4, size, size)
        assert (picture[3] == 255).all()


@pytest.mark.parametrize("kind", ["/v1/similarity", "/v1/predictions/cover"])
def test_the_legend_explains_the_colours(map_client: TestClient, kind: str) -> None:
    query = f"{KINDS[kind]}&rescale=-0.5,0.5&colormap_name=magma" if kind == "/v1/similarity" else KINDS[kind]
    legend = map_client.get(f"{kind}/legend.json?{query}").json()
    url = f"{kind}/tiles/WebMercatorQuad/1/1/0"
    picture = pixels(map_client.get(f"{url}.png?{query}").content)[:3]
    found = np.load(io.BytesIO(map_client.get(f"{url}.npy?{query}").content))[0]
    row, column = 31, 77
    if "classes" in legend:
        assert [entry["label"] for entry in legend["classes"]] == ["wood", "field", "town"]
        assert [entry["color"] for entry in legend["classes"]] == ["#009900", "#c24f44", "#a5a5a5"]
        expected = legend["classes"][int(found[row, column])]["color"]
        assert "#" + bytes(picture[:, row, column]).hex() == expected
        return
    assert legend["range"] == [-0.5, 0.5]
    assert legend["colormap_name"] == "magma"
    stops = np.array([list(bytes.fromhex(color[1:])) for color in legend["colors"]])
    position = (np.clip(found, -0.5, 0.5) + 0.5) * (len(stops) - 1)
    expected = np.stack([np.interp(position, range(len(stops)), stops[:, band]) for band in range(3)])
    np.testing.assert_allclose(picture, expected, atol=6)  # the stops are some of 256 colours


def test_components_need_no_legend_and_say_so(map_client: TestClient) -> None:
    legend = map_client.get("/v1/embeddings/legend.json").json()
    assert legend == {"name": "principal components", "model": "full", "unit": None}
    assert map_client.get("/v1/predictions/height/legend.json").json()["unit"] == "m"


@matrices
def test_a_geotiff_tile_says_where_it_is(map_client: TestClient, tms: str) -> None:
    content = tile(map_client, "/v1/predictions/height", f"{tms}/3/6/3.tif")
    grid = tile_grid(tms, 3, 6, 3)
    with MemoryFile(content) as memory, memory.open() as file:
        assert file.crs.to_string() == grid.crs
        assert tuple(file.bounds) == pytest.approx(grid.bounds)
        assert file.dtypes == ("float32",)
        stored = file.read()
    np.testing.assert_array_equal(stored, values(map_client, "/v1/predictions/height", f"{tms}/3/6/3"))


def test_what_a_class_is_called_is_said_at_a_point(map_client: TestClient, full_bundle: Bundle) -> None:
    answer = map_client.get("/v1/predictions/cover/point/12.5,-7").json()
    assert answer["label"] == ("wood", "field", "town")[answer["value"]]
    height = map_client.get("/v1/predictions/height/point/12.5,-7").json()
    assert height["unit"] == "m"
    assert "label" not in height
    components = map_client.get("/v1/embeddings/point/12.5,-7").json()["value"]
    assert len(components) == 3
    assert all(0 <= component <= 1 for component in components)


def test_points_wrap_and_poles_are_one_place(map_client: TestClient) -> None:
    def at(place: str) -> object:
        return map_client.get(f"/v1/similarity/point/{place}?{BEIJING}").json()["value"]

    assert at("180,10") == at("-180,10")
    assert at("243.6,-12") == pytest.approx(at("-116.4,-12"), abs=1e-6)
    assert at("0,90") == at("77,90")
    assert at("116.4,39.9") == pytest.approx(1, abs=1e-6)
    assert at("1.164e2,3.99e1") == at("116.4,39.9")


class Counting(FakeBackend):
    """Counts the places that it embeds, and embeds none while it is held."""

    def __init__(self) -> None:
        super().__init__(8)
        self.places = 0
        self.let_go = threading.Event()
        self.let_go.set()

    def embed(self, lonlat: LonLat) -> np.ndarray:
        self.let_go.wait()
        self.places += len(lonlat)
        return super().embed(lonlat)


PNG = f"/v1/similarity/tiles/WebMercatorQuad/0/0/0.png?{BEIJING}"


def test_whoever_has_a_tile_is_told_so_before_anything_is_computed(make_client) -> None:
    backend = Counting()
    client = make_client(backend=backend)
    first = client.get(PNG)
    assert first.headers["cache-control"] == "public, max-age=3600"
    before = backend.places
    again = client.get(PNG, headers={"if-none-match": f'"x", {first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["cache-control"] == first.headers["cache-control"]
    assert backend.places == before


def test_the_references_are_encoded_once_for_many_tiles(make_client) -> None:
    backend = Counting()
    client = make_client(backend=backend)
    client.get(PNG)
    before = backend.places
    assert client.get(PNG.replace("0/0/0", "1/0/1")).status_code == 200
    assert backend.places == before + 256 * 256


def test_each_thing_that_a_tile_depends_on_changes_its_etag(map_client: TestClient) -> None:
    tags = [
        map_client.get(f"/v1/similarity/tiles/{name}?{query}").headers["etag"]
        for name, query in (
            ("WebMercatorQuad/1/0/0.png", BEIJING),
            ("WebMercatorQuad/1/0/1.png", BEIJING),
            ("WebMercatorQuad/1/1/0.png", BEIJING),
            ("WorldCRS84Quad/1/0/0.png", BEIJING),
            ("WebMercatorQuad/1/0/0@2x.png", BEIJING),
            ("WebMercatorQuad/1/0/0.npy", BEIJING),
            ("WebMercatorQuad/1/0/0.png", "reference=116.4,39.90001"),
            ("WebMercatorQuad/1/0/0.png", f"{BEIJING}&reference=1,2"),
            ("WebMercatorQuad/1/0/0.png", f"{BEIJING}&negative=1,2"),
            ("WebMercatorQuad/1/0/0.png", f"{BEIJING}&colormap_name=magma"),
            ("WebMercatorQuad/1/0/0.png", f"{BEIJING}&rescale=0,1"),
        )
    ]
    assert len(set(tags)) == len(tags)


def test_what_makes_no_difference_makes_none_to_the_etag(map_client: TestClient) -> None:
    url = "/v1/similarity/tiles/WebMercatorQuad/1/0/0.png"
    tags = {
        map_client.get(f"{url}?{query}").headers["etag"]
        for query in (BEIJING, "reference=476.4,39.9", f"model=full&{BEIJING}", f"{BEIJING}&rescale=-1,1")
        if "476" not in query
    }
    tags.add(map_client.get(f"{url}?reference=116.40,%2039.9").headers.get("etag", ""))
    assert len(tags) == 1


def test_equal_tiles_asked_for_at_once_are_computed_once(make_client) -> None:
    backend = Counting()
    client = make_client(backend=backend)
    client.get(f"/v1/similarity/point/1,2?{BEIJING}")  # the reference is known by now
    before = backend.places
    backend.let_go.clear()
    with ThreadPoolExecutor(6) as callers:
        answers = [callers.submit(client.get, PNG) for _ in range(6)]
        works = client.app.state.tiles._works
        while sum(work.waiting for work in works.values()) < 6:
            client.get("/livez")
        backend.let_go.set()
        assert len({answer.result().content for answer in answers}) == 1
    assert backend.places == before + 256 * 256


def test_a_head_request_gets_the_headers(map_client: TestClient) -> None:
    for path in (
        f"tiles/WebMercatorQuad/0/0/0.png?{BEIJING}",
        f"WebMercatorQuad/tilejson.json?{BEIJING}",
        f"legend.json?{BEIJING}",
        f"point/1,2?{BEIJING}",
    ):
        got, headed = map_client.get(f"/v1/similarity/{path}"), map_client.head(f"/v1/similarity/{path}")
        assert headed.status_code == got.status_code == 200
        for name in ("content-type", "content-length", "etag"):
            assert headed.headers.get(name) == got.headers.get(name)


@kinds
@matrices
def test_tilejson_leads_to_tiles(map_client: TestClient, kind: str, tms: str) -> None:
    style = "" if kind in WITHOUT_STYLE else "rescale=-2,2"
    query = f"{KINDS[kind]}&{style}&model=full&tile_scale=2&tile_format=webp"
    described = map_client.get(f"{kind}/{tms}/tilejson.json?{query}").json()
    (template,) = described["tiles"]
    assert template.startswith(f"http://testserver{kind}/tiles/{tms}/")
    assert style in template
    assert "tile_" not in template
    assert described["tilejson"] == "3.0.0"
    assert described["scheme"] == "xyz"
    west, south, east, north = described["bounds"]
    assert (west, east) == (-180, 180)
    assert south == -north
    lon, lat, zoom = described["center"]
    assert west <= lon <= east
    assert south <= lat <= north
    assert described["minzoom"] <= zoom <= described["maxzoom"]
    assert "nobody" in described["attribution"]
    assert ("somebody else" in described["attribution"]) == ("predictions" in kind)
    answer = map_client.get(template.format(z=0, x=0, y=0))
    assert answer.headers["content-type"] == "image/webp"
    assert pixels(answer.content).shape == (4, 512, 512)


def test_tilejson_names_the_host_that_was_asked_and_the_root_it_is_under(full_bundle: Bundle) -> None:
    app = create_app(Settings(bundles=(str(full_bundle.path),)))
    with TestClient(app, base_url="https://maps.example:8443", root_path="/satcle") as client:
        (template,) = client.get(f"/v1/similarity/WebMercatorQuad/tilejson.json?{BEIJING}").json()["tiles"]
    assert template.startswith("https://maps.example:8443/satcle/v1/similarity/tiles/WebMercatorQuad/{z}/{x}/{y}.png?")
    assert template.endswith(f"?{BEIJING}")


def test_where_keys_are_needed_tiles_need_one_and_stay_with_whoever_had_it(make_client, tmp_path) -> None:
    (tmp_path / "keys").write_text("sesame")
    client = make_client(api_keys_file=tmp_path / "keys")
    for url in (PNG, f"/v1/similarity/WebMercatorQuad/tilejson.json?{BEIJING}", f"/v1/similarity/point/1,2?{BEIJING}"):
        assert client.get(url).status_code == 401
    answer = client.get(PNG, headers={"x-api-key": "sesame"})
    assert answer.status_code == 200
    assert answer.headers["cache-control"].startswith("private")


@pytest.mark.parametrize(("setting", "headers"), [(50, {}), (30_000, {"x-deadline-ms": "50"})])
def test_a_tile_that_is_not_ready_in_time_is_a_504_and_its_work_is_given_up(make_client, setting, headers) -> None:
    backend = Counting()
    client = make_client(backend=backend, deadline_ms=setting)
    backend.let_go.clear()
    try:
        assert client.get(PNG, headers=headers).status_code == 504
        assert not client.app.state.tiles._works
        assert 'satcle_rejected_total{reason="deadline"} 1.0' in client.get("/metrics").text
    finally:
        backend.let_go.set()


@pytest.mark.parametrize("ends", ["0,1e-320", "-1e-320,0", "-1e308,1e308", "1e308,1.7e308"])
def test_an_odd_scale_is_still_a_scale(map_client: TestClient, ends: str) -> None:
    assert pixels(tile(map_client, "/v1/similarity", "WebMercatorQuad/0/0/0.png", f"rescale={ends}")).shape[0] == 4


SIMILARITY = "/v1/similarity"
TILES = f"{SIMILARITY}/tiles/WebMercatorQuad"


@pytest.mark.parametrize(
    ("url", "status", "names"),
    [
        (f"{TILES}/0/0/0.png", 422, "/reference"),
        (f"{TILES}/0/0/0.png?reference=", 422, "/reference/0"),
        (f"{TILES}/0/0/0.png?reference=1", 422, "/reference/0"),
        (f"{TILES}/0/0/0.png?reference=1,2,3", 422, "/reference/0"),
        (f"{TILES}/0/0/0.png?reference=1,2&reference=a,2", 422, "/reference/1"),
        (f"{TILES}/0/0/0.png?reference=nan,2", 422, "/reference/0"),
        (f"{TILES}/0/0/0.png?reference=1e999,2", 422, "/reference/0"),
        (f"{TILES}/0/0/0.png?reference=1_0,2", 422, "/reference/0"),
        (f"{TILES}/0/0/0.png?reference=39.9,116.4", 422, "swapped"),
        (f"{TILES}/0/0/0.png?reference=1,2&negative=361,2", 422, "/negative/0/0"),
        (f"{TILES}/0/0/0.png?" + "&".join([BEIJING] * 101), 422, "at most 100"),
        (f"{TILES}/0/0/0.png?{BEIJING}&refrence=1,2", 422, "/refrence"),
        (f"{TILES}/0/0/0.png?{BEIJING}&model=full&model=full", 422, "/model"),
        (f"{TILES}/0/0/0.png?{BEIJING}&model=nope", 404, "nope"),
        (f"{TILES}/0/0/0.png?{BEIJING}&colormap_name=nope", 422, "/colormap_name"),
        (f"{TILES}/0/0/0.png?{BEIJING}&rescale=1", 422, "/rescale"),
        (f"{TILES}/0/0/0.png?{BEIJING}&rescale=1,0", 422, "/rescale"),
        (f"{TILES}/0/0/0.png?{BEIJING}&rescale=nan,1", 422, "/rescale"),
        (f"{TILES}/0/0/0.png?{BEIJING}&rescale=0,inf", 422, "/rescale"),
        (f"{TILES}/0/0/0.png?{BEIJING}&rescale=0,1&rescale=0,1", 422, "/rescale"),
        *((f"{kind}/tiles/WebMercatorQuad/0/0/0.png?rescale=0,1", 422, "/rescale") for kind in WITHOUT_STYLE),
        *((f"{kind}/legend.json?colormap_name=magma", 422, "/colormap_name") for kind in WITHOUT_STYLE),
        *((f"{kind}/WebMercatorQuad/tilejson.json?rescale=0,1", 422, "leave it out") for kind in WITHOUT_STYLE),
        (f"{TILES}/0/0/0.gif?{BEIJING}", 422, "/format"),
        (f"{TILES}/0/0/0@3x.png?{BEIJING}", 422, "/y"),
        (f"{TILES}/0/0/x.png?{BEIJING}", 422, "/y"),
        (f"{TILES}/0/-1/0.png?{BEIJING}", 422, "/x"),
        (f"{TILES}/0/1.0/0.png?{BEIJING}", 422, "/x"),
        (f"{TILES}/٣/0/0.png?{BEIJING}", 422, "/z"),
        (f"{TILES}/{'9' * 5000}/0/0.png?{BEIJING}", 422, "/z"),
        (f"{TILES}/0/1/0.png?{BEIJING}", 404, "0/1/0"),
        (f"{TILES}/0/0/999999999.png?{BEIJING}", 404, "999999999"),
        (f"{TILES}/99/0/0.png?{BEIJING}", 404, "zoom"),
        (f"{TILES}/0/0/0?{BEIJING}", 404, "Not Found"),
        (f"{SIMILARITY}/tiles/nope/0/0/0.png?{BEIJING}", 404, "WebMercatorQuad"),
        (f"{SIMILARITY}/nope/tilejson.json?{BEIJING}", 404, "WebMercatorQuad"),
        (f"{SIMILARITY}/WebMercatorQuad/tilejson.json", 422, "/reference"),
        (f"{SIMILARITY}/WebMercatorQuad/tilejson.json?{BEIJING}&tile_scale=3", 422, "/tile_scale"),
        (f"{SIMILARITY}/WebMercatorQuad/tilejson.json?{BEIJING}&tile_format=npy", 422, "/tile_format"),
        (f"{SIMILARITY}/WebMercatorQuad/tilejson.json?{BEIJING}&rescale=x", 422, "/rescale"),
        (f"{SIMILARITY}/legend.json", 422, "/reference"),
        (f"{SIMILARITY}/legend.json?{BEIJING}&colormap_name=%00", 422, "/colormap_name"),
        (f"{SIMILARITY}/point/1,2", 422, "/reference"),
        (f"{SIMILARITY}/point/1,2?{BEIJING}&rescale=0,1", 422, "/rescale"),
        (f"{SIMILARITY}/point/1,91?{BEIJING}", 422, "/point/1"),
        (f"{SIMILARITY}/point/x,1?{BEIJING}", 422, "/point"),
        (f"{SIMILARITY}/point/1,2,3?{BEIJING}", 422, "/point"),
        (f"{SIMILARITY}/point/1?{BEIJING}", 404, "Not Found"),
        ("/v1/predictions/nope/tiles/WebMercatorQuad/0/0/0.png", 404, "height, cover"),
        ("/v1/predictions/nope/point/1,2", 404, "height, cover"),
        ("/v1/predictions/height/point/1,2?reference=1,2", 422, "/reference"),
        ("/v1/embeddings/tiles/WebMercatorQuad/0/0/0.png?reference=1,2", 422, "/reference"),
    ],
)
def test_what_is_wrong_is_named(map_client: TestClient, url: str, status: int, names: str) -> None:
    answer = map_client.get(url)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "etag" not in answer.headers
    assert names in answer.json()["detail"] + json.dumps(answer.json().get("errors", []))


@pytest.mark.parametrize("kind", ["/v1/embeddings", "/v1/predictions/height"])
def test_a_model_without_heads_or_components_says_so(client: TestClient, kind: str) -> None:
    for path in ("tiles/WebMercatorQuad/0/0/0.png", "WebMercatorQuad/tilejson.json", "legend.json", "point/1,2"):
        answer = client.get(f"{kind}/{path}")
        assert answer.status_code == 404
        assert "tiny" in answer.json()["detail"]


def test_other_methods_are_refused(map_client: TestClient) -> None:
    for path in ("tiles/WebMercatorQuad/0/0/0.png", "WebMercatorQuad/tilejson.json", "legend.json", "point/1,2"):
        assert map_client.post(f"/v1/similarity/{path}").status_code == 405


def test_the_embeddings_of_a_tile_are_the_models(map_client: TestClient, full_bundle: Bundle) -> None:
    """In closed form: cosines of the model's own rows at the centres of WorldCRS84Quad's first tile."""
    lons = -180 + 180 * (np.arange(256) + 0.5) / 256
    lats = 90 - 180 * (np.arange(256) + 0.5) / 256
    backend = OnnxBackend(full_bundle, "cpu")

    def units(places: np.ndarray) -> np.ndarray:
        rows = backend.embed(LonLat.from_degrees(places)).astype(np.float64)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    rows = units(np.stack(np.meshgrid(lons, lats), axis=-1).reshape(-1, 2))
    expected = (rows @ units(np.array([[116.4, 39.9]]))[0]).reshape(256, 256)
    found = values(map_client, "/v1/similarity", "WorldCRS84Quad/0/0/0")[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_rasterio_reads_a_tile_by_its_name(map_client: TestClient, tmp_path) -> None:
    path = tmp_path / "tile.tif"
    path.write_bytes(tile(map_client, "/v1/predictions/cover", "WebMercatorQuad/0/0/0.tif"))
    with rasterio.open(path) as file:
        assert set(np.unique(file.read())) <= {0, 1, 2}
