"""ONNX location encoders of any make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper

from service.bundle import Parity
from trainer.errors import WeightsError
from trainer.export import CHUNK, embed_with_graph, open_graph, parity_places
from trainer.importers.encoder import Choices, ImportedEncoder
from trainer.importers.onnx_file import OnnxEncoder, read_onnx
from trainer.importers.onnx_wrapping import TINY, Order, wrap
from trainer.importers.provenance import unknown
from trainer.importers.untrusted import first_line

BATCHES = (1, 2, 5)
MAX_ROW_DIFFERENCE = 1e-4
"""Between a place's embedding alone and within a batch, in units of max(1, the largest value): more is no rounding."""


def read_onnx_encoder(path: Path, choices: Choices) -> ImportedEncoder:
    """The encoder in the ONNX file `path`, wrapped to take lon, lat.

    Raises WeightsError where the file is no location encoder, is damaged, or what it needs to be told is missing.
    """
    if choices.order is None:
        raise WeightsError(f"{path} does not say which coordinate it takes first: give --order lonlat or latlon")
    if choices.variant or choices.m0_scale:
        raise WeightsError(f"{path} is an ONNX file; --variant and --m0-scale are for checkpoints")
    original = _Original.open(path, read_onnx(path, choices.output), choices.order)
    embedding_dim = _embedding_dim(original)
    wrapped = wrap(original.encoder, choices.order, embedding_dim, normalize=choices.normalize)
    parity = _parity(original, wrapped, normalize=choices.normalize)
    dimensions = _dimensions(path, choices.dimensions, embedding_dim)
    return ImportedEncoder(unknown(path), dimensions, onnx=wrapped, onnx_parity=parity, normalized=choices.normalize)


@dataclass(frozen=True, eq=False)
class _Original:
    """The encoder as it is in the file, in ONNX Runtime."""

    path: Path
    encoder: OnnxEncoder
    order: Order
    session: ort.InferenceSession

    @classmethod
    def open(cls, path: Path, encoder: OnnxEncoder, order: Order) -> _Original:
        try:
            return cls(path, encoder, order, open_graph(encoder.model.SerializeToString()))
        except Exception as error:  # ONNX Runtime's own errors share no base class
            raise WeightsError(f"{path}: onnxruntime {ort.__version__} cannot open it: {first_line(error)}") from error

    def embed(self, lonlat: NDArray[np.float64]) -> NDArray[np.floating[Any]]:
        """Whatever it makes of places, which it is given in its own order and type."""
        columns = [0, 1] if self.order == "lonlat" else [1, 0]
        places = lonlat[:, columns].astype(helper.tensor_dtype_to_np_dtype(self.encoder.input_dtype))
        try:
            (answer,) = self.session.run([self.encoder.output], {self.encoder.input: places})
        except Exception as error:  # as above
            raise WeightsError(f"{self.path}: it fails on {len(lonlat)} places: {first_line(error)}") from error
        if not isinstance(answer, np.ndarray) or answer.dtype.kind != "f":
            raise WeightsError(f"{self.path}: its output {self.encoder.output} is not of floating-point numbers")
        return answer


def _embedding_dim(original: _Original) -> int:
    """Found by embedding a few places, alone and together."""
    places = parity_places()[: max(BATCHES)]
    answers = [original.embed(places[:batch]) for batch in BATCHES]
    widths = {answer.shape[1:] for answer in answers}
    if len(widths) != 1 or any(a.ndim != 2 or len(a) != n for a, n in zip(answers, BATCHES, strict=True)):
        shown = ", ".join(str(answer.shape) for answer in answers)
        raise WeightsError(f"{original.path}: its output is no row for each place: for {BATCHES} places it is {shown}")
    alone = np.concatenate([original.embed(place[None]) for place in places])
    if np.abs(alone - answers[-1]).max() > MAX_ROW_DIFFERENCE * max(1, np.abs(alone).max()):
        raise WeightsError(
            f"{original.path}: a place's embedding depends on the rest of its batch; export it in eval mode"
        )
    return int(answers[0].shape[1])


def _parity(original: _Original, wrapped: bytes, *, normalize: bool) -> Parity:
    """The largest difference of the wrapped graph from the original. Raises WeightsError where any is not finite."""
    places = parity_places()
    expected = np.concatenate([original.embed(chunk) for chunk in np.array_split(places, len(places) // CHUNK + 1)])
    if wrong := np.flatnonzero(~np.isfinite(expected).all(axis=1)).tolist():
        lon, lat = places[wrong[0]]
        raise WeightsError(f"{original.path}: its embedding of lon {lon:.6f}, lat {lat:.6f} is not finite")
    if normalize:
        expected = expected / (np.linalg.norm(expected, axis=1, keepdims=True) + TINY)
    difference = np.abs(embed_with_graph(wrapped, places) - expected)
    return Parity(max_abs_error=float(difference.max()), points=len(places))


def _dimensions(path: Path, asked: tuple[int, ...], embedding_dim: int) -> tuple[int, ...]:
    dimensions = tuple(sorted({*asked, embedding_dim}))
    if dimensions[0] < 1 or dimensions[-1] > embedding_dim:
        raise WeightsError(f"{path} makes embeddings of {embedding_dim} values; --dimensions must lie in 1 to that")
    return dimensions
