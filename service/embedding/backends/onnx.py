"""ONNX Runtime. The only module that imports onnxruntime."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.bundle import Bundle, BundleCard, HeadCard, LonLat
from service.embedding.backends.base import BATCH_POINTS, Rows, checked, embed_checked
from service.embedding.backends.cuda import GET_LIBRARIES, CudaMemory, count_gpus, why_not
from service.embedding.backends.padded import PaddedBatches
from service.embedding.backends.pinned import Memory
from service.errors import BackendFailed, InvalidSetting, ProviderUnavailable

log = logging.getLogger("satcle")

Provider = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "tf32", "float16"]
EXECUTION_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
CUDA_LIBRARY = Path(ort.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
CUDA_VERSION: str = getattr(ort, "cuda_version", "")
"""What ONNX Runtime was built for; empty where it was built without CUDA."""
IN_FLIGHT = 2
"""Batches on the GPU at once: one is computed while another is copied."""
SILENT = 4

ort.set_default_logger_severity(SILENT)  # what it would print, it raises too


@dataclass(frozen=True)
class Cuda:
    """How sessions use a GPU: which, ONNX Runtime's options for its provider, and places in the largest batch."""

    index: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    batch_points: int = BATCH_POINTS["cuda"]

    @property
    def replays(self) -> bool:
        """Whether batches are recorded as CUDA graphs, of which one runs at a time."""
        return self.options.get("enable_cuda_graph") == "1"

    def provider_options(self, *, tf32: bool = False, replays: bool = False) -> dict[str, str]:
        own = {"device_id": str(self.index), "use_tf32": str(int(tf32)), "enable_cuda_graph": str(int(replays))}
        return {**self.options, **own}


class OnnxBackend:
    """One session, shared by every thread: `run` releases the GIL and is thread-safe.

    Callers bring the parallelism, a thread a chunk, so that the session itself runs on one thread.
    Raises BundleCorrupt, ProviderUnavailable (also where the bundle does not declare the precision), or BackendFailed
    where the encoder does not open or does not embed.
    """

    def __init__(
        self,
        bundle: Bundle,
        provider: Provider = "auto",
        precision: Precision = "float32",
        cuda: Cuda = Cuda(),
    ) -> None:
        card = bundle.card
        self.embedding_dim = card.embedding_dim
        self.precision = precision
        self._periodic = card.periodic
        self._session = _open_session(bundle, encoder_file(card, precision), provider, cuda, precision, replays=True)
        self.provider: Literal["cpu", "cuda"] = _provider_in_use(self._session)
        if precision == "tf32" and self.provider != "cuda":
            raise ProviderUnavailable("SATCLE_PRECISION=tf32: only GPUs have it, and the session runs on the cpu")
        self._padded = self._on_gpu(cuda) if self.provider == "cuda" else None
        embed_checked(self, LonLat.from_degrees([[0.0, 0.0]]))

    def embed(self, lonlat: LonLat) -> Rows:
        places = lonlat.degrees if self._periodic else lonlat.as_written
        if self._padded:
            return self._padded.embed(places)
        (rows,) = self._session.run(["embedding"], {"lonlat": places})
        return rows  # type: ignore[no-any-return]

    def _on_gpu(self, cuda: Cuda) -> PaddedBatches:
        at_once = 1 if cuda.replays else IN_FLIGHT
        padded = padded_batches(
            self._session, CudaMemory(cuda.index), self.embedding_dim, cuda.batch_points, at_once, replays=cuda.replays
        )
        padded.warm_up()
        return padded


class OnnxGridBackend:
    """The bundle's second graph, which is separable; one session as the encoder's is, and always in float32.

    Raises BundleCorrupt, ProviderUnavailable, or BackendFailed where the graph does not open or does not embed.
    """

    def __init__(self, bundle: Bundle, file: str, provider: Provider = "auto", cuda: Cuda = Cuda()) -> None:
        self._session = _open_session(bundle, file, provider, cuda)
        self._embedding_dim = bundle.card.embedding_dim
        self.embed_grid(np.zeros(1), np.zeros(1))

    def embed_grid(self, lons: NDArray[np.float64], lats: NDArray[np.float64]) -> Rows:
        shape = (len(lons) * len(lats), self._embedding_dim)
        try:
            (rows,) = self._session.run(["embedding"], {"lons": lons, "lats": lats})
        except Exception as error:  # ONNX Runtime's own errors share no base class
            raise BackendFailed(f"the model failed on a grid of {shape[0]} places: {error}") from error
        return checked(rows, shape, "the model")


class OnnxHead:
    """The session of one head of a bundle, shared by every thread as the encoder's is, and always in float32.

    Raises BundleCorrupt, ProviderUnavailable, or BackendFailed where the graph does not open or is no head's: float32
    `embedding` (n, embedding_dim) in, float32 `prediction` (n, columns) out.
    """

    def __init__(self, bundle: Bundle, head: HeadCard, provider: Provider = "auto", cuda: Cuda = Cuda()) -> None:
        self._session = _open_session(bundle, head.file, provider, cuda)
        names = [
            [tensor.name for tensor in tensors] for tensors in (self._session.get_inputs(), self._session.get_outputs())
        ]
        if names != [["embedding"], ["prediction"]]:
            raise BackendFailed(f"{bundle.path / head.file} is no head: its inputs and outputs are {names}")

    def predict(self, rows: Rows) -> NDArray[np.float32]:
        (predictions,) = self._session.run(["prediction"], {"embedding": rows})
        return predictions  # type: ignore[no-any-return]


class _Bound:
    """An encoder's session with its input and output of one batch size on the device of `memory`."""

    def __init__(
        self, session: ort.InferenceSession, memory: Memory, size: int, embedding_dim: int, options: ort.RunOptions
    ) -> None:
        self._session = session
        self._options = options
        values = ort.OrtValue.ortvalue_from_shape_and_type
        given = values((size, 2), np.float64, memory.device, memory.index)
        made = values((size, embedding_dim), np.float32, memory.device, memory.index)
        self._values = given, made
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input("lonlat", given)
        self._binding.bind_ortvalue_output("embedding", made)
        self.given: int = given.data_ptr()
        self.made: int = made.data_ptr()

    def run(self) -> None:
        self._session.run_with_iobinding(self._binding, self._options)


def padded_batches(
    session: ort.InferenceSession,
    memory: Memory,
    embedding_dim: int,
    largest: int,
    at_once: int = IN_FLIGHT,
    *,
    replays: bool = False,
) -> PaddedBatches:
    """Padded batches of an encoder's session, which runs on the device of `memory`."""

    def bind(size: int, number: int) -> _Bound:
        options = ort.RunOptions()
        if replays:
            options.add_run_config_entry("gpu_graph_id", str(number))
        return _Bound(session, memory, size, embedding_dim, options)

    return PaddedBatches(bind, memory, embedding_dim, largest, at_once)


def encoder_file(card: BundleCard, precision: Precision) -> str:
    """The encoder's graph at that precision. Raises ProviderUnavailable where the card does not declare it."""
    if precision == "float32":
        return card.encoder
    declared = card.precision(precision)
    if declared is None:
        offered = ", ".join(["float32", *(each.name for each in card.precisions)])
        raise ProviderUnavailable(
            f"SATCLE_PRECISION={precision}: model {card.name} declares {offered} only; export it again or take those"
        )
    return declared.file or card.encoder


def _open_session(
    bundle: Bundle,
    name: str,
    provider: Provider,
    cuda: Cuda,
    precision: Precision = "float32",
    *,
    replays: bool = False,
) -> ort.InferenceSession:
    graph = bundle.read(name)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = SILENT
    where = bundle.path / name
    if provider == "cuda" or (provider == "auto" and EXECUTION_PROVIDERS["cuda"] in ort.get_available_providers()):
        own = cuda.provider_options(tf32=precision == "tf32", replays=replays and cuda.replays)
        try:
            return _open_on_cuda(graph, options, own, where)
        except ProviderUnavailable as error:
            if provider == "cuda":
                raise
            log.warning("%s: SATCLE_PROVIDER=auto takes the cpu", error)
    return _open(graph, options, ("cpu", {}), where)


def _open_on_cuda(graph: bytes, options: ort.SessionOptions, own: dict[str, str], where: Path) -> ort.InferenceSession:
    """Raises ProviderUnavailable where the session would not really hold CUDA, and InvalidSetting on another GPU."""
    if EXECUTION_PROVIDERS["cuda"] not in ort.get_available_providers():
        raise ProviderUnavailable(f"provider cuda is not in this onnxruntime: {GET_LIBRARIES}")
    with redirect_stdout(StringIO()):  # it prints what it does not find, which is said below
        ort.preload_dlls()
    try:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        session = _open(graph, options, ("cuda", own), where)
        told = "the session runs on the cpu"
    except BackendFailed as error:
        session, told = None, " ".join(f"onnxruntime says {error.__cause__}".split())
    if session is not None and _provider_in_use(session) == "cuda":
        _tell_nodes_on_cpu(session, where)
        return session
    if reason := why_not(CUDA_LIBRARY, CUDA_VERSION):
        raise ProviderUnavailable(f"provider cuda does not run: {reason}")
    index, count = int(own["device_id"]), count_gpus()
    if index >= count:
        raise InvalidSetting(
            f"SATCLE_CUDA_DEVICES: there is no GPU {index}, only {count}, counted from 0; each worker process takes "
            "one of its own, unless this names those that they share"
        )
    raise ProviderUnavailable(f"provider cuda does not run: {told}")


def _open(
    graph: bytes, options: ort.SessionOptions, provider: tuple[str, dict[str, str]], where: Path
) -> ort.InferenceSession:
    """Raises BackendFailed. ONNX Runtime may leave out the provider without an error."""
    name, own = provider
    try:
        return ort.InferenceSession(
            graph, options, providers=[(EXECUTION_PROVIDERS[name], own)], enable_fallback=0
        )  # no fallback: else what fails would move to another provider, unasked
    except Exception as error:  # ONNX Runtime's own errors share no base class
        raise BackendFailed(
            f"onnxruntime {ort.__version__} cannot open {where} on {name}: {error}; "
            "export the bundle again, or upgrade onnxruntime"
        ) from error


def _tell_nodes_on_cpu(session: ort.InferenceSession, where: Path) -> None:
    """Log which operators the GPU's provider has not: their data goes to this machine and back in each batch."""
    parts = session.get_provider_graph_assignment_info()
    left = {node.op_type for part in parts if part.ep_name == EXECUTION_PROVIDERS["cpu"] for node in part.get_nodes()}
    if left:
        log.warning("of %s, these operators run on the cpu and not on the GPU: %s", where, ", ".join(sorted(left)))


def _provider_in_use(session: ort.InferenceSession) -> Literal["cpu", "cuda"]:
    return "cuda" if session.get_providers()[0] == EXECUTION_PROVIDERS["cuda"] else "cpu"
