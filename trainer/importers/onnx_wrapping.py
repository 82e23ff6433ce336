"""An ONNX location encoder as a bundle has it: float64 `lonlat` (n, 2) in, float32 `embedding` (n, d) out."""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

from trainer.graphs.encoder import INPUT, OUTPUT, tensor
from trainer.importers.onnx_file import OnnxEncoder

Order = Literal["lonlat", "latlon"]
INNER = "encoder/"
TINY = 1e-30
"""Added to lengths, so that an embedding of zeros stays one."""


def wrap(encoder: OnnxEncoder, order: Order, embedding_dim: int, *, normalize: bool) -> bytes:
    """`encoder`, which takes its coordinates in `order`, behind the names, order and types of a bundle.

    `normalize` scales each embedding to unit length.
    """
    model = compose.add_prefix(encoder.model, INNER)
    graph = model.graph
    inner_input, inner_output = INNER + encoder.input, INNER + encoder.output
    before = _given(inner_input, encoder.input_dtype, order)
    after = _scaled(inner_output, embedding_dim) if normalize else _cast(inner_output)
    nodes = [*before, *graph.node, *after]
    constants = [*graph.initializer, *_constants(order, embedding_dim if normalize else None)]
    old_constants = [value for value in graph.input if value.name != inner_input]
    wrapped = helper.make_graph(
        nodes,
        "location_encoder",
        [tensor(INPUT, TensorProto.DOUBLE, ["n", 2]), *old_constants],
        [tensor(OUTPUT, TensorProto.FLOAT, ["n", embedding_dim])],
        constants,
        sparse_initializer=graph.sparse_initializer,
    )
    made = helper.make_model(
        wrapped, opset_imports=model.opset_import, producer_name="satcle", ir_version=model.ir_version
    )
    onnx.checker.check_model(made)
    serialized: bytes = made.SerializeToString()
    return serialized


def _given(inner_input: str, dtype: int, order: Order) -> list[onnx.NodeProto]:
    """From INPUT to the columns, in the type, that the encoder takes."""
    ordered = INPUT if order == "lonlat" else "latlon"
    swap = [helper.make_node("Gather", [INPUT, "latlon_columns"], ["latlon"], axis=1)] if order == "latlon" else []
    return [*swap, helper.make_node("Cast", [ordered], [inner_input], to=dtype)]


def _cast(inner_output: str) -> list[onnx.NodeProto]:
    return [helper.make_node("Cast", [inner_output], [OUTPUT], to=TensorProto.FLOAT)]


def _scaled(inner_output: str, embedding_dim: int) -> list[onnx.NodeProto]:
    """x / |x|; the sum is a product with ones, which is the same in every opset."""
    return [
        helper.make_node("Cast", [inner_output], ["unscaled"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["unscaled", "unscaled"], ["squares"]),
        helper.make_node("MatMul", ["squares", "ones"], ["square_length"]),
        helper.make_node("Sqrt", ["square_length"], ["bare_length"]),
        helper.make_node("Add", ["bare_length", "tiny"], ["length"]),
        helper.make_node("Div", ["unscaled", "length"], [OUTPUT]),
    ]


def _constants(order: Order, normalized_dim: int | None) -> list[onnx.TensorProto]:
    constants: dict[str, NDArray[np.generic]] = {}
    if order == "latlon":
        constants["latlon_columns"] = np.array([1, 0])
    if normalized_dim is not None:
        constants |= {"ones": np.ones((normalized_dim, 1), np.float32), "tiny": np.array(TINY, np.float32)}
    return [numpy_helper.from_array(values, name) for name, values in constants.items()]
