"""GET /v1/heads and POST /v1/predictions: every way in, every way out, every way to be wrong."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from service.app import create_app
from service.bundle import Bundle
from service.embedding.backends.fake import FakeBackend
from service.settings import Settings
from tests.service.api.test_malformed import ARROW, BINARY, JSON, arrow
from tests.service.conftest import COLOURS, EMBEDDING_DIM

URL = "/v1/predictions"
NPY = "application/x-npy"
PARQUET = "application/vnd.apache.parquet"
PLACES = np.random.default_rng(0).uniform([-180, -90], [180, 90], (300, 2))


@pytest.fixture(scope="module")
def headed(headed_bundle: Bundle, tiny_bundle: Bundle) -> Iterator[TestClient]:
    """A service of two models, the second without heads."""
    bundles = (str(headed_bundle.path), str(tiny_bundle.path))
    service = create_app(Settings(bundles=bundles, max_points_per_request=1000, max_batch_points=128))
    with TestClient(service, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def embeddings(headed: TestClient) -> np.ndarray:
    """Of PLACES, by their cells, as the service serves them."""
    answer = headed.post(
        "/v1/embeddings", content=PLACES.tobytes(), headers={"content-type": BINARY, "accept": "application/x-npy"}
    )
    return np.load(io.BytesIO(answer.content))


@pytest.fixture(scope="module")
def heights(embeddings: np.ndarray) -> np.ndarray:
    return 100 * embeddings[:, 0] + 200


@pytest.fixture(scope="module")
def colours(embeddings: np.ndarray) -> np.ndarray:
    powers = np.exp(6 * embeddings[:, : len(COLOURS)].astype(np.float64))
    return powers / powers.sum(axis=1, keepdims=True)


def ask(client: TestClient, **fields: Any) -> Any:
    return client.post(URL, json={"input": PLACES.tolist()} | fields)


def ask_binary(client: TestClient, accept: str, query: str, places: np.ndarray = PLACES) -> Any:
    headers = {"content-type": BINARY, "accept": accept}
    return client.post(f"{URL}?{query}", content=places.tobytes(), headers=headers)


def test_heads_are_listed_with_what_a_client_needs(headed):
    height, colour = headed.get("/v1/heads").json()["data"]
    assert (height["id"], height["model"], height["task"], height["unit"]) == ("height", "headed", "regression", "m")
    assert height["value_range"] == [0, 300]
    assert "classes" not in height
    assert (colour["id"], colour["task"], colour["classes"]) == ("colour", "classification", list(COLOURS))
    assert "unit" not in colour
    assert height["source"]["credit"] == "nobody"
    assert "file" not in height
    assert headed.get("/v1/heads?model=headed").json()["data"] == [height, colour]
    assert headed.get("/v1/heads?model=tiny").json()["data"] == []
    assert headed.get("/v1/heads?model=nope").status_code == 404


def test_a_regression_in_json(headed, heights):
    answer = ask(headed, head="height").json()
    assert (answer["object"], answer["model"], answer["usage"]["total_tokens"]) == ("list", "headed", len(PLACES))
    items = answer["data"]
    assert [item["index"] for item in items] == list(range(len(PLACES)))
    assert {(item["head"], item["unit"]) for item in items} == {("height", "m")}
    np.testing.assert_allclose([item["value"] for item in items], heights, rtol=1e-5)


def test_a_classification_in_json(headed, colours):
    for item, probabilities in zip(ask(headed, head="colour").json()["data"], colours, strict=True):
        best = np.argsort(-probabilities)[:5]
        assert item["label"] == COLOURS[best[0]]
        assert list(item["probabilities"]) == [COLOURS[k] for k in best]
        np.testing.assert_allclose(list(item["probabilities"].values()), probabilities[best], rtol=1e-4, atol=1e-7)


def test_several_heads_come_place_by_place_in_the_order_asked_for(headed):
    items = ask(headed, head=["colour", "height"]).json()["data"]
    assert [(item["index"], item["head"]) for item in items] == [
        (index, head) for index in range(len(PLACES)) for head in ("colour", "height")
    ]


def test_an_answer_names_the_cell_or_encodes_the_very_coordinate(headed):
    cells = [item["cell"] for item in ask(headed, head="height").json()["data"]]
    embedded = headed.post("/v1/embeddings", json={"input": PLACES.tolist()}).json()["data"]
    assert cells == [item["cell"] for item in embedded]
    exact = ask(headed, head="height", exact=True).json()["data"]
    assert "cell" not in exact[0]
    rows = headed.post("/v1/embeddings", json={"input": PLACES.tolist(), "exact": True}).json()["data"]
    np.testing.assert_allclose(
        [item["value"] for item in exact], [100 * row["embedding"][0] + 200 for row in rows], rtol=1e-5
    )


@pytest.mark.parametrize("query", ["head=height,colour", "head=height&head=colour", "head=height%2Ccolour"])
def test_raw_numbers_are_one_matrix_whose_columns_the_headers_name(headed, heights, colours, query):
    answer = ask_binary(headed, BINARY, query)
    assert answer.headers["x-prediction-shape"] == f"{len(PLACES)},7"
    assert answer.headers["x-prediction-dtype"] == "float32"
    assert answer.headers["x-prediction-columns"] == "height=1,colour=6"
    matrix = np.frombuffer(answer.content, "<f4").reshape(-1, 7)
    np.testing.assert_allclose(matrix[:, 0], heights, rtol=1e-5)
    np.testing.assert_allclose(matrix[:, 1:], colours, rtol=1e-4, atol=1e-7)


def test_npy_is_the_same_matrix(headed):
    answer = ask_binary(headed, NPY, "head=height,colour")
    matrix = np.load(io.BytesIO(answer.content))
    assert answer.headers["x-prediction-columns"] == "height=1,colour=6"
    assert (matrix.dtype, matrix.shape) == (np.float32, (len(PLACES), 7))
    np.testing.assert_array_equal(matrix.tobytes(), ask_binary(headed, BINARY, "head=height,colour").content)


@pytest.mark.parametrize("accept", [ARROW, PARQUET])
def test_tables_have_a_column_a_head(headed, heights, colours, accept):
    content = ask_binary(headed, accept, "head=height,colour").content
    table = pa.ipc.open_stream(content).read_all() if accept == ARROW else pq.read_table(io.BytesIO(content))
    assert table.column_names == ["lon", "lat", "h3", "height", "colour", "colour_probability"]
    np.testing.assert_allclose(table["lon"], PLACES[:, 0])
    np.testing.assert_allclose(table["height"], heights, rtol=1e-5)
    assert table["colour"].to_pylist() == [COLOURS[k] for k in colours.argmax(axis=1)]
    np.testing.assert_allclose(table["colour_probability"], colours.max(axis=1), rtol=1e-4)
    assert table.schema.metadata[b"satcle.model"] == b"headed"
    assert table.schema.field("height").metadata[b"unit"] == b"m"
    assert table["h3"].type == pa.uint64()


def test_arrow_in_and_exact_leaves_out_the_cell(headed):
    body = arrow(lon=PLACES[:, 0], lat=PLACES[:, 1])
    answer = headed.post(
        f"{URL}?head=height&exact=true", content=body, headers={"content-type": ARROW, "accept": ARROW}
    )
    assert pa.ipc.open_stream(answer.content).read_all().column_names == ["lon", "lat", "height"]


@pytest.mark.parametrize(
    "input_",
    [[1.5, 2.5], [[1.5, 2.5]], ["8a31aa42a4affff"], {"type": "Point", "coordinates": [1.5, 2.5]}],
    ids=["a pair", "pairs", "cells", "GeoJSON"],
)
def test_places_come_in_every_form(headed, input_):
    assert [item["index"] for item in ask(headed, head="height", input=input_).json()["data"]] == [0]


def test_one_place_alone_is_what_it_is_among_many(headed, heights):
    for index in (0, 150, 299):
        alone = ask(headed, head="height", input=PLACES[index].tolist()).json()["data"][0]
        assert alone["value"] == pytest.approx(heights[index], rel=1e-5)


def test_heads_work_on_another_backend_s_embeddings(headed_bundle):
    with TestClient(create_app(Settings(bundles=(str(headed_bundle.path),)), FakeBackend(EMBEDDING_DIM))) as client:
        rows = client.post("/v1/embeddings", json={"input": PLACES.tolist()}).json()["data"]
        items = ask(client, head="height").json()["data"]
    np.testing.assert_allclose(
        [item["value"] for item in items], [100 * row["embedding"][0] + 200 for row in rows], rtol=1e-5
    )


def post(client: TestClient, body: Any, query: str = "", **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(URL + query, content=content, headers={"content-type": JSON} | headers)


@pytest.mark.parametrize(
    ("body", "query", "headers", "status", "said"),
    [
        ({"input": [1, 2]}, "", {}, 422, "/head: is missing; headed has height, colour"),
        ({"input": [1, 2], "head": []}, "", {}, 422, "/head: is missing"),
        ({"input": [1, 2], "head": None}, "", {}, 422, "/head"),
        ({"input": [1, 2], "head": 7}, "", {}, 422, "/head: must be the name of a head, or a list of names"),
        ({"input": [1, 2], "head": [7]}, "", {}, 422, "/head/0"),
        ({"input": [1, 2], "head": {"a": "height"}}, "", {}, 422, "/head"),
        ({"input": [1, 2], "head": ["height", "height"]}, "", {}, 422, "twice"),
        ({"input": [1, 2], "head": ["height"] * 50_000}, "", {}, 422, "twice"),
        ({"input": [1, 2], "head": "hieght"}, "", {}, 404, "no head 'hieght'; there is height, colour"),
        ({"input": [1, 2], "head": ["height", ""]}, "", {}, 404, "no head ''"),
        ({"input": [1, 2], "head": "\ud800"}, "", {}, 404, "no head"),
        ({"input": [1, 2], "head": "x" * 5000}, "", {}, 404, "no head"),
        ({"input": [1, 2], "head": "height", "model": "tiny"}, "", {}, 404, "tiny has no heads"),
        ({"input": [1, 2], "model": "tiny"}, "", {}, 422, "tiny has none"),
        ({"input": [1, 2], "head": "height", "model": "nope"}, "", {}, 404, "no model"),
        ({"head": "height"}, "", {}, 422, "/input"),
        ({"input": [1, 99], "head": "height"}, "", {}, 422, "/input/1"),
        ({"input": [], "head": "height"}, "", {}, 422, "/input"),
        ({"input": [1, 2], "head": "height", "dimensions": 4}, "", {}, 422, "/dimensions"),
        ({"input": [1, 2], "head": "height", "exact": 1}, "", {}, 422, "/exact"),
        ({"input": [[1, 2]] * 1001, "head": "height"}, "", {}, 413, "1000"),
        (b"{", "", {}, 400, "not JSON"),
        ({"input": [1, 2], "head": "height"}, "", {"accept": "image/png"}, 406, "application/json"),
        ({"input": [1, 2], "head": "height"}, "", {"content-type": "text/plain"}, 415, "text/plain"),
        ({"input": [1, 2], "head": "height"}, "", {"x-deadline-ms": "no"}, 422, "X-Deadline-Ms"),
        (PLACES.tobytes(), "", {"content-type": BINARY}, 422, "/head: is missing"),
        (PLACES.tobytes(), "?head=", {"content-type": BINARY}, 404, "no head ''"),
        (PLACES.tobytes(), "?head=height,", {"content-type": BINARY}, 404, "no head ''"),
        (PLACES.tobytes(), "?head=height&exact=maybe", {"content-type": BINARY}, 422, "/exact"),
        (PLACES.tobytes(), "?head=height&model=headed&model=tiny", {"content-type": BINARY}, 404, "headed,tiny"),
        (PLACES.tobytes()[:-8], "?head=height", {"content-type": BINARY}, 400, "multiple of 16"),
    ],
)
def test_what_is_wrong_is_named(headed, body, query, headers, status, said):
    answer = post(headed, body, query, **headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json()["detail"]


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=scalars | st.lists(scalars | st.sampled_from(["height", "colour"]), max_size=3) | st.just("height"),
    places=st.lists(st.lists(scalars, max_size=3), max_size=3) | st.just([[1, 2]]),
    extra=st.dictionaries(st.sampled_from(["model", "exact", "normalize"]), scalars, max_size=2),
)
def test_any_json_is_answered_or_refused(headed, head, places, extra):
    answer = post(headed, {"head": head, "input": places, **extra})
    assert answer.status_code in {200, 400, 404, 413, 422}, answer.text


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.text(max_size=20), accept=st.sampled_from([JSON, BINARY, ARROW, PARQUET, NPY]))
def test_any_query_is_answered_or_refused(headed, query, accept):
    headers = {"content-type": BINARY, "accept": accept}
    answer = headed.post(URL, params={"head": query}, content=PLACES[:3].tobytes(), headers=headers)
    assert answer.status_code in {404, 422}


class Broken(FakeBackend):
    """Embeddings too large for what the head makes of them."""

    def embed(self, lonlat):
        return np.full((len(lonlat), self.embedding_dim), 3e38, np.float32)


def test_a_prediction_that_is_not_finite_is_refused(headed_bundle):
    with TestClient(create_app(Settings(bundles=(str(headed_bundle.path),)), Broken(EMBEDDING_DIM))) as client:
        answer = ask(client, head="height")
    assert answer.status_code == 503
    assert "head height returned values that are not finite" in answer.json()["detail"]


def test_a_late_prediction_is_a_504_and_a_busy_service_goes_on(headed):
    answer = headed.post(URL, json={"input": PLACES.tolist(), "head": "height"}, headers={"x-deadline-ms": "1"})
    assert answer.status_code in {200, 504}
    assert ask(headed, head="height").status_code == 200


def test_a_client_that_leaves_stops_it(headed_bundle):
    """ASGI itself: the disconnect comes while the model, which waits for it, is at work."""
    import threading

    class Slow(FakeBackend):
        release = threading.Event()

        def embed(self, lonlat):
            if self.armed:
                self.release.wait(10)
            return super().embed(lonlat)

        armed = False

    backend = Slow(EMBEDDING_DIM)
    app = create_app(Settings(bundles=(str(headed_bundle.path),)), backend)
    sent: list[dict] = []

    async def main() -> float:
        body = json.dumps({"input": PLACES.tolist(), "head": "height"}).encode()
        messages = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]

        async def receive():
            return messages.pop(0) if messages else await asyncio.Future()

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": URL,
            "raw_path": URL.encode(),
            "query_string": b"",
            "headers": [(b"content-type", JSON.encode())],
            "scheme": "http",
            "server": ("testserver", 80),
            "client": ("testclient", 1),
            "root_path": "",
        }
        async with app.router.lifespan_context(app):
            backend.armed = True
            await app(scope, receive, send)
            backend.release.set()
        return app.state.models.default.embedder.batcher.queued_points

    assert asyncio.run(main()) == 0
    assert sent[0]["status"] == 499
