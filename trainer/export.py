"""Export: a trained location tower to ONNX bytes, checked against the tower, its snapping measured."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from service.bundle import Parity, SnapError
from trainer.errors import TrainerError
from trainer.graphs.encoder import INPUT, OUTPUT
from trainer.graphs.fused import served_graph
from trainer.graphs.raster import LATS, LONS, has_raster_graph, raster_graph
from trainer.models.fused_tower import FusedTower
from trainer.models.location_tower import LocationTower
from trainer.snap import PLACES, coarsest_resolution, measure_snap_errors, uniform_on_sphere

MAX_PARITY_ERROR = 2e-5
"""Largest difference allowed between an embedding of the graph and of the float64 tower, in units of max(1, the largest
value of any embedding)."""

PARITY_PLACES = 4096
CHUNK = 2048

Floats = NDArray[np.float64]


class ExportError(TrainerError):
    """The exported graph is not the tower; the message says by how much, where, and the limit."""


@dataclass(frozen=True)
class ExportedEncoder:
    """An encoder ready for a bundle: the ONNX file, how faithful it is, and what snapping to H3 cells costs."""

    onnx: bytes
    parity: Parity
    snap_errors: tuple[SnapError, ...]
    snap_resolution: int | None


def export_encoder(tower: LocationTower | FusedTower, snap_places: int = PLACES) -> ExportedEncoder:
    """Build the graph of `tower`, check its parity, measure snapping at `snap_places`. `tower` is left as it was.

    Raises ExportError where any value is not finite or further than MAX_PARITY_ERROR from the tower's.
    """
    exact = copy.deepcopy(tower).cpu().double().eval()
    graph = served_graph(exact).SerializeToString()
    parity = check_parity(graph, exact)
    snap_errors = measure_snap_errors(lambda lonlat: embed_exactly(exact, lonlat), snap_places)
    return ExportedEncoder(graph, parity, snap_errors, coarsest_resolution(snap_errors))


def check_parity(graph: bytes, exact: LocationTower | FusedTower) -> Parity:
    """The largest absolute difference between `graph` in onnxruntime and the float64 tower over `parity_places`.

    Raises ExportError above MAX_PARITY_ERROR or where either is not finite.
    """
    lonlat = parity_places()
    expected = embed_exactly(exact, lonlat)
    with np.errstate(invalid="ignore"):
        difference = np.abs(embed_with_graph(graph, lonlat) - expected).max(axis=1)
    worst = int(np.argmax(np.where(np.isfinite(difference), difference, np.inf)))
    limit = MAX_PARITY_ERROR * _unit(expected)
    if not difference[worst] <= limit < np.inf:
        lon, lat = lonlat[worst]
        raise ExportError(
            f"the exported graph differs from the tower by {difference[worst]:.3g} at lon {lon:.6f}, lat {lat:.6f}; "
            f"the limit is {limit:g}"
        )
    return Parity(max_abs_error=float(difference[worst]), points=len(lonlat))


def export_raster(encoder: bytes) -> tuple[bytes, Parity] | None:
    """The graph of `encoder` over grids, and its largest difference from it on `parity_grid`.

    None where it has none: maps then embed place by place. Raises ExportError above twice MAX_PARITY_ERROR: each may
    be so far from the tower.
    """
    model = onnx.load_from_string(encoder)
    if not has_raster_graph(model):
        return None
    graph = raster_graph(model).SerializeToString()
    lons, lats = parity_grid()
    expected = embed_with_graph(encoder, canonical_places(lons, lats))
    (embeddings,) = open_graph(graph).run([OUTPUT], {LONS: lons, LATS: lats})
    with np.errstate(invalid="ignore"):
        difference = float(np.abs(embeddings - expected).max())
    limit = 2 * MAX_PARITY_ERROR * _unit(expected)
    if not difference <= limit < np.inf:
        raise ExportError(f"the graph over grids differs from the encoder by {difference:.3g}; the limit is {limit:g}")
    return graph, Parity(max_abs_error=difference, points=len(expected))


def parity_grid() -> tuple[Floats, Floats]:
    """Longitudes beyond both antimeridians, and latitudes from pole to pole, close to both."""
    tiny = np.array([0.0, 1e-9, 1e-6, 1e-3, 0.1, 1.0])
    return np.linspace(-200, 220, 64), np.concatenate([90 - tiny, np.linspace(88, -88, 45), tiny - 90])


def canonical_places(lons: Floats, lats: Floats) -> Floats:
    """The places of a grid, row by row, (n, 2): lon within ±180, and 0 at the poles."""
    lonlat = _grid(lons, lats)
    lonlat[:, 0] = np.where(np.abs(lonlat[:, 1]) == 90, 0, np.mod(lonlat[:, 0] + 180, 360) - 180)
    return lonlat


def parity_places() -> Floats:
    """Random places, the poles, the antimeridian and places near both, as (n, 2) lon and lat in degrees."""
    tiny = np.array([0.0, 1e-9, 1e-6, 1e-3, 0.1, 1.0])
    lons = np.linspace(-180, 180, 25)
    near_antimeridian = np.concatenate([-180 + tiny, 180 - tiny])
    near_poles = np.concatenate([-90 + tiny, 90 - tiny])
    edges = [_grid(lons, near_poles), _grid(near_antimeridian, np.linspace(-90, 90, 37))]
    return np.concatenate([uniform_on_sphere(PARITY_PLACES, seed=0), *edges])


def embed_exactly(exact: LocationTower | FusedTower, lonlat: Floats) -> Floats:
    """Float64 embeddings of the float64 tower, (n, embedding_dim)."""
    with torch.inference_mode():
        chunks = [exact(chunk).numpy() for chunk in torch.split(torch.from_numpy(lonlat), CHUNK)]
    return np.concatenate(chunks)


def embed_with_graph(graph: bytes, lonlat: Floats) -> NDArray[np.float32]:
    """Float32 embeddings by onnxruntime on the CPU, (n, embedding_dim)."""
    session = open_graph(graph)
    chunks = [session.run([OUTPUT], {INPUT: lonlat[i : i + CHUNK]})[0] for i in range(0, len(lonlat), CHUNK)]
    return np.concatenate(chunks)


def open_graph(graph: bytes) -> ort.InferenceSession:
    """A session on one thread of the CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _unit(embeddings: NDArray[np.floating[Any]]) -> float:
    """What parity is measured in."""
    return max(1.0, float(np.abs(embeddings).max()))


def _grid(lons: Floats, lats: Floats) -> Floats:
    return np.stack(np.meshgrid(lons, lats), axis=-1).reshape(-1, 2)
