"""A bundle's graph run by torch on a GPU, where ONNX Runtime has no CUDA: as a backend, and as a service.

python -m tests.benchmarks.gpu_torch

serves the bundles of SATCLE_BUNDLES, each at SATCLE_PRECISION, on a port that the system chooses. All but the kernels
is what `satcle serve` runs on a GPU: the padded batches, page-locked memory and copies are the service's own.
"""

from __future__ import annotations

import onnx
import torch

from service import logs
from service.app import create_app
from service.bundle import Bundle, LonLat, read_bundle
from service.bundles import bundle_path
from service.embedding.backends.base import BATCH_POINTS, Rows
from service.embedding.backends.cuda import CudaMemory
from service.embedding.backends.padded import PaddedBatches
from service.embedding.backends.pinned import Memory
from service.serving import Server
from service.settings import read_settings
from tests.host_memory import HostMemory
from trainer.graphs.in_torch import TorchGraph

IN_FLIGHT = 2
WARM_UP_RUNS = 3
"""Before a graph is recorded, as torch asks for."""


def set_precision(precision: str) -> None:
    """Of all float32 and float16 products in this process from now on."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False


def memory_here() -> Memory:
    """The first GPU's; where there is none, this machine's, so that the path can be tried."""
    return CudaMemory(0) if torch.cuda.is_available() else HostMemory()


class TorchBackend:
    """One bundle at one precision, as `OnnxBackend` would run it; `replays`: batches are recorded as CUDA graphs."""

    provider = "cuda"

    def __init__(
        self,
        bundle: Bundle,
        precision: str,
        *,
        replays: bool = False,
        batch_points: int = BATCH_POINTS["cuda"],
        memory: Memory | None = None,
    ) -> None:
        memory = memory or memory_here()
        card = bundle.card
        declared = card.precision(precision)
        file = card.encoder if declared is None or declared.file is None else declared.file
        set_precision(precision)
        self.embedding_dim = card.embedding_dim
        self.graph = TorchGraph(onnx.load_from_string(bundle.read(file)), memory.device)
        self._padded = PaddedBatches(
            lambda size, number: TorchBound(self.graph, size, card.embedding_dim, memory.device, replays=replays),
            memory,
            card.embedding_dim,
            batch_points,
            IN_FLIGHT,
        )
        self._padded.warm_up()

    def embed(self, lonlat: LonLat) -> Rows:
        return self._padded.embed(lonlat.degrees)


class TorchBound:
    """The graph with its input and output of one batch size in memory of the device, on a stream of its own."""

    def __init__(self, graph: TorchGraph, size: int, embedding_dim: int, device: str, *, replays: bool) -> None:
        self._graph = graph
        self._given = torch.zeros(size, 2, dtype=torch.float64, device=device)
        self._made = torch.empty(size, embedding_dim, device=device)
        self._stream = torch.cuda.Stream() if device == "cuda" else None
        self.given, self.made = self._given.data_ptr(), self._made.data_ptr()
        self._recorded = self._record() if replays else None

    def run(self) -> None:
        if self._stream is None:
            self._compute()
            return
        with torch.cuda.stream(self._stream):
            if self._recorded is None:
                self._compute()
            else:
                self._recorded.replay()
        self._stream.synchronize()

    def _compute(self) -> None:
        with torch.inference_mode():
            self._made.copy_(self._graph(lonlat=self._given))

    def _record(self) -> torch.cuda.CUDAGraph:
        recorded = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()  # what was written by the default stream
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UP_RUNS):
                self._compute()
        self._stream.synchronize()
        with torch.cuda.graph(recorded, stream=self._stream, capture_error_mode="thread_local"):
            self._compute()
        return recorded


def main() -> None:
    settings = read_settings()
    logs.configure(settings.log_format)
    bundle = read_bundle(bundle_path(settings.bundles[0]))
    settings = settings.model_copy(update={"max_batch_points": settings.max_batch_points or BATCH_POINTS["cuda"]})
    backend = TorchBackend(bundle, settings.precision, replays=settings.cuda_options.get("enable_cuda_graph") == "1")
    Server(create_app(settings, backend), settings, "127.0.0.1", 0).run()


if __name__ == "__main__":
    main()
