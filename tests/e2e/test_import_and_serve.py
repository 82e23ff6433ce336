"""Files that others published → satcle import → the service: one order of coordinates, one API, maps and all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.bundle import read_bundle
from service.settings import Settings
from tests.golden import golden, golden_arrays
from tests.trainer.importers.layouts import ONNX_WEIGHT, lightning, onnx_encoder, save, siren
from trainer.importers import Choices
from trainer.importers.bundle import import_bundle

FEW = 50
PLACES = np.array(
    [[2.35, 48.86], [-70.67, -33.45], [116.4, 39.9], [0.0, 90.0], [77.0, 90.0], [-180.0, -16.8], [180.0, 12.0]]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("imported")


@pytest.fixture(scope="module")
def bundles(folder: Path) -> tuple[str, ...]:
    """SatCLIP's layout, and one encoder as two ONNX files that take their coordinates in two orders."""
    import_bundle(save(lightning(siren(36)), folder / "a.ckpt"), folder / "satclip", snap_places=FEW)
    for order in ("lonlat", "latlon"):
        choices = Choices(order=order, dimensions=(4, 8))
        import_bundle(_ordered(folder / f"{order}.onnx", order), folder / order, choices, snap_places=FEW)
    return tuple(str(folder / name) for name in ("satclip", "lonlat", "latlon"))


def _ordered(path: Path, order: str) -> Path:
    """sin(lonlat W), the rows of W swapped where the graph takes (lat, lon)."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(onnx_encoder(path))
    weight = ONNX_WEIGHT if order == "lonlat" else ONNX_WEIGHT[::-1]
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(weight), "W"))
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="module")
def client(bundles: tuple[str, ...]):
    with TestClient(create_app(Settings(bundles=bundles))) as running:
        yield running


def embed(client: TestClient, model: str, **options: object):
    return client.post("/v1/embeddings", json={"input": PLACES.tolist(), "model": model, "exact": True} | options)


def rows(answer) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.array([item["embedding"] for item in answer.json()["data"]])


def test_a_place_is_the_same_place_whatever_order_the_graph_takes(client):
    lonlat, latlon = rows(embed(client, "lonlat")), rows(embed(client, "latlon"))
    np.testing.assert_allclose(lonlat, np.sin(PLACES @ ONNX_WEIGHT), atol=1e-5)
    np.testing.assert_allclose(latlon, lonlat, atol=1e-5)


@pytest.mark.parametrize(("model", "periodic"), [("satclip-rn18-l6", True), ("lonlat", False)])
def test_only_an_encoder_that_tells_them_apart_is_asked_for_two_names_of_one_place(client, model, periodic):
    names = {"input": [[-180, -16.8], [180, -16.8]], "model": model, "exact": True}
    west, east = rows(client.post("/v1/embeddings", json=names))
    assert client.get(f"/v1/models/{model}").json()["periodic"] is periodic
    assert (west == east).all() == periodic


@pytest.mark.parametrize("dimensions", [4, 8, 12])
def test_prefixes_are_served_where_the_encoder_has_them(client, dimensions):
    np.testing.assert_array_equal(
        rows(embed(client, "latlon", dimensions=dimensions)), rows(embed(client, "latlon"))[:, :dimensions]
    )


def test_prefixes_are_refused_where_it_has_none(client):
    assert embed(client, "satclip-rn18-l6", dimensions=4).status_code == 422
    assert embed(client, "latlon", dimensions=5).status_code == 422


def test_cards_carry_their_limits(client):
    card = client.get("/v1/models/satclip-rn18-l6").json()
    assert "fine-grained" in card["limits"]
    assert card["training"]["samples"] is None
    assert client.get("/v1/models/latlon").json()["encoding"]["kind"] == "onnx"


@pytest.mark.parametrize("model", ["satclip-rn18-l6", "latlon"])
def test_maps_work(client, model):
    for kind in ("embeddings", "similarity"):
        tile = f"/v1/{kind}/tiles/WebMercatorQuad/1/0/0.png"
        answer = client.get(
            tile, params={"model": model} | ({"reference": "2.35,48.86"} if kind == "similarity" else {})
        )
        assert answer.status_code == 200, answer.text
        assert answer.content.startswith(b"\x89PNG")


def test_bundles_verify(bundles):
    assert [read_bundle(Path(bundle)).card.name for bundle in bundles] == ["satclip-rn18-l6", "lonlat", "latlon"]


@pytest.mark.parametrize("legendre_polys", [10, 40])
def test_reference_checkpoints_are_served_as_the_published_code_embeds(folder, legendre_polys):
    arrays = golden_arrays(f"satclip_L{legendre_polys}.npz")
    source = golden(f"satclip_L{legendre_polys}.ckpt")
    bundle = import_bundle(source, folder / f"l{legendre_polys}", snap_places=FEW)
    with TestClient(create_app(Settings(bundles=(str(bundle.path),)))) as running:
        answer = running.post("/v1/embeddings", json={"input": arrays["lonlat"].tolist(), "exact": True})
    served, expected = rows(answer), arrays["emb_analytic"]
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (served, expected))
    assert 0.5 * np.square(u - v).sum(axis=1).max() <= 5e-6
