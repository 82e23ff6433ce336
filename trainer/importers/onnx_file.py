"""Any ONNX location encoder: read without trust, and checked to be one."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, external_data_helper, helper, inliner

from trainer.errors import WeightsError

STANDARD_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}
INPUT_DTYPES = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16}
MIN_OPSET = 7
MAX_BYTES = 2**31 - 1
"""protobuf's limit on a file, and with it on a bundle's graph."""


@dataclass(frozen=True, eq=False)
class OnnxEncoder:
    """A graph from `input` (n, 2), of the type `input_dtype`, to `output`; its weights are all in it."""

    model: onnx.ModelProto
    input: str
    input_dtype: int
    output: str


def read_onnx(path: Path, output: str | None = None) -> OnnxEncoder:
    """The encoder in `path`, whose answer is `output`, or its one output where None.

    Raises WeightsError where the file is no ONNX model, needs what ONNX Runtime alone does not have, reads files
    outside its folder, or does not take a batch of any size of two coordinates.
    """
    model = _parse(path)
    _embed_external_data(path, model)
    model = _checked(path, model)
    name, dtype = _only_input(path, model.graph)
    return OnnxEncoder(model, name, dtype, _chosen_output(path, model.graph, output))


def _parse(path: Path) -> onnx.ModelProto:
    if path.stat().st_size > MAX_BYTES:
        raise WeightsError(f"{path} has more than the 2 GiB that a graph in a bundle may have")
    try:
        model = onnx.load_model(path, load_external_data=False)
    except Exception as error:  # protobuf's own errors have no types that mypy knows
        raise WeightsError(f"{path} is damaged, or no ONNX file") from error
    if not model.graph.node:
        raise WeightsError(f"{path} is damaged, or no ONNX file: it has no nodes")
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < MIN_OPSET:
        raise WeightsError(f"{path} is of opset {opset}; export it with opset {MIN_OPSET} or later")
    return model


def _embed_external_data(path: Path, model: onnx.ModelProto) -> None:
    """Take in the weights that lie in files beside `path`; none from elsewhere, and never more than there is."""
    total = model.ByteSize()
    for tensor in _tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        stated = {entry.key: entry.value for entry in tensor.external_data}
        file = path.parent / stated.get("location", "")
        if not _is_beside(file, path):
            raise WeightsError(f"{path}: the weight {tensor.name} is said to lie in {str(file)!r}, outside its folder")
        if not file.is_file():
            raise WeightsError(f"{path}: the weight {tensor.name} lies in {file}, which does not exist; put it there")
        total += math.prod(tensor.dims) * _itemsize(path, tensor)
        if total > MAX_BYTES:
            raise WeightsError(f"{path} has more than the 2 GiB of weights that a graph in a bundle may have")
        try:
            external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
        except (ValueError, OSError, RuntimeError, onnx.checker.ValidationError) as error:
            raise WeightsError(f"{path}: the weight {tensor.name} cannot be read from {file}: {error}") from error


def _is_beside(file: Path, path: Path) -> bool:
    """Whether `file` is in the folder of `path`, or below it, links followed."""
    return Path(os.path.realpath(file)).is_relative_to(os.path.realpath(path.parent))


def _checked(path: Path, model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, its functions inlined, of standard operators alone. Raises WeightsError."""
    try:
        model = inliner.inline_local_functions(model) if model.functions else model
        domains = {node.domain for node in _nodes(model.graph)} - STANDARD_DOMAINS
        if domains:
            named = sorted(f"{node.domain}.{node.op_type}" for node in _nodes(model.graph) if node.domain in domains)
            raise WeightsError(f"{path} needs the operator {named[0]}, which is not ONNX's own; export it without")
        for tensor in _tensors(model.graph):
            _check_size(path, tensor)
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        raise WeightsError(f"{path} is no valid ONNX model: {str(error).splitlines()[0]}") from error
    return model


def _only_input(path: Path, graph: onnx.GraphProto) -> tuple[str, int]:
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise WeightsError(f"{path} must have one input, of two coordinates; it has {len(inputs)}: {names}")
    (value,) = inputs
    tensor = value.type.tensor_type
    if tensor.elem_type not in INPUT_DTYPES:
        raise WeightsError(f"{path}: the input {value.name} must be of floating-point numbers")
    sizes = [size.dim_value if size.HasField("dim_value") else None for size in tensor.shape.dim]
    if len(sizes) != 2 or sizes[1] not in (2, None):
        raise WeightsError(f"{path}: the input {value.name} must have the shape (n, 2), not {_shown(sizes)}")
    if sizes[0] is not None:
        raise WeightsError(
            f"{path}: the input {value.name} takes {sizes[0]} places at a time; export it with a dynamic batch axis"
        )
    return value.name, tensor.elem_type


def _chosen_output(path: Path, graph: onnx.GraphProto, output: str | None) -> str:
    names = [value.name for value in graph.output]
    if output is None and len(names) != 1:
        raise WeightsError(f"{path} has the outputs {', '.join(names)}; say which with --output")
    chosen = names[0] if output is None else output
    if chosen not in names:
        raise WeightsError(f"{path} has no output {chosen}; it has {', '.join(names)}")
    return chosen


def _check_size(path: Path, tensor: TensorProto) -> None:
    """The file holds as many values as the tensor's shape declares, so that reading takes no more memory than it."""
    if tensor.HasField("raw_data"):
        declared = math.prod(tensor.dims) * _itemsize(path, tensor)
        if declared != len(tensor.raw_data):
            raise WeightsError(f"{path}: the weight {tensor.name} declares {declared:,} bytes, which the file lacks")


def _itemsize(path: Path, tensor: TensorProto) -> int:
    try:
        return int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except (KeyError, TypeError) as error:
        raise WeightsError(f"{path}: the weight {tensor.name} is of a type that is no number's") from error


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node, those of branches and loop bodies among them."""
    for node in graph.node:
        yield node
        for inner in _subgraphs(node):
            yield from _nodes(inner)


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Every constant: initializers, sparse ones, and those in attributes, in branches and loop bodies too."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for inner in _subgraphs(node):
            yield from _tensors(inner)


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _shown(sizes: list[int | None]) -> str:
    return f"({', '.join('n' if size is None else str(size) for size in sizes)})"
