"""The graphs that are built here, run by torch: on any device it has, and with products as exact as is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

DTYPES = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.INT64: torch.int64,
}
SAME_IN_TORCH: dict[str, Callable[..., Tensor]] = {
    "Abs": torch.abs,
    "Add": torch.add,
    "And": torch.logical_and,
    "Asin": torch.arcsin,
    "Cos": torch.cos,
    "Div": torch.div,
    "Equal": torch.eq,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "GreaterOrEqual": torch.ge,
    "Identity": lambda a: a,
    "Less": torch.lt,
    "Max": torch.maximum,
    "Min": torch.minimum,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sin": torch.sin,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Where": torch.where,
}
"""Operators without attributes that are one function of as many arguments."""

TF32_DROPPED_BITS = 13
"""Of float32's 23 bits of mantissa, those that TF32 has not."""

Operand = Callable[[Tensor], Tensor]
Result = Tensor | tuple[Tensor, ...]


class TorchGraph:
    """The nodes of a model as torch operations on `device`, in order, without gradients.

    Both sides of each product go through `operand` first. Raises NotImplementedError where it knows no operation for
    a node: it knows those that `encoder_graph` makes.
    """

    def __init__(self, model: onnx.ModelProto, device: str = "cpu", operand: Operand | None = None) -> None:
        constants = {
            constant.name: torch.from_numpy(numpy_helper.to_array(constant).copy())
            for constant in model.graph.initializer
        }
        self._steps = [
            (_operation(node, constants, operand or _unchanged), node.input, node.output) for node in model.graph.node
        ]
        self._constants = {name: values.to(device) for name, values in constants.items()}
        self._output = model.graph.output[0].name

    @torch.inference_mode()
    def __call__(self, **inputs: Tensor) -> Tensor:
        """The first output."""
        values: dict[str, Tensor] = {**self._constants, **inputs}
        for operation, given, made in self._steps:
            results = operation(*(values[name] for name in given))
            values |= zip(made, results if isinstance(results, tuple) else (results,), strict=True)
        return values[self._output]


def cut_to_tf32(values: Tensor) -> Tensor:
    """float32 with the bits dropped that TF32 has not, towards zero, as tensor cores may; other types as they are.

    Source: NVIDIA, PTX ISA, mma with .tf32 operands, of which the lower 13 bits are ignored.
    """
    if values.dtype != torch.float32:
        return values
    return (values.contiguous().view(torch.int32) & (-1 << TF32_DROPPED_BITS)).view(torch.float32)


def _operation(node: onnx.NodeProto, constants: Mapping[str, Tensor], operand: Operand) -> Callable[..., Result]:
    attributes: dict[str, Any] = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    if attributes:
        operation = _with_attributes(node, attributes, constants)
    elif node.op_type == "Gemm":
        return lambda a, b, c=None: _gemm(operand(a), operand(b), c)
    elif node.op_type == "MatMul":
        return lambda a, b: operand(a) @ operand(b)
    else:
        operation = SAME_IN_TORCH.get(node.op_type)
    if operation is None:
        raise NotImplementedError(
            f"{node.op_type} {attributes or ''} has no torch operation here; add it to {__name__}"
        )
    return operation


def _with_attributes(
    node: onnx.NodeProto, attributes: dict[str, Any], constants: Mapping[str, Tensor]
) -> Callable[..., Result] | None:
    """What is constant and no tensor to torch, as where to split, is looked up now."""
    match node.op_type, attributes:
        case "Cast", {"to": to} if to in DTYPES:
            return lambda a: a.to(DTYPES[to])
        case "Concat", {"axis": axis}:
            return lambda *parts: torch.cat(parts, dim=axis)
        case "Gather", {"axis": axis}:
            at = constants.get(node.input[1])
            if at is not None and at.ndim == 0:
                return lambda a, _: torch.select(a, axis, int(at))
            return lambda a, index: torch.index_select(a, axis, index)
        case "Split", {"axis": axis}:
            sizes = constants[node.input[1]].tolist()
            return lambda a, _: torch.split(a, sizes, dim=axis)
    return None


def _gemm(a: Tensor, b: Tensor, c: Tensor | None) -> Tensor:
    """a b, + c if any. In float16 summed in float32 and rounded once, as on GPUs, and far faster on a CPU."""
    if a.dtype == torch.float16 and a.device.type == "cpu":
        return _gemm(a.float(), b.float(), None if c is None else c.float()).half()
    return a @ b if c is None else torch.addmm(c, a, b)


def _unchanged(values: Tensor) -> Tensor:
    return values
