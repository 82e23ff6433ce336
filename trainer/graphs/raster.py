"""The location encoder over a grid: a second ONNX graph, made from the constants of the first.

A harmonic is a function of latitude times one of longitude, so that at one latitude θ the first layer is a sum over
2L - 1 waves of longitude, Σ_m cos mφ U_m(θ) + sin mφ V_m(θ): L² products a point become 2L - 1. U and V are a product
of the waves of latitude with a constant, the Legendre matrix times the first layer's weights, made here in float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from trainer.graphs.building import OUTPUT, Graph, tensor
from trainer.graphs.encoder import PARITIES

LONS, LATS = "lons", "lats"
ZONAL = "zonal"
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Encoder:
    """What `encoder_graph` put into a graph: its constants, and which of its waves each family is."""

    constants: Mapping[str, NDArray[np.generic]]
    families: Mapping[str, slice]

    @classmethod
    def of(cls, model: onnx.ModelProto) -> _Encoder:
        constants = {constant.name: numpy_helper.to_array(constant) for constant in model.graph.initializer}
        (split,) = (node for node in model.graph.node if node.op_type == "Split")
        stops = np.cumsum(constants["wave_sizes"]).tolist()
        starts = [0, *stops]
        families = {name: slice(*bounds) for name, *bounds in zip(split.output, starts, stops, strict=False)}
        return cls(constants, families)

    @property
    def hidden_dim(self) -> int:
        return len(self.constants["bias_0"])

    def of_waves(self, name: str, families: Sequence[str]) -> Floats:
        """The last axis of `name` at the waves of `families`; that of m = 0 is cos 0."""
        first = slice(self.families["cos_lat"].start, self.families["cos_lat"].start + 1)
        waves = [first if family == ZONAL else self.families[family] for family in families]
        return np.concatenate([self.exact(name)[..., of] for of in waves], axis=-1)

    def exact(self, name: str) -> Floats:
        return self.constants[name].astype(np.float64)


def has_raster_graph(encoder: onnx.ModelProto) -> bool:
    """Whether `encoder` has spherical harmonics before a SIREN, built by hand: its first layer alone is separable."""
    return {"wave_sizes", "weight_0"} <= {constant.name for constant in encoder.graph.initializer}


def raster_graph(encoder: onnx.ModelProto) -> onnx.ModelProto:
    """`encoder`, which `encoder_graph` made, over grids: float64 `lons` (W,) and `lats` (H,) in degrees in, float32
    `embedding` (H W, embedding_dim) out, row i W + j being the place (lons[j], lats[i]).
    """
    given = _Encoder.of(encoder)
    graph = Graph()
    graph.constant("two_pi", given.constants["two_pi"])
    graph.constant("rows_axis", np.array([0]))
    graph.constant("waves_axis", np.array([1]))
    families = _first_layer(given)
    by_row = _add_row_matrices(graph, given, families)
    longitude = _add_waves(graph, given, LONS, list(families))
    by_column = graph.node("Unsqueeze", "waves_of_columns", longitude, "rows_axis")
    first = graph.node("MatMul", "layer_0", by_column, by_row)
    hidden_shape = graph.constant("hidden_shape", np.array([-1, given.hidden_dim]))
    hidden = graph.node("Reshape", "hidden", graph.node("Sin", "sine_0", first), hidden_shape)
    grid = [tensor(LONS, TensorProto.DOUBLE, ["w"]), tensor(LATS, TensorProto.DOUBLE, ["h"])]
    return graph.model(grid, _add_further_layers(graph, given, hidden))


def _first_layer(given: _Encoder) -> dict[str, Floats]:
    """For each family of waves of longitude (waves of latitude, orders, hidden); that of m = 0 holds the bias too."""
    weight = given.exact("weight_0")
    families: dict[str, Floats] = {}
    start = 0
    for _, parity in PARITIES:
        if f"repeat_{parity}" not in given.constants:
            continue
        legendre, repeat = given.exact(f"legendre_matrix_{parity}"), given.exact(f"repeat_{parity}") > 0
        for wave in ("cos", "sin"):
            block = weight[start : start + legendre.shape[1]]
            start += len(block)
            families[f"{wave}_lon_{parity}"] = np.stack([legendre[:, of] @ block[of] for of in repeat], axis=1)
    zonal = given.exact("legendre_matrix_zonal") @ weight[start:]
    zonal[0] += given.exact("bias_0")  # cos 0, which is 1
    families[ZONAL] = zonal[:, None]
    return dict(sorted(families.items(), key=lambda item: _latitude(item[0]), reverse=True))


def _latitude(family: str) -> str:
    """The waves of latitude that a family of waves of longitude goes with."""
    return "sin_lat" if family.endswith("odd") else "cos_lat"


def _add_row_matrices(graph: Graph, given: _Encoder, families: Mapping[str, Floats]) -> str:
    """Add what each row multiplies its waves of longitude with, (H, 2L - 1, hidden)."""
    blocks = []
    for latitude, members in groupby(families, _latitude):
        matrix = np.concatenate([families[family] for family in members], axis=1)
        flat = graph.weight(f"matrix_{latitude}", matrix.reshape(len(matrix), -1))
        product = graph.node("MatMul", f"product_{latitude}", _add_waves(graph, given, LATS, [latitude]), flat)
        shape = graph.constant(f"shape_{latitude}", np.array([-1, *matrix.shape[1:]]))
        blocks.append(graph.node("Reshape", f"rows_{latitude}", product, shape))
    return graph.node("Concat", "rows", *blocks, axis=1)


def _add_waves(graph: Graph, given: _Encoder, axis: str, families: Sequence[str]) -> str:
    """Add the waves of `families` along an axis, (its length, waves): float64 until they are radians within ±π."""
    row = [LONS, LATS].index(axis)
    turns_per_degree = given.of_waves("turns_per_degree", families)[row]
    name = f"{axis}_{families[0]}"
    degrees = graph.node("Unsqueeze", f"degrees_{name}", axis, "waves_axis")
    slope = graph.constant(f"turns_per_degree_{name}", turns_per_degree[None])
    origin = graph.constant(f"turns_at_origin_{name}", given.of_waves("turns_at_origin", families))
    turns = graph.node("Add", f"turns_{name}", graph.node("Mul", f"turned_{name}", degrees, slope), origin)
    reduced = graph.node("Sub", f"reduced_{name}", turns, graph.node("Round", f"whole_turns_{name}", turns))
    radians = graph.node("Mul", f"radians_{name}", reduced, "two_pi")
    return graph.node("Sin", f"waves_{name}", graph.node("Cast", f"float_{name}", radians, to=TensorProto.FLOAT))


def _add_further_layers(graph: Graph, given: _Encoder, hidden: str) -> int:
    """Add the layers after the first, as the encoder has them, to OUTPUT; returns the embedding's width."""
    layers = sum(name.startswith("weight_") for name in given.constants)
    for index in range(1, layers):
        last = index == layers - 1
        weight, bias = f"weight_{index}", f"bias_{index}"
        constants = graph.constant(weight, given.constants[weight]), graph.constant(bias, given.constants[bias])
        hidden = graph.node("Gemm", OUTPUT if last else f"layer_{index}", hidden, *constants)
        if not last:
            hidden = graph.node("Sin", f"sine_{index}", hidden)
    return len(given.constants[f"bias_{layers - 1}"])
