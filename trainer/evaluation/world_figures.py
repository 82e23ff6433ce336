"""An encoder on a map: its principal components as colours, and how like a place every place is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainer.evaluation.components import principal_components
from trainer.evaluation.drawing import WORLD, Bbox, Floats, extent, figure, grid, map_axes
from trainer.evaluation.encoders import Encoder, embeddings_of

COLUMNS = 720
CHUNK = 1 << 16


def pca_figure(encoder: Encoder, out: Path, box: Bbox = WORLD) -> Path:
    """The first three principal components as red, green and blue (SatCLIP, figure 2a), on one scale for the globe."""
    components = principal_components(lambda lonlat: _embedded(encoder, lonlat))
    places, shape = grid(box, COLUMNS)
    colours = np.concatenate([components.of(_embedded(encoder, part)) for part in _chunks(places)])
    share = ", ".join(f"{100 * part:.0f} %" for part in components.explained)
    with figure(out, 7, _height(box)) as drawn:
        axes = drawn.subplots()
        axes.imshow(colours.reshape(*shape, 3), extent=extent(box), interpolation="nearest")
        map_axes(axes, box, f"{encoder.name}: principal components 1-3 as red, green, blue ({share} of the variance)")
    return out


def similarity_figure(encoder: Encoder, reference: tuple[float, float], out: Path, box: Bbox = WORLD) -> Path:
    """The cosine between every place's embedding and that of `reference`, lon and lat (SatCLE, figure 8)."""
    here = _unit(_embedded(encoder, np.array([reference])))[0]
    places, shape = grid(box, COLUMNS)
    cosine = np.concatenate([_unit(_embedded(encoder, part)) @ here for part in _chunks(places)])
    with figure(out, 7, _height(box)) as drawn:
        axes = drawn.subplots()
        image = axes.imshow(cosine.reshape(shape), extent=extent(box), cmap="viridis", interpolation="nearest")
        map_axes(axes, box, f"{encoder.name}: similarity to {reference[0]:g}, {reference[1]:g}")
        axes.plot(*reference, marker="x", color="red", markersize=5)
        drawn.colorbar(image, ax=axes, label="cosine similarity", shrink=0.8, aspect=30)
    return out


def _embedded(encoder: Encoder, lonlat: Floats) -> Floats:
    return embeddings_of(encoder, lonlat).astype(np.float64)


def _unit(embeddings: Floats) -> Floats:
    unit: Floats = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True).clip(min=1e-12)
    return unit


def _chunks(places: Floats) -> list[Floats]:
    return [places[i : i + CHUNK] for i in range(0, len(places), CHUNK)]


def _height(box: Bbox) -> float:
    west, south, east, north = box
    return float(np.clip(7 * (north - south) / (east - west), 2, 9)) + 0.3
