"""Bundles small enough to make in a test: a real ONNX graph, eight dimensions, no training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import settings
from onnx import TensorProto, helper, numpy_helper

from service.bundle import (
    UNSIGNED,
    Bundle,
    BundleCard,
    DataSource,
    HeadCard,
    LonLat,
    Network,
    Parity,
    PositionalEncoding,
    PrecisionCard,
    Training,
    TrainingPlacesCard,
    training_places_file,
    write_bundle,
)

settings.register_profile("service", deadline=None)  # a first call may wait for the machine's other work
settings.load_profile("service")

EMBEDDING_DIM = 8
COLOURS = ("red", "orange", "yellow", "green", "blue", "violet")
TRAINED_AT = [[0.0, 0.0], [90.0, 45.0], [179.5, 0.0]]
SOURCE = DataSource(name="none", credit="nobody", license="MIT")
BundleMaker = Callable[..., Bundle]


@pytest.fixture(scope="session")
def tiny_bundle(make_bundle: BundleMaker, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of dimensions (4, 8) that snaps to resolution 10. Shared: don't alter its files."""
    return make_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def make_bundle() -> BundleMaker:
    """`make_bundle(path, **card_fields)` writes a bundle like `tiny_bundle` whose card has these fields."""
    return write_tiny


def let_one_be_a_megabyte(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the service estimates the memory of a tiny model, so that a bound of whole megabytes means something."""
    monkeypatch.setattr("service.embedding.model.BYTES_PER_GRAPH_BYTE", 2**20 // len(tiny_encoder()))


def write_tiny(
    path: Path, *, shift: float = 0.0, padding: int = 0, overwrite: bool = False, **card_fields: Any
) -> Bundle:
    """A tiny bundle; one of another `shift` embeds otherwise, and one with `padding` is larger by so many bytes."""
    files = {"encoder.onnx": tiny_encoder(shift, padding)}
    return write_bundle(path, _card(**card_fields), files, overwrite=overwrite)


@pytest.fixture(scope="session")
def headed_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle with a regression `height`, in m, and a classification `colour` of six. Don't alter its files."""
    files = {"encoder.onnx": tiny_encoder(), "height.onnx": height_graph(), "colour.onnx": colour_graph()}
    heads = (
        HeadCard(id="height", task="regression", file="height.onnx", unit="m", value_range=(0, 300), source=SOURCE),
        HeadCard(id="colour", task="classification", file="colour.onnx", classes=COLOURS, source=SOURCE),
    )
    return write_bundle(tmp_path_factory.mktemp("bundles") / "headed", _card(name="headed", heads=heads), files)


@pytest.fixture(scope="session")
def placed_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle, trained at TRAINED_AT. Don't alter its files."""
    described = TrainingPlacesCard(file="training_places.npy", count=len(TRAINED_AT))
    places = training_places_file(LonLat.from_degrees(TRAINED_AT))
    files = {"encoder.onnx": tiny_encoder(), described.file: places}
    card = _card(name="placed", training_places=described)
    return write_bundle(tmp_path_factory.mktemp("bundles") / "placed", card, files)


@pytest.fixture(scope="session")
def precise_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle with both precisions; its float16 graph embeds otherwise, so that it is told from the other."""
    figures: dict[str, Any] = {"cosine_mean": 1e-7, "cosine_max": 1e-6, "points": 9, "measured": "not at all"}
    precisions = (PrecisionCard(name="tf32", **figures), PrecisionCard(name="float16", file="half.onnx", **figures))
    files = {"encoder.onnx": tiny_encoder(), "half.onnx": tiny_encoder(shift=1.0)}
    return write_bundle(tmp_path_factory.mktemp("bundles") / "precise", _card(precisions=precisions), files)


def height_graph(width: int = EMBEDDING_DIM, output: str = "prediction", scale: float = 100.0) -> bytes:
    """100 x the first dimension + 200."""
    weight = np.zeros((width, 1), np.float32)
    weight[0] = scale
    return _head_graph(width, [("weight", weight), ("bias", np.array([200], np.float32))], [], output, 1)


def colour_graph() -> bytes:
    """The softmax of the first six dimensions, six times over."""
    weight = 6 * np.eye(EMBEDDING_DIM, len(COLOURS), dtype=np.float32)
    softmax = helper.make_node("Softmax", ["linear"], ["prediction"], axis=1)
    constants = [("weight", weight), ("bias", np.zeros(len(COLOURS), np.float32))]
    return _head_graph(EMBEDDING_DIM, constants, [softmax], "linear", len(COLOURS))


def _head_graph(
    width: int, constants: list[tuple[str, Any]], after: list[onnx.NodeProto], linear: str, columns: int
) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["embedding", "weight", "bias"], [linear]), *after],
        "head",
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info("prediction" if after else linear, TensorProto.FLOAT, ["n", columns])],
        [numpy_helper.from_array(values, name) for name, values in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def tiny_encoder(shift: float = 0.0, padding: int = 0) -> bytes:
    """embedding = sin(radians(lonlat) @ A + b): smooth, and periodic in lon, as the places are."""
    degrees_to_map = np.pi / 180 * np.array([[1, 2, 3, 1, 0, 2, 1, 4], [0.5, 1, -1, 2, 1.5, -2, 3, 0.7]])
    phase = np.arange(EMBEDDING_DIM) / 4 + shift
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["lonlat", "map"], ["mapped"]),
            helper.make_node("Add", ["mapped", "phase"], ["phased"]),
            helper.make_node("Sin", ["phased"], ["sine"]),
            helper.make_node("Cast", ["sine"], ["embedding"], to=TensorProto.FLOAT),
        ],
        "tiny",
        [helper.make_tensor_value_info("lonlat", TensorProto.DOUBLE, ["n", 2])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", EMBEDDING_DIM])],
        [numpy_helper.from_array(degrees_to_map, "map"), numpy_helper.from_array(phase, "phase")],
        doc_string="." * padding,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _card(**fields: Any) -> BundleCard:
    described: dict[str, Any] = {
        "name": "tiny",
        "version": "1.0.0",
        "digest": UNSIGNED,
        "description": "Sines of a linear map of lon and lat, for tests",
        "license": "MIT",
        "limits": "knows nothing of the Earth",
        "embedding_dim": EMBEDDING_DIM,
        "dimensions": (4, EMBEDDING_DIM),
        "encoding": PositionalEncoding(variant="exact", legendre_polys=2),
        "network": Network(hidden_dim=8, hidden_layers=1),
        "snap_resolution": 10,
        "parity": Parity(max_abs_error=0.0, points=1),
        "training": Training(
            method="none",
            sources=(DataSource(name="none", credit="nobody", license="MIT"),),
            samples=0,
            epochs=0,
            seed=0,
            fusion_served=False,
            config_digest=UNSIGNED,
        ),
    }
    return BundleCard(**described | fields)
