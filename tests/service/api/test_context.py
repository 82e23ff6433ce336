"""`context`: how far each place is from where the model was trained, and whether it is on land."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.bundle import Bundle
from service.embedding.context import AT_ONCE
from service.geography.nearest import EARTH_RADIUS_KM
from service.settings import Settings

URL = "/v1/embeddings"
BINARY = {"content-type": "application/octet-stream"}
DEGREE_KM = np.pi / 180 * EARTH_RADIUS_KM
PLACES = [[116.4, 39.9], [0.0, 1.0], [-179.5, 0.0], [7.0, 90.0]]
LAND = [True, False, False, False]


@pytest.fixture(scope="module")
def placed(placed_bundle: Bundle, tiny_bundle: Bundle) -> Iterator[TestClient]:
    """Serves a bundle with training places (see TRAINED_AT) and one without, `tiny`."""
    settings = Settings(bundles=(str(placed_bundle.path), str(tiny_bundle.path)), worker_threads=2)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def expected_km() -> list[float]:
    """From Beijing to 90 E 45 N by the haversine formula; the others are degrees along a meridian or the equator."""
    lat, lats = np.radians([39.9, 45.0])
    half = np.sin((lat - lats) / 2) ** 2 + np.cos(lat) * np.cos(lats) * np.sin(np.radians(26.4) / 2) ** 2
    return [2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(half)), DEGREE_KM, DEGREE_KM, 45 * DEGREE_KM]


def test_each_item_says_how_far_the_nearest_sample_is_and_whether_it_is_land(placed: TestClient) -> None:
    answer = placed.post(URL, json={"input": PLACES, "context": True}).json()
    assert [item["nearest_sample_km"] for item in answer["data"]] == pytest.approx(expected_km(), abs=2e-3)
    assert [item["land"] for item in answer["data"]] == LAND


def test_it_is_of_the_place_as_given_and_not_of_its_cells_centre(placed: TestClient) -> None:
    item = placed.post(URL, json={"input": [0.0, 0.0], "context": True}).json()["data"][0]
    assert item["nearest_sample_km"] == 0
    assert "cell" in item


def test_nothing_is_said_unasked_and_embeddings_are_the_same(placed: TestClient) -> None:
    plain = placed.post(URL, json={"input": PLACES}).json()["data"]
    asked = placed.post(URL, json={"input": PLACES, "context": True}).json()["data"]
    assert [set(item) for item in plain] == [{"object", "index", "embedding", "cell"}] * 4
    assert [item["embedding"] for item in plain] == [item["embedding"] for item in asked]


def test_a_bundle_that_does_not_say_where_it_was_trained_gives_null(placed: TestClient) -> None:
    answer = placed.post(URL, json={"input": PLACES, "context": True, "model": "tiny"}).json()
    assert [item["nearest_sample_km"] for item in answer["data"]] == [None] * 4
    assert [item["land"] for item in answer["data"]] == LAND


@pytest.mark.parametrize("model", ["placed", "tiny"])
@pytest.mark.parametrize("media_type", ["application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"])
def test_tables_have_columns_of_the_same_names(placed: TestClient, media_type: str, model: str) -> None:
    sent = placed.post(
        f"{URL}?context=true&model={model}", content=np.array(PLACES).tobytes(), headers=BINARY | {"accept": media_type}
    )
    content = io.BytesIO(sent.content)
    table = pa.ipc.open_stream(content).read_all() if "arrow" in media_type else pq.read_table(content)
    assert table.schema.names == ["lon", "lat", "nearest_sample_km", "land", "h3", "embedding"]
    assert table["land"].to_pylist() == LAND
    if model == "placed":
        np.testing.assert_allclose(table["nearest_sample_km"], expected_km(), atol=2e-3)
    else:
        assert table["nearest_sample_km"].to_pylist() == [None] * 4


@pytest.mark.parametrize("media_type", ["application/octet-stream", "application/x-npy"])
def test_numbers_alone_have_no_room_for_it(placed: TestClient, media_type: str) -> None:
    problem = placed.post(URL, json={"input": PLACES, "context": True}, headers={"accept": media_type})
    assert problem.status_code == 406
    assert "with context; there is application/json, application/vnd.apache.arrow.stream" in problem.json()["detail"]


def test_a_client_that_takes_either_gets_the_one_with_room(placed: TestClient) -> None:
    accept = {"accept": "application/x-npy, application/vnd.apache.parquet;q=0.5"}
    answer = placed.post(URL, json={"input": PLACES, "context": True}, headers=accept)
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"


def test_a_large_request_says_of_each_place_what_a_small_one_does(placed: TestClient) -> None:
    rng = np.random.default_rng(0)
    many = rng.uniform((-180, -90), (180, 90), (2 * AT_ONCE + 7, 2))
    accept = {"accept": "application/vnd.apache.arrow.stream"}
    answer = placed.post(f"{URL}?context=true", content=many.tobytes(), headers=BINARY | accept)
    table = pa.ipc.open_stream(answer.content).read_all()
    some = rng.integers(0, len(many), 50)
    few = placed.post(URL, json={"input": many[some].tolist(), "context": True}).json()["data"]
    assert table["land"].take(some).to_pylist() == [item["land"] for item in few]
    asked = [item["nearest_sample_km"] for item in few]
    np.testing.assert_allclose(table["nearest_sample_km"].take(some), asked, atol=1e-3)


def test_info_says_which_models_have_training_places(placed: TestClient) -> None:
    models = placed.get("/info").json()["models"]
    assert {model["id"]: model["training_places"] for model in models} == {"placed": 3, "tiny": None}
    assert placed.get("/v1/models/placed").json()["training_places"] == {"file": "training_places.npy", "count": 3}


def test_openapi_describes_the_option_and_both_fields(placed: TestClient) -> None:
    operation = placed.get("/openapi.json").json()["paths"][URL]["post"]
    assert "context" in [parameter["name"] for parameter in operation["parameters"]]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    assert {"nearest_sample_km", "land"} <= set(schema["data"]["items"]["properties"])
    assert "warnings" in schema
