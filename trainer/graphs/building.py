"""An ONNX graph under construction: nodes and constants, in the order in which they are added."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
OUTPUT = "embedding"


class Graph:
    """Nodes and constants in the order in which they are added."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        self._constants.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def weight(self, name: str, values: NDArray[np.float64]) -> str:
        """A float32 constant, rounded once, from float64."""
        return self.constant(name, values.astype(np.float32))

    def node(self, op: str, output: str, *inputs: str, **attributes: int) -> str:
        """One node with one output, which names both."""
        self.nodes(op, [output], *inputs, **attributes)
        return output

    def nodes(self, op: str, outputs: list[str], *inputs: str, **attributes: int) -> None:
        node = helper.make_node(op, list(inputs), outputs, outputs[0])
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self._nodes.append(node)

    def model(self, given: list[onnx.ValueInfoProto], embedding_dim: int) -> onnx.ModelProto:
        """The model from the inputs `given` to OUTPUT (n, embedding_dim), checked."""
        return self.model_of("location_encoder", given, [tensor(OUTPUT, TensorProto.FLOAT, ["n", embedding_dim])])

    def model_of(self, name: str, given: list[onnx.ValueInfoProto], made: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """The model `name` from the inputs `given` to the outputs `made`, checked."""
        graph = helper.make_graph(self._nodes, name, given, made, self._constants)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, producer_name="satcle", ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model


def tensor(name: str, dtype: int, shape: list[str | int]) -> onnx.ValueInfoProto:
    """An input or output; the sizes that are text are free."""
    return helper.make_tensor_value_info(name, dtype, shape)
