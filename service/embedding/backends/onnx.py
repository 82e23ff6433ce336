"""ONNX Runtime. The only module that imports onnxruntime."""

from __future__ import annotations

from typing import Literal

import onnxruntime as ort

from service.bundle import Bundle, LonLat
from service.embedding.backends.base import Rows, embed_checked
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
        self._session = _open_session(bundle, provider)
        self.provider = _provider_in_use(self._session)
        embed_checked(self, LonLat.from_degrees([[0.0, 0.0]]))

    def embed(self, lonlat: LonLat) -> Rows:
        (rows,) = self._session.run(["embedding"], {"lonlat": lonlat.degrees})
        return rows  # type: ignore[no-any-return]


def _open_session(bundle: Bundle, provider: Provider) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    compiled_in = ort.get_available_providers()
    wanted = provider if provider != "auto" else "cuda" if EXECUTION_PROVIDERS["cuda"] in compiled_in else "cpu"
    if EXECUTION_PROVIDERS[wanted] not in compiled_in:
        raise ProviderUnavailable(f"provider {wanted} is not in this onnxruntime: pip install 'satcle[gpu]'")
    encoder = bundle.read(bundle.card.encoder)
    try:
        session = ort.InferenceSession(encoder, options, providers=[EXECUTION_PROVIDERS[wanted]])
    except Exception as error:  # ONNX Runtime's own errors share no base class
        raise BackendFailed(
            f"onnxruntime {ort.__version__} cannot open {bundle.path / bundle.card.encoder} on {wanted}: {error}; "
            "export the bundle again, or upgrade onnxruntime"
        ) from error
    session.disable_fallback()  # else a failing run would move to another provider, unasked
    if provider == "cuda" and _provider_in_use(session) != "cuda":
        raise ProviderUnavailable("provider cuda was asked for but the session runs on cpu: check driver and libraries")
    return session


def _provider_in_use(session: ort.InferenceSession) -> str:
    in_use = session.get_providers()[0]
    return next((name for name, provider in EXECUTION_PROVIDERS.items() if provider == in_use), in_use)
