"""The whole service in process, on the tiny bundle, spoken to by HTTP."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from starlette.testclient import TestClient

from service.app import create_app
from service.bundle import (
    Bundle,
    ComponentsCard,
    DataSource,
    HeadCard,
    LonLat,
    TrainingPlacesCard,
    training_places_file,
    write_bundle,
)
from service.settings import Settings

ClientMaker = Callable[..., TestClient]


@pytest.fixture
def make_client(tiny_bundle: Bundle) -> Iterator[ClientMaker]:
    """`make_client(backend=None, **settings)` starts a service of its own."""
    with ExitStack() as running:

        def make(backend: Any = None, **settings: Any) -> TestClient:
            app = create_app(Settings(**{"bundles": (str(tiny_bundle.path),)} | settings), backend)
            return running.enter_context(TestClient(app, raise_server_exceptions=False))

        yield make


@pytest.fixture(scope="session")
def client(tiny_bundle: Bundle) -> Iterator[TestClient]:
    """One service with small limits, shared by tests that change nothing."""
    settings = Settings(
        bundles=(str(tiny_bundle.path),), max_points_per_request=1000, max_body_bytes=100_000, worker_threads=2
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def full_bundle(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle with all that maps show: heads `height` (m) and `cover` (three classes), components, places."""
    source = DataSource(name="none", credit="somebody else", license="MIT")
    classes = ("wood", "field", "town")
    heads = (
        HeadCard(id="height", task="regression", file="height.onnx", unit="m", value_range=(-5, 5), source=source),
        HeadCard(
            id="cover",
            task="classification",
            file="cover.onnx",
            classes=classes,
            class_colors=("#009900", "#C24F44", "#a5a5a5"),
            source=source,
        ),
    )
    described = ComponentsCard(file="components.npy", explained=(0.5, 0.3, 0.1), quantiles=(0.02, 0.98), places=1)
    places = TrainingPlacesCard(file="training_places.npy", count=1)
    fields = {"name": "full", "heads": heads, "components": described, "training_places": places}
    card = tiny_bundle.card.model_copy(update=fields)
    rng = np.random.default_rng(0)
    components = io.BytesIO()
    np.save(components, np.vstack([0.2 * rng.normal(size=(8, 3)), [[0.5, 0.5, 0.5]]]).astype(np.float32))
    files = {
        "encoder.onnx": tiny_bundle.read("encoder.onnx"),
        "height.onnx": _head(rng.normal(size=(8, 1)), "Identity"),
        "cover.onnx": _head(3 * rng.normal(size=(8, 3)), "Softmax"),
        "components.npy": components.getvalue(),
        "training_places.npy": training_places_file(LonLat.from_degrees([[0.0, 0.0]])),
    }
    return write_bundle(tmp_path_factory.mktemp("bundles") / "full", card, files)


@pytest.fixture(scope="session")
def map_client(full_bundle: Bundle) -> Iterator[TestClient]:
    """One service of the full bundle with small limits, shared by tests that change nothing."""
    settings = Settings(
        bundles=(str(full_bundle.path),), max_map_points=200_000, max_points_per_request=1000, worker_threads=2
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def _head(weights: np.ndarray, activation: str) -> bytes:
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["embedding", "weights"], ["linear"]),
            helper.make_node(activation, ["linear"], ["prediction"]),
        ],
        "head",
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", len(weights)])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["n", weights.shape[1]])],
        [numpy_helper.from_array(weights.astype(np.float32), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()
