"""A head as an ONNX graph: float32 `embedding` in, float32 `prediction` out, in real units."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from trainer.errors import HeadError
from trainer.export import open_graph
from trainer.graphs.encoder import Graph, tensor
from trainer.models.head import Classification, Head, Regression

INPUT, OUTPUT = "embedding", "prediction"
MAX_PARITY_ERROR = 1e-4
"""Largest difference allowed between the graph and the float64 head, in units of max(1, |prediction|)."""
CHUNK = 4096

Floats = NDArray[np.float64]
Embeddings = NDArray[np.float32]
Predictions = NDArray[np.float32]


def export_head(head: Head, embeddings: Embeddings) -> tuple[bytes, float]:
    """The graph of a float64 head, and its parity at these rows (n, embedding_dim).

    The perceptron is computed in float32 where that keeps MAX_PARITY_ERROR, and else, as for an elevation in metres,
    in float64. Raises HeadError where float64 does not keep it either.
    """
    for dtype in (np.float32, np.float64):
        graph = head_graph(head, dtype).SerializeToString()
        difference = parity(graph, head, embeddings)
        if difference <= MAX_PARITY_ERROR:
            return graph, difference
    raise HeadError(f"the exported graph differs from the head by {difference:.3g}; the limit is {MAX_PARITY_ERROR:g}")


def parity(graph: bytes, head: Head, embeddings: Embeddings) -> float:
    """The largest difference of the graph in onnxruntime from the float64 head, in units of max(1, |prediction|)."""
    with torch.inference_mode():
        expected = head(torch.from_numpy(embeddings).double()).numpy()
    return float((np.abs(predict_with_graph(graph, embeddings) - expected) / np.maximum(1, np.abs(expected))).max())


def predict_with_graph(graph: bytes, embeddings: Embeddings) -> Predictions:
    """(n, embedding_dim) → (n, columns), by onnxruntime on the CPU."""
    session = open_graph(graph)
    chunks = [session.run([OUTPUT], {INPUT: embeddings[i : i + CHUNK]})[0] for i in range(0, len(embeddings), CHUNK)]
    return np.concatenate(chunks)


def head_graph(head: Head, dtype: type[np.floating]) -> onnx.ModelProto:
    """`head` as a checked model whose perceptron computes in `dtype`."""
    graph = Graph()
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def constant(name: str, values: torch.Tensor) -> str:
        return graph.constant(name, values.detach().double().numpy().astype(dtype))

    hidden = graph.node("Cast", "embedding_cast", INPUT, to=kind)
    hidden = graph.node("Sub", "centred", hidden, constant("input_mean", head.input_mean))
    hidden = graph.node("Div", "standardised", hidden, constant("input_deviation", head.input_deviation))
    for index, layer in enumerate(head.layers):
        weights = (
            constant(f"weight_{index}", layer.get_parameter("weight").T),
            constant(f"bias_{index}", layer.get_parameter("bias")),
        )
        hidden = graph.node("Gemm", f"layer_{index}", hidden, *weights)
        if index < len(head.layers) - 1:
            hidden = graph.node("Relu", f"relu_{index}", hidden)
    outputs = _add_output(graph, head, hidden)
    graph.node("Cast", OUTPUT, outputs, to=TensorProto.FLOAT)
    dim = len(head.input_mean)
    columns = head.layers[-1].get_parameter("bias").numel()
    return graph.model_of(
        "head", [tensor(INPUT, TensorProto.FLOAT, ["n", dim])], [tensor(OUTPUT, TensorProto.FLOAT, ["n", columns])]
    )


def _add_output(graph: Graph, head: Head, raw: str) -> str:
    """Undo what was done to the target, in float64: a large value keeps its digits."""
    if isinstance(head, Classification):
        return graph.node("Softmax", "probabilities", raw, axis=1)
    assert isinstance(head, Regression)
    raw = graph.node("Cast", "raw_float64", raw, to=TensorProto.DOUBLE)
    scaled = graph.node("Mul", "scaled", raw, graph.constant("target_deviation", head.target_deviation.numpy()))
    value = graph.node("Add", "value", scaled, graph.constant("target_mean", head.target_mean.numpy()))
    if not head.log1p:
        return value
    low, high = (graph.constant(name, bound.numpy()) for name, bound in zip(("low", "high"), head.bounds, strict=True))
    bounded = graph.node("Clip", "bounded", value, low, high)
    return graph.node("Sub", "expm1", graph.node("Exp", "exp", bounded), graph.constant("one", np.array(1.0)))
