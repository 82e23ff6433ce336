"""Several models in one service: named in every request, unloaded and loaded again, reloaded with a key."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.bundle import Bundle, write_bundle
from service.settings import Settings
from tests.service.conftest import BundleMaker, let_one_be_a_megabyte, tiny_encoder

KEY = {"x-api-key": "a-good-key"}
PLACES = [[116.4, 39.9], [2.35, 48.86]]
JSON, FLOAT64, ARROW = "application/json", "application/octet-stream", "application/vnd.apache.arrow.stream"
BOX = {"bbox": [0, 0, 4, 4], "width": 4, "height": 4}
TILE = "tiles/WorldCRS84Quad/1/0/0.npy"


@pytest.fixture(scope="module")
def pair(full_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """`full`, the default, and `other`: with the same heads and components, on embeddings that are not the same."""
    files = {name: full_bundle.read(name) for name in full_bundle.manifest.files if name != "card.json"}
    files["encoder.onnx"] = tiny_encoder(shift=0.5)
    folder = tmp_path_factory.mktemp("pair")
    write_bundle(folder / "other", full_bundle.card.model_copy(update={"name": "other"}), files)
    settings = Settings(bundles=(str(full_bundle.path), str(folder)))
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def arrow_of(places: list[list[float]]) -> bytes:
    lon, lat = zip(*places, strict=True)
    table = pa.table({"lon": list(map(float, lon)), "lat": list(map(float, lat))})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


POSTS: dict[str, tuple[str, dict[str, Any]]] = {
    "embeddings": ("/v1/embeddings", {"input": PLACES}),
    "similarity": ("/v1/similarity", {"reference": PLACES[0], "candidates": PLACES}),
    "predictions": ("/v1/predictions", {"input": PLACES, "head": "height"}),
    "similarity map": ("/v1/similarity/map", {"reference": PLACES[0], **BOX}),
    "predictions map": ("/v1/predictions/map", {"head": "height", **BOX}),
    "embeddings map": ("/v1/embeddings/map", BOX),
    "map of cells": ("/v1/predictions/map", {"head": "height", "bbox": BOX["bbox"], "h3_resolution": 3}),
}


@pytest.mark.parametrize(("url", "body"), POSTS.values(), ids=POSTS)
def test_every_post_takes_the_model_in_its_body_and_in_its_query(
    pair: TestClient, url: str, body: dict[str, Any]
) -> None:
    default, named = pair.post(url, json=body), pair.post(url, json={**body, "model": "full"})
    other, queried = pair.post(url, json={**body, "model": "other"}), pair.post(f"{url}?model=other", json=body)
    assert default.status_code == other.status_code == 200, other.text
    assert named.content == default.content
    assert queried.content == other.content != default.content
    for unknown in (pair.post(url, json={**body, "model": "third"}), pair.post(f"{url}?model=third", json=body)):
        assert unknown.status_code == 404
        assert "no model 'third' is served; there is full, other" in unknown.json()["detail"]


@pytest.mark.parametrize(("url", "query"), [("/v1/embeddings", {}), ("/v1/predictions", {"head": "height"})])
@pytest.mark.parametrize("media_type", [FLOAT64, ARROW])
def test_binary_bodies_have_it_in_the_query(pair: TestClient, url: str, query: dict[str, str], media_type: str) -> None:
    content = np.array(PLACES, "<f8").tobytes() if media_type == FLOAT64 else arrow_of(PLACES)

    def ask(model: str) -> Any:
        headers = {"content-type": media_type, "accept": "application/x-npy"}
        return pair.post(url, params={**query, "model": model}, content=content, headers=headers)

    full, other = ask("full"), ask("other")
    assert full.status_code == other.status_code == 200
    assert not np.array_equal(np.load(io.BytesIO(full.content)), np.load(io.BytesIO(other.content)))
    assert ask("third").status_code == 404


GETS = [
    f"/v1/similarity/{TILE}?reference=1,2",
    f"/v1/predictions/height/{TILE}?",
    f"/v1/embeddings/{TILE}?",
    "/v1/similarity/point/5,6?reference=1,2",
    "/v1/predictions/height/point/5,6?",
    "/v1/embeddings/point/5,6?",
    "/v1/similarity/WebMercatorQuad/tilejson.json?reference=1,2",
    "/v1/predictions/cover/legend.json?",
    "/v1/heads?",
]


@pytest.mark.parametrize("url", GETS)
def test_every_get_takes_it_in_its_query(pair: TestClient, url: str) -> None:
    full, other = pair.get(f"{url}&model=full"), pair.get(f"{url}&model=other")
    assert full.status_code == other.status_code == 200, other.text
    assert full.content != other.content
    assert pair.get(f"{url}&model=third").status_code == 404


def test_the_list_says_which_are_loaded_and_what_their_limits_are(pair: TestClient) -> None:
    listed = pair.get("/v1/models").json()["data"]
    assert [model["id"] for model in listed] == ["full", "other"]
    assert all(model["loaded"] and model["limits"] == "knows nothing of the Earth" for model in listed)
    assert pair.get("/v1/models/other").json()["limits"] == "knows nothing of the Earth"


@pytest.mark.parametrize(
    "path", ["/v1/heads", "/v1/models", "/v1/models/full", "/info", "/livez", "/readyz", "/metrics"]
)
def test_what_can_be_got_can_be_asked_for_its_head(pair: TestClient, path: str) -> None:
    answer = pair.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == pair.get(path).headers["content-type"]


def test_heads_refuse_parameters_that_they_do_not_know(pair: TestClient) -> None:
    answer = pair.get("/v1/heads?modle=other")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/modle"


class Folder:
    """A folder of tiny models, each of which embeds as its version says, and a service of it with a key."""

    def __init__(self, path: Path, make_bundle: BundleMaker) -> None:
        self.path, self._make = path, make_bundle
        (path.parent / "keys").write_text("a-good-key\n")
        self.write("a")
        self.write("b")

    def write(self, name: str, version: str = "1") -> Bundle:
        return self._make(self.path / name, name=name, version=version, shift=float(version), overwrite=True)

    def settings(self, **settings: Any) -> Settings:
        return Settings(bundles=(str(self.path),), api_keys_file=self.path.parent / "keys", **settings)


@pytest.fixture
def folder(tmp_path: Path, make_bundle: BundleMaker) -> Folder:
    return Folder(tmp_path / "all", make_bundle)


def reload_of(client: TestClient) -> dict[str, str]:
    answer = client.post("/v1/models/reload", headers=KEY)
    assert answer.status_code == 200
    return {change["id"]: change["change"] for change in answer.json()["data"]}


def embedded(client: TestClient, model: str) -> list[float]:
    answer = client.post("/v1/embeddings", json={"input": PLACES[0], "model": model}, headers=KEY)
    return answer.json()["data"][0]["embedding"]


def test_a_reload_over_http(folder: Folder) -> None:
    with TestClient(create_app(folder.settings())) as client:
        before = {name: embedded(client, name) for name in ("a", "b")}
        assert before["a"] == before["b"]  # as their versions are
        folder.write("b", "2")
        folder.write("c", "2")
        (folder.write("d").path / "encoder.onnx").write_bytes(b"altered")
        answer = client.post("/v1/models/reload", headers=KEY).json()
        changes = {change["id"]: change for change in answer["data"]}
        assert {name: change["change"] for name, change in changes.items()} == {
            "a": "kept", "b": "replaced", "c": "added", "d": "refused",
        }  # fmt: skip
        assert changes["d"]["problem"]["status"] == 422
        assert "encoder.onnx" in changes["d"]["problem"]["detail"]
        assert embedded(client, "a") == before["a"]
        assert embedded(client, "b") == embedded(client, "c") != before["b"]
        listed = client.get("/v1/models", headers=KEY).json()["data"]
        assert {model["id"]: model["digest"] for model in listed}["b"] == changes["b"]["digest"]

        shutil.rmtree(folder.path / "b")
        shutil.rmtree(folder.path / "a")
        assert reload_of(client) == {"a": "refused", "b": "removed", "c": "kept", "d": "refused"}
        assert embedded(client, "a") == before["a"]
        gone = client.post("/v1/embeddings", json={"input": PLACES, "model": "b"}, headers=KEY)
        assert gone.status_code == 404
        assert client.get("/readyz").status_code == 200
        assert client.get("/v1/models", headers=KEY).status_code == client.get("/info", headers=KEY).status_code == 200


def test_nobody_without_a_key_reloads(folder: Folder, make_client: Any) -> None:
    with TestClient(create_app(folder.settings())) as client:
        assert client.post("/v1/models/reload").status_code == 401
        assert client.post("/v1/models/reload", headers={"x-api-key": "wrong"}).status_code == 401
    open_to_all = make_client().post("/v1/models/reload")
    assert open_to_all.status_code == 403
    assert "SATCLE_API_KEYS_FILE" in open_to_all.json()["detail"]


def test_what_makes_room_is_loaded_again_and_answers_as_before(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    let_one_be_a_megabyte(monkeypatch)
    folder.write("b", "2")
    with TestClient(create_app(folder.settings(model_memory_mb=1))) as client:

        def loaded() -> list[bool]:
            return [model["loaded"] for model in client.get("/v1/models", headers=KEY).json()["data"]]

        assert loaded() == [True, False]
        first = embedded(client, "a")
        assert embedded(client, "b") != first
        assert loaded() == [False, True]
        assert client.get("/readyz").status_code == 200
        assert client.get("/v1/heads", headers=KEY).json()["data"] == []
        assert client.get("/info", headers=KEY).json()["models"][0]["loaded"] is False
        assert loaded() == [False, True]
        assert embedded(client, "a") == first
        text = client.get("/metrics").text
        assert "satcle_models_loaded 1.0" in text
        assert 'satcle_model_loads_total{model="a",result="loaded"} 2.0' in text
        assert "satcle_model_unloads_total 2.0" in text


def test_a_model_that_is_unloaded_and_whose_files_are_gone_is_not_ready(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_one_be_a_megabyte(monkeypatch)
    with TestClient(create_app(folder.settings(model_memory_mb=1))) as client:
        shutil.rmtree(folder.path / "b")
        answer = client.post("/v1/embeddings", json={"input": PLACES, "model": "b"}, headers=KEY)
        assert answer.status_code == 503
        assert "model b cannot be loaded" in answer.json()["detail"]
        assert embedded(client, "a")
