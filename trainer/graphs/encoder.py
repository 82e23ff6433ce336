"""The location encoder as an ONNX graph.

Any encoding and network can be traced into nodes (`graphs.traced`). Spherical harmonics before a SIREN, which is what
is mostly served, are built by hand, for speed. They fall into three blocks. m = 0 needs no longitude. For even m,
√2 N_lm P_l^m is a sum of cos kθ alone, for odd m of sin kθ alone: each block is one product of half the waves with its
part of the Legendre matrix, times cos mφ and sin mφ, which one product with a one-hot matrix repeats for every degree.
Two blocks halve both products; finer ones cost more in nodes than they save.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto
from torch import Tensor

from trainer.graphs.building import OUTPUT as OUTPUT
from trainer.graphs.building import Graph as Graph
from trainer.graphs.building import tensor as tensor
from trainer.graphs.traced import add_traced
from trainer.models.encodings.encoding import Floats, Integers
from trainer.models.encodings.spherical_harmonics import Harmonics, SphericalHarmonics
from trainer.models.location_tower import LocationTower
from trainer.models.networks.siren import Siren

INPUT = "lonlat"
PARITIES = ((0, "even"), (1, "odd"))

VECTOR = 16
"""What goes through a sine is this wide, or a multiple: no row falls into a scalar tail, so that an embedding is the
same to the bit alone and in any batch."""


def encoder_graph(tower: LocationTower) -> onnx.ModelProto:
    """`tower` as a checked model: float64 `lonlat` (n, 2) in, float32 `embedding` (n, embedding_dim) out."""
    graph = Graph()
    if not isinstance(tower.encoding, SphericalHarmonics):
        add_traced(graph, tower, INPUT, OUTPUT, torch.zeros(2, 2, dtype=torch.float64))
    else:
        encoded, features = add_encoding(graph, tower.encoding.harmonics)
        if isinstance(tower.network, Siren):
            (weight, bias), *rest = _folded(tower.network)
            add_network(graph, encoded, [(weight[features], bias), *rest])
        else:
            order = graph.constant("published_order", np.argsort(features))
            published = graph.node("Gather", "features", encoded, order, axis=1)
            add_traced(graph, tower.network, published, OUTPUT, torch.zeros(2, len(features)))
    return graph.model([tensor(INPUT, TensorProto.DOUBLE, ["n", 2])], tower.embedding_dim)


def network_graph(tower: LocationTower) -> onnx.ModelProto:
    """A tower with a SIREN, without its encoding: float32 `features` (n, feature_dim) in."""
    assert isinstance(tower.network, Siren)
    graph = Graph()
    add_network(graph, "features", _folded(tower.network))
    return graph.model([tensor("features", TensorProto.FLOAT, ["n", tower.encoding.feature_dim])], tower.embedding_dim)


def add_encoding(graph: Graph, constants: Harmonics) -> tuple[str, Integers]:
    """Add the harmonics of INPUT; their name, and which feature (in published order) each of their columns is.

    Orders descend to m = 0, for accuracy: near the poles low orders are large and high ones next to nothing, and
    a float32 sum loses least where the large terms come last.
    """
    _add_waves(graph, constants)
    blocks, features = [], []
    for parity, name in PARITIES:
        columns = np.flatnonzero((constants.order > 0) & (constants.order % 2 == parity))[::-1]
        if len(columns) == 0:
            continue
        legendre = _add_legendre(graph, name, constants, columns)
        orders = constants.order[columns]
        repeat = graph.weight(f"repeat_{name}", np.equal.outer(np.unique(orders), orders).astype(np.float64))
        for wave, sign in (("cos", +1), ("sin", -1)):
            longitude = graph.node("MatMul", f"{wave}_lon_{name}_repeated", f"{wave}_lon_{name}", repeat)
            blocks.append(graph.node("Mul", f"harmonics_{wave}_{name}", legendre, longitude))
            features.append(constants.feature(columns, sign))
    zonal = np.flatnonzero(constants.order == 0)[::-1]
    blocks.append(_add_legendre(graph, "zonal", constants, zonal))
    features.append(constants.feature(zonal, +1))
    return graph.node("Concat", "harmonics", *blocks, axis=1), np.concatenate(features)


def add_network(graph: Graph, hidden: str, layers: list[tuple[Floats, Floats]]) -> None:
    """Add sin(h W + b) for every layer but the last, which is h W + b, to OUTPUT."""
    for index, (weight, bias) in enumerate(_padded(layers)):
        last = index == len(layers) - 1
        constants = graph.weight(f"weight_{index}", weight), graph.weight(f"bias_{index}", bias)
        hidden = graph.node("Gemm", OUTPUT if last else f"layer_{index}", hidden, *constants)
        if not last:
            hidden = graph.node("Sin", f"sine_{index}", hidden)


def _folded(network: Siren) -> list[tuple[Floats, Floats]]:
    """Each layer's transposed weight and bias in float64, w0 folded in: h W + b is the sine's argument."""
    layers = [*network.hidden, network.last]
    return [
        (w0 * _numpy(layer.get_parameter("weight")).T, w0 * _numpy(layer.get_parameter("bias")))
        for layer, w0 in zip(layers, (*network.w0s, 1.0), strict=True)
    ]


def _padded(layers: list[tuple[Floats, Floats]]) -> list[tuple[Floats, Floats]]:
    """The same function with hidden layers widened to multiples of VECTOR by zeros, which sine keeps."""
    extra = [0, *(-len(bias) % VECTOR for _, bias in layers[:-1]), 0]
    return [
        (np.pad(weight, ((0, rows), (0, columns))), np.pad(bias, (0, columns)))
        for (weight, bias), rows, columns in zip(layers, extra, extra[1:], strict=False)
    ]


def _add_waves(graph: Graph, constants: Harmonics) -> None:
    """Add the waves of INPUT, a tensor a family; angles stay float64 until they are radians within ±π."""
    families = _wave_families(constants.legendre_polys)
    index = np.concatenate(list(families.values()))
    scale = graph.constant("turns_per_degree", constants.turns_per_degree[:, index])
    turns = graph.node("Gemm", "turns", INPUT, scale, graph.constant("turns_at_origin", constants.turns[index]))
    reduced = graph.node("Sub", "reduced_turns", turns, graph.node("Round", "whole_turns", turns))
    radians = graph.node("Mul", "radians", reduced, graph.constant("two_pi", np.array(2 * np.pi)))
    waves = graph.node("Sin", "waves", graph.node("Cast", "radians_float32", radians, to=TensorProto.FLOAT))
    sizes = np.array([len(members) for members in families.values()], dtype=np.int64)
    graph.nodes("Split", list(families), waves, graph.constant("wave_sizes", sizes), axis=1)


def _wave_families(legendre_polys: int) -> dict[str, Integers]:
    """Where in `Harmonics.turns` the waves of each family are: none for m = 0, and padding to VECTOR."""
    first_sine, longitude = legendre_polys - 1, 2 * legendre_polys - 1
    order = np.arange(1, legendre_polys)
    families = {"cos_lat": np.arange(legendre_polys), "sin_lat": first_sine + order}
    for parity, name in PARITIES:
        cosines = longitude + order[order % 2 == parity]
        families |= {f"cos_lon_{name}": cosines, f"sin_lon_{name}": first_sine + cosines}
    families["padding"] = np.zeros(-sum(map(len, families.values())) % VECTOR, dtype=np.intp)
    return {name: members for name, members in families.items() if len(members)}


def _add_legendre(graph: Graph, name: str, constants: Harmonics, columns: Integers) -> str:
    """Add √2 N_lm P_l^m for Legendre `columns`, whose orders have one parity."""
    cosines, sines = np.split(constants.legendre[:, columns], [constants.legendre_polys])
    odd = constants.order[columns[0]] % 2 == 1
    matrix = graph.weight(f"legendre_matrix_{name}", sines if odd else cosines)
    return graph.node("MatMul", f"legendre_{name}", "sin_lat" if odd else "cos_lat", matrix)


def _numpy(parameter: Tensor) -> Floats:
    values: Floats = parameter.detach().double().cpu().numpy()
    return values
