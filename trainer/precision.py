"""The encoder at lower precisions, for GPUs, each with what it costs: measured without a GPU, and said so."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from service.bundle import BundleCard, PrecisionCard
from trainer.export import CHUNK, embed_with_graph, parity_places
from trainer.graphs.encoder import INPUT
from trainer.graphs.half import half_graph
from trainer.graphs.in_torch import Operand, TorchGraph, cut_to_tf32
from trainer.graphs.raster import has_raster_graph

HALF = "encoder.float16.onnx"
MAX_COSINE_DISTANCE = 1e-3
"""A precision that moves any embedding further than this is not offered."""

TF32_MEASURED = "emulated: products in float32 of operands cut to TF32's 10 bits of mantissa, in torch"
HALF_MEASURED = "torch on a CPU, each layer's result rounded to float16"

Embeddings = NDArray[np.float32]


def with_precisions(card: BundleCard, encoder: bytes) -> tuple[BundleCard, dict[str, bytes]]:
    """The card with what `encoder` may be run at besides float32, and the files of that.

    Each is measured at `parity_places`. Left out: tf32 where torch cannot run the graph, float16 where the graph is not
    of those that are built by hand, and what is beyond MAX_COSINE_DISTANCE or not finite.
    """
    model, places = onnx.load_from_string(encoder), parity_places()
    expected = embed_with_graph(encoder, places)
    measured = [_measured("tf32", _embed(model, places, cut_to_tf32), expected, TF32_MEASURED)]
    files: dict[str, bytes] = {}
    if has_raster_graph(model):
        # not by onnxruntime, which on a CPU computes in float32 and leaves out the rounding between layers
        half = half_graph(model)
        measured.append(_measured("float16", _embed(half, places), expected, HALF_MEASURED, HALF))
        files = {HALF: half.SerializeToString()} if measured[-1] else {}
    offered = tuple(precision for precision in measured if precision)
    return card.model_copy(update={"precisions": offered}), files


def cosine_distances(rows: Embeddings, expected: Embeddings) -> NDArray[np.float64]:
    """1 - u·v of each pair of rows, as ½‖u - v‖²: no cancellation."""
    u, v = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (rows.astype(float), expected.astype(float)))
    distances: NDArray[np.float64] = 0.5 * np.square(u - v).sum(axis=1)
    return distances


def _embed(model: onnx.ModelProto, places: NDArray[np.float64], operand: Operand | None = None) -> Embeddings | None:
    """By torch; None where that does not know the graph."""
    try:
        graph = TorchGraph(model, operand=operand)
    except NotImplementedError:
        return None
    chunks = torch.split(torch.from_numpy(places), CHUNK)
    return np.concatenate([graph(**{INPUT: chunk}).numpy() for chunk in chunks])


def _measured(
    name: str, rows: Embeddings | None, expected: Embeddings, how: str, file: str | None = None
) -> PrecisionCard | None:
    if rows is None:
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        distances = cosine_distances(rows, expected)
    if not distances.max() <= MAX_COSINE_DISTANCE:
        return None
    return PrecisionCard(
        name=name,  # type: ignore[arg-type]  # checked there
        file=file,
        cosine_mean=float(distances.mean()),
        cosine_max=float(distances.max()),
        points=len(rows),
        measured=how,
    )
