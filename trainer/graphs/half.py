"""The location encoder with its network in float16: a second graph, made from the first.

The encoding is as it was: angles in float64, waves and harmonics in float32. What goes into the network is cast once,
and the embedding is cast back.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from trainer.graphs.building import OUTPUT

NETWORK_CONSTANTS = ("weight_", "bias_")


def half_graph(encoder: onnx.ModelProto) -> onnx.ModelProto:
    """`encoder`, which `encoder_graph` built by hand (see `has_raster_graph`), with a network in float16."""
    half = onnx.ModelProto()
    half.CopyFrom(encoder)
    for constant in half.graph.initializer:
        if constant.name.startswith(NETWORK_CONSTANTS):
            values = numpy_helper.to_array(constant).astype(np.float16)
            constant.CopyFrom(numpy_helper.from_array(values, constant.name))
    nodes: list[onnx.NodeProto] = []
    for node in half.graph.node:
        if node.op_type == "Gemm" and node.input[1] == "weight_0":
            nodes.append(helper.make_node("Cast", [node.input[0]], ["harmonics_half"], to=TensorProto.FLOAT16))
            node.input[0] = "harmonics_half"
        if node.output[0] == OUTPUT:
            node.output[0] = node.name = f"{OUTPUT}_half"
        nodes.append(node)
    nodes.append(helper.make_node("Cast", [f"{OUTPUT}_half"], [OUTPUT], OUTPUT, to=TensorProto.FLOAT))
    made = helper.make_graph(
        nodes, half.graph.name, half.graph.input, half.graph.output, initializer=half.graph.initializer
    )
    half.graph.CopyFrom(made)
    onnx.checker.check_model(half, full_check=True)
    return half
