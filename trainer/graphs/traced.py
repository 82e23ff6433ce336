"""Any torch module of a location tower as ONNX nodes: its forward is traced (torch.fx), a node for each step of it."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from trainer.graphs.building import Graph

SAME_IN_ONNX: dict[object, str] = {
    operator.add: "Add",
    operator.sub: "Sub",
    operator.mul: "Mul",
    operator.truediv: "Div",
    operator.neg: "Neg",
    operator.eq: "Equal",
    operator.lt: "Less",
    operator.ge: "GreaterOrEqual",
    operator.and_: "And",
    torch.matmul: "MatMul",
    torch.sin: "Sin",
    torch.cos: "Cos",
    torch.arcsin: "Asin",
    torch.sqrt: "Sqrt",
    torch.exp: "Exp",
    torch.floor: "Floor",
    torch.round: "Round",
    torch.abs: "Abs",
    torch.relu: "Relu",
    torch.where: "Where",
    "round": "Round",
}
"""Steps that take their arguments in the same order as an ONNX operator does."""

CASTS = {torch.float32: TensorProto.FLOAT, torch.float64: TensorProto.DOUBLE, torch.int64: TensorProto.INT64}


def add_traced(graph: Graph, module: nn.Module, given: str, made: str, example: Tensor) -> None:
    """Add `module` as it is in float32 and eval mode, from `given`, which is like `example`, to `made`.

    Raises NotImplementedError for a step that no node is known for.
    """
    traced = fx.symbolic_trace(nn.Sequential(copy.deepcopy(module).cpu().float().eval()))
    ShapeProp(traced).propagate(example)
    _Translation(graph, traced, given, made).run()


class _Translation:
    """Walks a trace; every step's result gets the step's name, and is a tensor or, after a chunk, several."""

    def __init__(self, graph: Graph, traced: fx.GraphModule, given: str, made: str) -> None:
        self.graph = graph
        self.traced = traced
        self.given = given
        self.made = made
        self.names: dict[fx.Node, str | list[str]] = {}

    def run(self) -> None:
        for step in self.traced.graph.nodes:
            if step.op == "placeholder":
                self.names[step] = self.given
            elif step.op == "get_attr":
                self.names[step] = self._constant(step.name, _attribute(self.traced, step.target))
            elif step.op == "call_module":
                self.names[step] = self._module(step, self.traced.get_submodule(step.target))
            elif step.op == "output":
                self.graph.node("Identity", self.made, self._tensor(step.args[0], step))
            else:
                self.names[step] = self._step(step)

    def _step(self, step: fx.Node) -> str | list[str]:
        if step.target in SAME_IN_ONNX:
            inputs = [self._tensor(value, step) for value in step.args]
            return self.graph.node(SAME_IN_ONNX[step.target], step.name, *inputs)
        if step.target not in SPECIAL:
            raise NotImplementedError(f"{step.target} has no ONNX node here; add it to trainer.graphs.traced")
        return SPECIAL[step.target](self, step)

    def _module(self, step: fx.Node, module: nn.Module) -> str:
        hidden = self._tensor(step.args[0], step)
        if isinstance(module, nn.Linear):
            parts = [self._constant(f"{step.name}.weight", module.weight.T)]
            if module.bias is not None:
                parts.append(self._constant(f"{step.name}.bias", module.bias))
            return self.graph.node("Gemm", step.name, hidden, *parts)
        if isinstance(module, nn.Dropout):
            return hidden
        raise NotImplementedError(f"{type(module).__name__} has no ONNX node here; add it to trainer.graphs.traced")

    def cast(self, step: fx.Node) -> str:
        return self.graph.node("Cast", step.name, self._tensor(step.args[0], step), to=CASTS[_dtype(step)])

    def addmm(self, step: fx.Node) -> str:
        bias, left, right = (self._tensor(value, step) for value in step.args)
        return self.graph.node("Gemm", step.name, left, right, bias)

    def chunk(self, step: fx.Node) -> list[str]:
        axis = _axis(step, 2)
        widths = np.array([part.shape[axis] for part in step.meta["tensor_meta"]], dtype=np.int64)
        parts = [f"{step.name}.{at}" for at in range(len(widths))]
        sizes = self._constant(f"{step.name}.sizes", widths)
        self.graph.nodes("Split", parts, self._tensor(step.args[0], step), sizes, axis=axis)
        return parts

    def getitem(self, step: fx.Node) -> str:
        whole, index = step.args
        if isinstance(index, int):
            return self.names[whole][index]  # type: ignore[index]
        _, column = index  # type: ignore[misc]
        return self.graph.node(
            "Gather", step.name, self._tensor(whole, step), self._constant(f"{step.name}.at", np.array(column)), axis=1
        )

    def select(self, step: fx.Node) -> str:
        values, axis, index = step.args
        assert isinstance(axis, int)
        return self.graph.node("Gather", step.name, self._tensor(values, step), self._tensor(index, step), axis=axis)

    def cat(self, step: fx.Node) -> str:
        parts: Sequence[fx.Node] = step.args[0]  # type: ignore[assignment]
        return self.graph.node("Concat", step.name, *(self._tensor(part, step) for part in parts), axis=_axis(step, 1))

    def clamp(self, step: fx.Node) -> str:
        values, low, high = (self._tensor(value, step) for value in step.args)
        raised = self.graph.node("Max", f"{step.name}.raised", values, low)
        return self.graph.node("Min", step.name, raised, high)

    def full(self, step: fx.Node) -> str:
        return self._tensor(step.args[1], step)

    def _tensor(self, value: object, step: fx.Node) -> str:
        """The name of a result, or of a number among the arguments of `step`, in its tensors' dtype."""
        if isinstance(value, fx.Node):
            name = self.names[value]
            assert isinstance(name, str)
            return name
        dtypes = [_dtype(argument) for argument in step.args if isinstance(argument, fx.Node)]
        number = torch.tensor(value, dtype=dtypes[0])
        return self._constant(f"{step.name}.{step.args.index(value)}", number)

    def _constant(self, name: str, values: Tensor | NDArray[np.int64]) -> str:
        array = values.detach().numpy() if isinstance(values, Tensor) else values
        return self.graph.constant(name, array)


SPECIAL: dict[object, Callable[[_Translation, fx.Node], str | list[str]]] = {
    "to": _Translation.cast,
    "double": _Translation.cast,
    "float": _Translation.cast,
    "long": _Translation.cast,
    torch.addmm: _Translation.addmm,
    torch.chunk: _Translation.chunk,
    "chunk": _Translation.chunk,
    operator.getitem: _Translation.getitem,
    "index_select": _Translation.select,
    torch.cat: _Translation.cat,
    "clamp": _Translation.clamp,
    torch.full_like: _Translation.full,
}


def _attribute(traced: nn.Module, path: str) -> Tensor:
    value: Tensor = operator.attrgetter(path)(traced)
    return value


def _axis(step: fx.Node, position: int) -> int:
    """Its `dim`, which may also be given by position; 0 by default."""
    axis = step.kwargs.get("dim", step.args[position] if len(step.args) > position else 0)
    assert isinstance(axis, int)
    return axis


def _dtype(step: fx.Node) -> torch.dtype:
    dtype: torch.dtype = step.meta["tensor_meta"].dtype
    return dtype
