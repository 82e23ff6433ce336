"""Files in the layouts of published encoders, small, with weights drawn here; and what those encoders compute."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

Floats = NDArray[np.float64]
HIDDEN, DIM = 24, 8


def siren(features: int, seed: int = 0, scale: float = 1.0) -> dict[str, Tensor]:
    """A SIREN's weights by their published names, float64."""
    drawn = torch.Generator().manual_seed(seed)
    sizes = {"layers.0": (HIDDEN, features), "layers.1": (HIDDEN, HIDDEN), "last_layer": (DIM, HIDDEN)}
    state: dict[str, Tensor] = {}
    for layer, (rows, columns) in sizes.items():
        bound = scale * (1 / columns if layer == "layers.0" else math.sqrt(6 / columns))
        state[f"{layer}.weight"] = (2 * torch.rand(rows, columns, generator=drawn, dtype=torch.float64) - 1) * bound
        state[f"{layer}.bias"] = (2 * torch.rand(rows, generator=drawn, dtype=torch.float64) - 1) * bound
    return state


def hyper_parameters(**other: object) -> dict[str, object]:
    return {
        "embed_dim": DIM,
        "vision_layers": "moco_resnet18",
        "le_type": "sphericalharmonics",
        "pe_type": "siren",
        "frequency_num": 16,
        "max_radius": 0.01,
        "min_radius": 1e-05,
        "legendre_polys": 6,
        "harmonics_calculation": "analytic",
        "num_hidden_layers": 2,
        "capacity": HIDDEN,
        **other,
    }


def lightning(network: dict[str, Tensor], extra: dict[str, Tensor] | None = None, **stated: object) -> dict:
    """A Lightning checkpoint, the network in it twice, beside an image tower's weights."""
    state = {"model.logit_scale": torch.tensor(2.6), "model.visual.conv1.weight": torch.zeros(4, 13, 3, 3)}
    for prefix in ("model.nnet.", "model.location.nnet."):
        state |= {prefix + name: value for name, value in network.items()}
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.0.0",
        "state_dict": state | (extra or {}),
        "hparams_name": "kwargs",
        "hyper_parameters": hyper_parameters(**stated),
    }


def save(content: object, path: Path, **options: object) -> Path:
    torch.save(content, path, **options)
    return path


def exact_harmonics(lonlat: Floats, legendre_polys: int) -> Floats:
    """Orthonormal real harmonics by scipy, in the published order and signs, m = 0 without its factor."""
    from scipy.special import sph_harm_y

    theta, phi = np.radians(lonlat[:, 1] + 90), np.radians(lonlat[:, 0] + 180)
    columns = []
    for degree in range(legendre_polys):
        for m in range(-degree, degree + 1):
            value = sph_harm_y(degree, abs(m), theta, phi)
            part = value.imag if m < 0 else value.real
            columns.append(part * (1 if m == 0 else math.sqrt(2) * (-1) ** m))
    return np.stack(columns, axis=1)


def zonal(legendre_polys: int) -> NDArray[np.bool_]:
    """Which features have m = 0."""
    is_zonal = np.zeros(legendre_polys**2, bool)
    is_zonal[[degree**2 + degree for degree in range(legendre_polys)]] = True
    return is_zonal


def published_siren(features: Floats, state: dict[str, Tensor]) -> Floats:
    """sin(30 (W Y + b)), sin(W h + b), W h + b."""
    w = {name: value.numpy() for name, value in state.items()}
    hidden = np.sin(30 * (features @ w["layers.0.weight"].T + w["layers.0.bias"]))
    hidden = np.sin(hidden @ w["layers.1.weight"].T + w["layers.1.bias"])
    embedding: Floats = hidden @ w["last_layer.weight"].T + w["last_layer.bias"]
    return embedding


def places(count: int = 60, seed: int = 0) -> Floats:
    """Random places, the poles, the antimeridian."""
    unit = np.random.default_rng(seed).random((count, 2))
    lonlat = np.stack([360 * unit[:, 0] - 180, np.degrees(np.arcsin(2 * unit[:, 1] - 1))], axis=1)
    lonlat[:5] = [[0, 90], [0, -90], [-180, 12], [180, 12], [179.999, -60]]
    return lonlat


ONNX_WEIGHT = np.random.default_rng(5).normal(size=(2, 12)).astype(np.float32) / 40


def onnx_encoder(path: Path, **changes: object) -> Path:
    """sin(x W) for x in degrees, (n, 12), as an ONNX file; `changes` make it another kind of file."""
    settings = {
        "input": "coordinates",
        "output": "features",
        "dtype": TensorProto.FLOAT,
        "shape": ["batch", 2],
        "domain": "",
        "opset": 17,
    } | changes
    weight = ONNX_WEIGHT.astype(helper.tensor_dtype_to_np_dtype(settings["dtype"]))
    given, made = settings["input"], settings["output"]
    nodes = [
        helper.make_node("MatMul", [given, "W"], ["phases"]),
        helper.make_node("Sin" if not settings["domain"] else "Sine", ["phases"], [made], domain=settings["domain"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(given, settings["dtype"], settings["shape"])],
        [helper.make_tensor_value_info(made, settings["dtype"], ["batch", 12])],
        [numpy_helper.from_array(weight, "W")],
    )
    opsets = [helper.make_opsetid("", settings["opset"])]
    if settings["domain"]:
        opsets.append(helper.make_opsetid(settings["domain"], 1))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def with_external_data(path: Path, location: str) -> Path:
    """The same encoder, its weight in the file `location` beside it."""
    model = onnx.load(onnx_encoder(path))
    weight = model.graph.initializer[0]
    (path.parent / "data.bin").write_bytes(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(ONNX_WEIGHT.nbytes))):
        weight.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path
