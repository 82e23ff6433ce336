"""POST /v1/compare over HTTP, on two tiny models that embed otherwise and snap to cells of different sizes."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.service.conftest import BundleMaker, let_one_be_a_megabyte
from tests.service.embedding.test_agreement import brute_force, cka

PLACES = np.random.default_rng(0).uniform([-180, -90], [180, 90], (30, 2)).round(4).tolist()


@pytest.fixture(scope="module")
def two(make_bundle: BundleMaker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("two")
    make_bundle(folder / "a", name="a", snap_resolution=10)
    make_bundle(folder / "b", name="b", snap_resolution=3, shift=0.3)
    settings = Settings(bundles=(str(folder),), max_compare_points=50, max_body_bytes=10_000)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def ask(client: TestClient, places: Any = PLACES, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/compare", json={"input": places, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def rows_of(client: TestClient, model: str, places: Any = PLACES) -> np.ndarray:
    """What `/v1/embeddings` says, at the very coordinates."""
    body = {"input": places, "model": model, "exact": True}
    answer = client.post("/v1/embeddings", json=body, headers={"accept": "application/x-npy"})
    return np.load(io.BytesIO(answer.content))


def test_the_figures_are_those_of_the_embeddings_at_the_very_places(two: TestClient) -> None:
    answer = ask(two, k=4)
    rows = {name: rows_of(two, name) for name in ("a", "b")}
    (pair,) = answer["pairs"]
    assert pair["models"] == ["a", "b"]
    assert pair["cka"] == pytest.approx(cka(rows["a"], rows["b"]), rel=1e-9)
    near = [brute_force(rows[name], 4) for name in ("a", "b")]
    common = sum(len(one & other) for one, other in zip(*near, strict=True))
    assert pair["neighbour_agreement"] == pytest.approx(common / 120)
    assert answer["k"] == 4
    for embeddings, name in zip(answer["embeddings"], ("a", "b"), strict=True):
        assert embeddings["model"] == name
        assert "cell" not in embeddings["data"][0]
        np.testing.assert_array_equal(
            np.array([item["embedding"] for item in embeddings["data"]], np.float32), rows[name]
        )


def test_a_place_of_the_antimeridian_is_one_place_however_it_is_written(two: TestClient) -> None:
    east, west = ([[lon, 10], [0, 0], [50, -40], [179, 10]] for lon in (180, -180))
    assert ask(two, east) == ask(two, west)


def test_k_is_10_or_all_the_others(two: TestClient) -> None:
    assert ask(two)["k"] == 10
    assert ask(two, PLACES[:4])["k"] == 3
    assert ask(two, PLACES[:4])["pairs"][0]["neighbour_agreement"] == 1


def test_which_models_and_whether_with_embeddings(two: TestClient) -> None:
    assert [model["id"] for model in ask(two, models=["b", "a"])["models"]] == ["b", "a"]
    alone = ask(two, models=["b"], embeddings=False)
    assert (alone["pairs"], "embeddings" in alone) == ([], False)
    assert alone["usage"]["total_tokens"] == len(PLACES)
    packed = ask(two, models=["a"], encoding_format="base64")["embeddings"][0]["data"][3]["embedding"]
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(packed), "<f4"), rows_of(two, "a")[3])


@pytest.mark.parametrize("body", ["float64", "arrow"])
def test_places_come_in_binary_too(two: TestClient, body: str) -> None:
    if body == "float64":
        content, media_type = np.array(PLACES, "<f8").tobytes(), "application/octet-stream"
    else:
        table = pa.table({"lon": [lon for lon, _ in PLACES], "lat": [lat for _, lat in PLACES]})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        content, media_type = sink.getvalue().to_pybytes(), "application/vnd.apache.arrow.stream"
    query = {"models": "a,b", "k": "5", "embeddings": "false"}
    answer = two.post("/v1/compare", params=query, content=content, headers={"content-type": media_type})
    assert answer.json() == ask(two, models=["a", "b"], k=5, embeddings=False)


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"input": PLACES[:2]}, 422, "/input: has 2 places; CKA needs at least 3"),
        ({"input": PLACES[:3], "k": 3}, 422, "/k: is 3; it must be less than the 3 places"),
        ({"input": PLACES, "k": 0}, 422, "/k"),
        ({"input": PLACES, "models": []}, 422, "names no model"),
        ({"input": PLACES, "models": ["a", "a"]}, 422, "names a model twice"),
        ({"input": PLACES, "models": 5}, 422, "must be a list of names of /v1/models"),
        ({"input": PLACES, "models": ["c"]}, 404, "no model 'c' is served; there is a, b"),
        ({"input": PLACES * 2}, 413, "60 places are more than the 50 of SATCLE_MAX_COMPARE_POINTS"),
        ({"input": PLACES, "model": "a"}, 422, "/model: is not a field"),
    ],
)
def test_what_cannot_be_compared(two: TestClient, fields: dict[str, Any], status: int, said: str) -> None:
    answer = two.post("/v1/compare", json=fields)
    assert answer.status_code == status
    assert said in answer.json()["detail"]


def test_places_that_are_all_one_have_no_cka(two: TestClient) -> None:
    assert ask(two, [[1, 2]] * 5, embeddings=False)["pairs"][0]["cka"] is None


def test_models_are_compared_though_only_one_fits_the_memory(
    two: TestClient, make_bundle: BundleMaker, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, shift in (("a", 0.0), ("b", 0.3)):
        make_bundle(tmp_path / name, name=name, shift=shift)
    let_one_be_a_megabyte(monkeypatch)
    with TestClient(create_app(Settings(bundles=(str(tmp_path),), model_memory_mb=1))) as client:
        assert [model["loaded"] for model in client.get("/v1/models").json()["data"]] == [True, False]
        assert ask(client, k=4)["pairs"] == ask(two, k=4)["pairs"]
        assert sum(model["loaded"] for model in client.get("/v1/models").json()["data"]) == 1
