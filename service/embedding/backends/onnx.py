"""ONNX Runtime. The only module that imports onnxruntime."""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.bundle import Bundle, HeadCard, LonLat
from service.embedding.backends.base import Rows, checked, embed_checked
from service.errors import BackendFailed, ProviderUnavailable

Provider = Literal["auto", "cpu", "cuda"]
EXECUTION_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxBackend:
    """One session, shared by every thread: `run` releases the GIL and is thread-safe.

    Callers bring the parallelism, a thread a chunk, so that the session itself runs on one thread.
    Raises BundleCorrupt, ProviderUnavailable, or BackendFailed where the encoder does not open or does not embed.
    """

    def __init__(self, bundle: Bundle, provider: Provider = "auto") -> None:
        self.embedding_dim = bundle.card.embedding_dim
        self._periodic = bundle.card.periodic
        self._session = _open_session(bundle, bundle.card.encoder, provider)
        self.provider = _provider_in_use(self._session)
        embed_checked(self, LonLat.from_degrees([[0.0, 0.0]]))

    def embed(self, lonlat: LonLat) -> Rows:
        places = lonlat.degrees if self._periodic else lonlat.as_written
        (rows,) = self._session.run(["embedding"], {"lonlat": places})
        return rows  # type: ignore[no-any-return]


class OnnxGridBackend:
    """The bundle's second graph, which is separable; one session as the encoder's is.

    Raises BundleCorrupt, ProviderUnavailable, or BackendFailed where the graph does not open or does not embed.
    """

    def __init__(self, bundle: Bundle, file: str, provider: Provider = "auto") -> None:
        self._session = _open_session(bundle, file, provider)
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
    """The session of one head of a bundle, shared by every thread as the encoder's is.

    Raises BundleCorrupt, ProviderUnavailable, or BackendFailed where the graph does not open or is no head's: float32
    `embedding` (n, embedding_dim) in, float32 `prediction` (n, columns) out.
    """

    def __init__(self, bundle: Bundle, head: HeadCard, provider: Provider = "auto") -> None:
        self._session = _open_session(bundle, head.file, provider)
        names = [
            [tensor.name for tensor in tensors] for tensors in (self._session.get_inputs(), self._session.get_outputs())
        ]
        if names != [["embedding"], ["prediction"]]:
            raise BackendFailed(f"{bundle.path / head.file} is no head: its inputs and outputs are {names}")

    def predict(self, rows: Rows) -> NDArray[np.float32]:
        (predictions,) = self._session.run(["prediction"], {"embedding": rows})
        return predictions  # type: ignore[no-any-return]


def _open_session(bundle: Bundle, name: str, provider: Provider) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    compiled_in = ort.get_available_providers()
    wanted = provider if provider != "auto" else "cuda" if EXECUTION_PROVIDERS["cuda"] in compiled_in else "cpu"
    if EXECUTION_PROVIDERS[wanted] not in compiled_in:
        raise ProviderUnavailable(f"provider {wanted} is not in this onnxruntime: pip install 'satcle[gpu]'")
    graph = bundle.read(name)
    try:
        session = ort.InferenceSession(graph, options, providers=[EXECUTION_PROVIDERS[wanted]])
    except Exception as error:  # ONNX Runtime's own errors share no base class
        raise BackendFailed(
            f"onnxruntime {ort.__version__} cannot open {bundle.path / name} on {wanted}: {error}; "
            "export the bundle again, or upgrade onnxruntime"
        ) from error
    session.disable_fallback()  # else a failing run would move to another provider, unasked
    if provider == "cuda" and _provider_in_use(session) != "cuda":
        raise ProviderUnavailable("provider cuda was asked for but the session runs on cpu: check driver and libraries")
    return session


def _provider_in_use(session: ort.InferenceSession) -> str:
    in_use = session.get_providers()[0]
    return next((name for name, provider in EXECUTION_PROVIDERS.items() if provider == in_use), in_use)
