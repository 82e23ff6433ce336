"""The encoder of a `FusedTower` as an ONNX graph: its neighbourhood, the location tower's graph, the fusion.

onnxruntime has no float64 arc tangent, and ONNX none of two arguments. An angle found in float32 is off by 1e-7; one
step of Newton's method with float64 sine and cosine leaves 1e-21 of that. What goes through a sine, a cosine or an arc
tangent is as wide as VECTOR says, or a multiple.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose
from torch import Tensor

from trainer.graphs.encoder import INPUT, OUTPUT, VECTOR, Graph, encoder_graph, tensor
from trainer.models.fused_tower import FusedTower
from trainer.models.location_tower import LocationTower

Floats = NDArray[np.float64]

PLACES, NODES = "places", "nodes"
TOWER = "tower/"
TINY = 1e-300
"""Keeps 0 / 0 out of the angle at a pole, and changes no other."""


def served_graph(tower: LocationTower | FusedTower) -> onnx.ModelProto:
    """The graph of what is served, whether or not its fusion is in it."""
    return (
        fused_graph(tower, encoder_graph(tower.location_tower))
        if isinstance(tower, FusedTower)
        else encoder_graph(tower)
    )


def fused_graph(tower: FusedTower, location_encoder: onnx.ModelProto) -> onnx.ModelProto:
    """`tower` as a checked model: float64 `lonlat` (n, 2) in, float32 `embedding` (n, embedding_dim) out.

    `location_encoder` is the graph of its location tower, of any kind, with the same input and output.
    """
    inner = compose.add_prefix(location_encoder, TOWER)
    before, after = _neighbourhood(tower), _fusion(tower)
    for model in (before, after):
        model.ir_version = inner.ir_version
        model.ClearField("opset_import")
        model.opset_import.extend(inner.opset_import)
    encoded = compose.merge_models(before, inner, io_map=[(PLACES, TOWER + INPUT)])
    fused = compose.merge_models(encoded, after, io_map=[(TOWER + OUTPUT, NODES)])
    fused.graph.ClearField("value_info")  # it calls the rows of the location tower n too, which are more
    fused.graph.name, fused.producer_name = "location_encoder", "satcle"
    onnx.checker.check_model(fused, full_check=True)
    return fused


def _neighbourhood(tower: FusedTower) -> onnx.ModelProto:
    """INPUT (n, 2) → PLACES (n · k, 2), each place followed by the corners of its polygon."""
    graph = Graph()
    offsets = _numpy(tower.offsets)
    padding = -len(offsets) % VECTOR
    steps = graph.constant("steps", _steps(offsets, padding))
    corners = graph.node("MatMul", "corners", _add_frame(graph), steps)
    each = graph.constant("corners_each", np.full(3, len(offsets) + padding))
    graph.nodes("Split", ["x", "y", "z"], corners, each, axis=1)
    ring = graph.node("Sqrt", "ring", _add_sum_of_squares(graph, "ring_squared", "x", "y"))
    angles = (_add_angle(graph, "corner_lon", "y", "x"), _add_angle(graph, "corner_lat", "z", ring))
    nodes_axis, last_axis = graph.constant("nodes_axis", np.array([1])), graph.constant("last_axis", np.array([2]))
    real = graph.constant("real_corners", np.array([len(offsets), padding]))
    for angle in angles:
        graph.nodes("Split", [f"{angle}_real", f"{angle}_padding"], angle, real, axis=1)
    apart = [graph.node("Unsqueeze", f"{angle}_apart", f"{angle}_real", last_axis) for angle in angles]
    degrees = graph.constant("degree", np.array(180 / np.pi))
    around = graph.node("Mul", "around", graph.node("Concat", "angles", *apart, axis=2), degrees)
    middle = graph.node("Unsqueeze", "middle", INPUT, nodes_axis)
    together = graph.node("Concat", "neighbourhoods", middle, around, axis=1)
    graph.node("Reshape", PLACES, together, graph.constant("places_shape", np.array([-1, 2])))
    given, made = (tensor(name, TensorProto.DOUBLE, [rows, 2]) for name, rows in ((INPUT, "n"), (PLACES, "m")))
    return graph.model_of("neighbourhood", [given], [made])


def _steps(offsets: Floats, padding: int) -> Floats:
    """From the frame of a place to its corners, (9, 3 · corners): every x, every y, every z; trainer.sphere.move.

    `padding` more corners are all 0.
    """
    turn = np.radians(offsets)
    distance = np.linalg.norm(turn, axis=1, keepdims=True)
    step = np.concatenate([np.cos(distance), turn * np.sin(distance) / distance], axis=1)
    step = np.pad(step, ((0, padding), (0, 0)))
    steps: Floats = np.einsum("kf,cd->fcdk", step, np.eye(3)).reshape(9, -1)
    return steps


def _add_frame(graph: Graph) -> str:
    """Add the directions up, east and north of each place, (n, 9)."""
    repeated = np.repeat(np.eye(2), VECTOR // 2, axis=1) * np.pi / 180
    radians = graph.node("MatMul", "radians", INPUT, graph.constant("repeated_radians", repeated))
    first = graph.constant("first_of_each", np.array([1, VECTOR // 2 - 1, 1, VECTOR // 2 - 1]))
    for op, name in (("Sin", "sin"), ("Cos", "cos")):
        waves = graph.node(op, f"{name}_waves", radians)
        graph.nodes("Split", [f"{name}_lon", f"{name}_lons", f"{name}_lat", f"{name}_lats"], waves, first, axis=1)
    zero = graph.node("Sub", "zero", "sin_lat", "sin_lat")
    minus = {name: graph.node("Neg", f"minus_{name}", name) for name in ("sin_lon", "sin_lat")}
    up = (
        graph.node("Mul", "up_x", "cos_lat", "cos_lon"),
        graph.node("Mul", "up_y", "cos_lat", "sin_lon"),
        "sin_lat",
    )
    east = (minus["sin_lon"], "cos_lon", zero)
    north = (
        graph.node("Mul", "north_x", minus["sin_lat"], "cos_lon"),
        graph.node("Mul", "north_y", minus["sin_lat"], "sin_lon"),
        "cos_lat",
    )
    return graph.node("Concat", "frame", *up, *east, *north, axis=1)


def _add_angle(graph: Graph, name: str, y: str, x: str) -> str:
    """Add atan2(y, x), in float64; 0 where both are 0."""
    tiny = graph.constant(f"{name}_tiny", np.array(TINY))
    zero = graph.constant(f"{name}_zero", np.array(0.0))
    radius = graph.node("Sqrt", f"{name}_radius", _add_sum_of_squares(graph, f"{name}_squared", x, y))
    above_zero = graph.node("Max", f"{name}_above_zero", radius, tiny)
    beside = graph.node("Add", f"{name}_beside", graph.node("Abs", f"{name}_width", x), above_zero)
    ratio = graph.node("Cast", f"{name}_ratio", graph.node("Div", f"{name}_slope", y, beside), to=TensorProto.FLOAT)
    half = graph.node("Cast", f"{name}_half", graph.node("Atan", f"{name}_atan", ratio), to=TensorProto.DOUBLE)
    ahead = graph.node("Add", f"{name}_ahead", half, half)
    pi, minus_pi = (
        graph.constant(f"{name}_{sign}pi", np.array(value)) for sign, value in (("", np.pi), ("minus_", -np.pi))
    )
    turned = graph.node("Where", f"{name}_turned", graph.node("Less", f"{name}_south", y, zero), minus_pi, pi)
    behind = graph.node("Sub", f"{name}_behind", turned, ahead)
    rough = graph.node("Where", f"{name}_rough", graph.node("Less", f"{name}_west", x, zero), behind, ahead)
    along = graph.node("Mul", f"{name}_along", y, graph.node("Cos", f"{name}_cos", rough))
    across = graph.node("Mul", f"{name}_across", x, graph.node("Sin", f"{name}_sin", rough))
    left = graph.node("Div", f"{name}_left", graph.node("Sub", f"{name}_difference", along, across), above_zero)
    return graph.node("Add", name, rough, left)


def _add_sum_of_squares(graph: Graph, name: str, a: str, b: str) -> str:
    return graph.node("Add", name, graph.node("Mul", f"{name}_a", a, a), graph.node("Mul", f"{name}_b", b, b))


def _fusion(tower: FusedTower) -> onnx.ModelProto:
    """NODES (n · k, dim) → OUTPUT (n, dim) by Eq. 2, whose A is constant."""
    graph = Graph()
    adjacency = _numpy(tower.adjacency)
    if tower.fusion.normalise_rows:
        adjacency = adjacency / adjacency.sum(axis=1, keepdims=True)
    slope, dim, k = graph.weight("slope", np.array(tower.fusion.negative_slope)), tower.embedding_dim, len(adjacency)
    flat_shape = graph.constant("flat_shape", np.array([-1, dim]))
    node_shape = graph.constant("node_shape", np.array([-1, k, dim]))
    h = NODES
    for index, weight in enumerate(tower.fusion.weights):
        last = index == len(tower.fusion.weights) - 1
        mixing = graph.weight(f"adjacency_{index}", (adjacency[:1] if last else adjacency)[..., None])
        apart = graph.node("Reshape", f"nodes_{index}", h, node_shape)
        summed = graph.node("Conv", f"summed_{index}", apart, mixing)  # a product that takes no rows too
        flat = graph.node("Reshape", f"flat_{index}", summed, flat_shape)
        matrix = graph.weight(f"fusion_weight_{index}", _numpy(weight.get_parameter("weight")).T)
        linear = graph.node("MatMul", f"linear_{index}", flat, matrix)
        leaked = graph.node("Mul", f"leaked_{index}", linear, slope)
        h = graph.node("Max", OUTPUT if last else f"fused_{index}", linear, leaked)
    given, made = (tensor(name, TensorProto.FLOAT, [rows, dim]) for name, rows in ((NODES, "m"), (OUTPUT, "n")))
    return graph.model_of("fusion", [given], [made])


def _numpy(values: Tensor) -> Floats:
    array: Floats = values.detach().double().cpu().numpy()
    return array
