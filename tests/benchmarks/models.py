"""What is measured against: the default bundle, bundles of L = 10 and 40, and each model alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from service.bundle import Bundle, LonLat, PositionalEncoding, RasterCard, read_bundle, write_bundle
from service.bundles import DEFAULT, bundle_path
from service.embedding.backends.onnx import OnnxBackend
from trainer.export import export_raster
from trainer.graphs.encoder import encoder_graph
from trainer.models.location_tower import harmonics_tower
from trainer.precision import with_precisions

CHUNK = 512
"""MAX_BATCH_POINTS, as it is by default."""


def default_bundle() -> Bundle:
    return read_bundle(bundle_path(DEFAULT))


def bundle_of(legendre_polys: int, folder: Path, *, precisions: bool = False) -> Bundle:
    """Untrained weights: what they compute costs the same. The rest of the card is the default bundle's.

    With `precisions`, which takes a while to measure, it declares its own.
    """
    torch.manual_seed(0)
    encoder = encoder_graph(harmonics_tower(legendre_polys=legendre_polys).eval()).SerializeToString()
    raster, parity = export_raster(encoder)
    update = {
        "name": f"untrained-l{legendre_polys}",
        "encoding": PositionalEncoding(variant="exact", legendre_polys=legendre_polys),
        "heads": (),
        "raster": RasterCard(file="raster.onnx", parity=parity),
        "components": None,
        "training_places": None,
        "precisions": (),
    }
    card, files = default_bundle().card.model_copy(update=update), {}
    if precisions:
        card, files = with_precisions(card, encoder)
    return write_bundle(folder / card.name, card, {card.encoder: encoder, "raster.onnx": raster, **files})


def model_alone(bundle: Bundle, lonlat: NDArray[np.float64]) -> Callable[[], object]:
    """The model on these places, on one thread, in the chunks in which the service computes them."""
    backend = OnnxBackend(bundle, "cpu")
    chunks = [LonLat.from_degrees(lonlat[start : start + CHUNK]) for start in range(0, len(lonlat), CHUNK)]
    return lambda: [backend.embed(chunk) for chunk in chunks]
