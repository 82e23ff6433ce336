"""What computes on this machine: its GPU by ONNX Runtime, or by torch, and its CPU; and what the GPU can do at most."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from time import perf_counter
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper

from service.bundle import Bundle
from service.embedding.backends.base import BATCH_POINTS, Backend
from service.embedding.backends.cuda import CudaMemory
from service.embedding.backends.onnx import EXECUTION_PROVIDERS, Cuda, OnnxBackend
from service.embedding.backends.pinned import PinnedArrays
from service.errors import ServiceError
from tests.benchmarks.gpu_torch import TorchBackend, set_precision
from tests.benchmarks.models import default_bundle
from tests.benchmarks.processes import SERVE

PRECISIONS = ("float32", "tf32", "float16")
GRAPHS_ON = "enable_cuda_graph=1"
PRODUCT_SIDE = 8192
PRODUCTS = 10
COPY_BYTES = 2**28
COPIES = 10


@dataclass(frozen=True)
class Ceilings:
    """FLOP/s of a large square product at each precision; bytes/s of copies, from and to page-locked memory or not."""

    products: Mapping[str, float]
    copies: Mapping[str, float]


@dataclass(frozen=True)
class Engine:
    """`open` makes a backend of a bundle, a precision, and whether batches are recorded as CUDA graphs."""

    name: str
    open: Callable[[Bundle, str, bool], Backend]
    command: tuple[str, ...]
    """Of a process that serves the first of SATCLE_BUNDLES, at SATCLE_PRECISION."""
    environment: Mapping[str, str]
    precisions: tuple[str, ...] = PRECISIONS
    replays: tuple[bool, ...] = (False, True)
    batches: tuple[int, ...] = (512, 4096, BATCH_POINTS["cuda"])
    threads: int = 4
    served_by: tuple[int, ...] = (1, 4)
    """How many processes, each of them on the one GPU."""
    ceilings: Callable[[], Ceilings] = lambda: Ceilings({}, {})


def cpu_engine() -> Engine:
    cores = os.cpu_count() or 1
    return Engine(
        name=f"onnxruntime {ort.__version__} on {cores} cores",
        open=lambda bundle, precision, replays: OnnxBackend(bundle, "cpu"),
        command=SERVE,
        environment={"SATCLE_PROVIDER": "cpu"},
        precisions=("float32",),
        replays=(False,),
        batches=(BATCH_POINTS["cpu"],),
        threads=cores,
        served_by=(1,),
    )


def gpu_engine() -> Engine | str:
    """ONNX Runtime where its sessions really hold CUDA, else torch where that does; else why neither."""
    try:
        OnnxBackend(default_bundle(), "cuda")
    except ServiceError as error:
        if not torch.cuda.is_available():
            return f"{error}; torch {torch.__version__} sees none either"
        return Engine(
            name=f"torch {version('torch')}, on the same graph, on {torch.cuda.get_device_name()}",
            open=lambda bundle, precision, replays: TorchBackend(bundle, precision, replays=replays),
            command=("tests.benchmarks.gpu_torch",),
            environment={"SATCLE_PROVIDER": "cpu", "SATCLE_CUDA_OPTIONS": GRAPHS_ON},  # the heads are ONNX Runtime's
            ceilings=_ceilings(_torch_product, PRECISIONS),
        )
    return Engine(
        name=f"onnxruntime-gpu {ort.__version__}",
        open=_open_onnxruntime,
        command=SERVE,
        environment={"SATCLE_PROVIDER": "cuda", "SATCLE_CUDA_DEVICES": "0"},
        ceilings=_ceilings(_torch_product if torch.cuda.is_available() else onnxruntime_product, PRECISIONS),
    )


def _open_onnxruntime(bundle: Bundle, precision: Any, replays: bool) -> Backend:
    options = dict([GRAPHS_ON.split("=")]) if replays else {}
    return OnnxBackend(bundle, "cuda", precision, Cuda(options=options))


def _ceilings(product: Callable[[str], float], precisions: Sequence[str]) -> Callable[[], Ceilings]:
    """Measured once, when they are first asked for."""
    return cache(lambda: Ceilings({precision: product(precision) for precision in precisions}, _copies()))


def _torch_product(precision: str) -> float:
    set_precision(precision)
    dtype = torch.float16 if precision == "float16" else torch.float32
    a, b = (torch.randn(PRODUCT_SIDE, PRODUCT_SIDE, device="cuda", dtype=dtype) for _ in range(2))
    return 2 * PRODUCT_SIDE**3 / _median_seconds(lambda: a @ b, PRODUCTS, torch.cuda.synchronize)


def onnxruntime_product(precision: str, device: str = "cuda", side: int = PRODUCT_SIDE) -> float:
    """FLOP/s of a product that stays on the device."""
    dtype = np.float16 if precision == "float16" else np.float32
    own = {"use_tf32": str(int(precision == "tf32"))} if device == "cuda" else {}
    session = ort.InferenceSession(product_graph(side, dtype), providers=[(EXECUTION_PROVIDERS[device], own)])
    binding = session.io_binding()
    a = ort.OrtValue.ortvalue_from_numpy(np.random.default_rng(0).random((side, side)).astype(dtype), device, 0)
    made = ort.OrtValue.ortvalue_from_shape_and_type((side, side), dtype, device, 0)
    binding.bind_ortvalue_input("a", a)
    binding.bind_ortvalue_output("product", made)
    return 2 * side**3 / _median_seconds(lambda: session.run_with_iobinding(binding), PRODUCTS)


def product_graph(side: int, dtype: type[np.floating[Any]]) -> bytes:
    """`a` times a constant, both square, as an ONNX model."""
    b = np.random.default_rng(1).random((side, side), dtype=np.float32).astype(dtype)
    kind = TensorProto.FLOAT16 if dtype == np.float16 else TensorProto.FLOAT
    tensors = [helper.make_tensor_value_info(name, kind, [side, side]) for name in ("a", "product")]
    node = helper.make_node("MatMul", ["a", "b"], ["product"])
    graph = helper.make_graph([node], "product", tensors[:1], tensors[1:], [numpy_helper.from_array(b, "b")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    serialized: bytes = onnx.ModelProto.SerializeToString(model)
    return serialized


def _copies() -> dict[str, float]:
    """Of the service's own copies."""
    memory = CudaMemory(0)
    held, address = _on_device(COPY_BYTES)
    places = {
        "page-locked": PinnedArrays(memory).empty((COPY_BYTES,), np.uint8),
        "pageable": np.ones(COPY_BYTES, np.uint8),
    }
    rates = {}
    for kind, array in places.items():
        array[:] = 1
        rates[f"to the GPU, {kind}"] = COPY_BYTES / _median_seconds(partial(memory.upload, address, array), COPIES)
        rates[f"from the GPU, {kind}"] = COPY_BYTES / _median_seconds(partial(memory.download, array, address), COPIES)
    del held
    return rates


def _on_device(size: int) -> tuple[object, int]:
    """Memory of the GPU, as long as the first is held, and its address."""
    if torch.cuda.is_available():
        tensor = torch.empty(size, dtype=torch.uint8, device="cuda")
        return tensor, tensor.data_ptr()
    value = ort.OrtValue.ortvalue_from_shape_and_type((size,), np.uint8, "cuda", 0)
    return value, value.data_ptr()


def _median_seconds(run: Callable[[], object], times: int, wait: Callable[[], object] = lambda: None) -> float:
    """After one to warm up."""
    run()
    wait()
    seconds = []
    for _ in range(times):
        started = perf_counter()
        run()
        wait()
        seconds.append(perf_counter() - started)
    return float(np.median(seconds))
