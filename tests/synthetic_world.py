"""A small made-up world: rasters whose values are known in closed form, and a config that trains on them in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
import torch
import yaml
from rasterio import Affine

from service.bundle import Bundle
from trainer.config import read_config
from trainer.data.imagery import GLOBE
from trainer.data.mosaic import Raster
from trainer.package import package
from trainer.sphere import unit_vectors
from trainer.training import pretrain

FEW_PLACES = 50
"""Snapping measured at so many places is no measurement, but quick."""


def grid(rows: int) -> torch.Tensor:
    """Pixel centres of a global raster with `rows` rows: (rows, 2 * rows, 2) degrees, row 0 north."""
    step = 180 / rows
    lat = 90 - (torch.arange(rows, dtype=torch.float64) + 0.5) * step
    lon = -180 + (torch.arange(2 * rows, dtype=torch.float64) + 0.5) * step
    lat, lon = torch.meshgrid(lat, lon, indexing="ij")
    return torch.stack((lon, lat), dim=-1)


def position_raster(rows: int) -> Raster:
    """Three bands: x, y and z of the unit sphere."""
    return Raster(unit_vectors(grid(rows)).float().contiguous(), GLOBE)


def write_raster(path: Path, values: np.ndarray, **profile: object) -> Path:
    """`values` (rows, columns, bands) as a global GeoTIFF."""
    rows, columns, bands = values.shape
    profile = {"crs": "EPSG:4326", "transform": Affine(360 / columns, 0, -180, 0, -180 / rows, 90)} | profile
    with rasterio.open(
        path, "w", driver="GTiff", height=rows, width=columns, count=bands, dtype=values.dtype, **profile
    ) as file:
        file.write(np.moveaxis(values, 2, 0))
    return path


def write_world(imagery: Path, rows: int = 90) -> Path:
    """positions.tif (x, y, z everywhere) and greenness.tif (data on the half of the globe with |lon| < 90 only)."""
    imagery.mkdir(parents=True, exist_ok=True)
    lonlat = grid(rows)
    positions = unit_vectors(lonlat).float().numpy()
    write_raster(imagery / "positions.tif", positions)
    green = (torch.sin(torch.deg2rad(lonlat * 6)).sum(-1)).float()
    green[lonlat[..., 0].abs() > 90] = torch.nan
    write_raster(imagery / "greenness.tif", green[..., None].numpy())
    return imagery


def small_config(**training: object) -> dict:
    """A config, as its YAML holds it, of a run over `write_world` that takes a second or two."""
    credited = {"credit": "made up", "license": "CC0-1.0"}
    return {
        "name": "small",
        "data": {
            "seed": 3,
            "tile": {"size": 8, "footprint_km": 400},
            "points": {"count": 400, "land": "greenness", "min_lat": -60},
            "sources": [
                {"name": "positions", "path": "positions.tif", "bands": ["x", "y", "z"], **credited},
                {"name": "greenness", "path": "greenness.tif", "bands": ["green"], **credited},
            ],
        },
        "location_tower": {
            "encoding": {"kind": "spherical_harmonics", "legendre_polys": 5},
            "network": {"kind": "siren", "hidden_dim": 32, "hidden_layers": 2},
            "embedding_dim": 16,
        },
        "image_tower": {"filters": 8, "scales": [1, 0.5]},
        "refinement": {"neighbours": 3, "sigma_deg": 0.18},
        "training": {"batch_size": 64, "epochs": 3, "learning_rate": 1e-3, "accelerator": "cpu", **training},
        "card": {
            "version": "1",
            "description": "A small made-up world.",
            "license": "MIT",
            "limits": "It is made up.",
            "probe_bands": ["green"],
        },
    }


def write_config(path: Path, config: dict) -> Path:
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def train_small_bundle(folder: Path) -> Bundle:
    """Imagery, config, training, export and bundle in `folder`, in a few seconds."""
    imagery = write_world(folder / "imagery")
    config = read_config(write_config(folder / "small.yaml", small_config()))
    best = pretrain(config, imagery, folder / "runs")
    return package(best, folder / "bundles" / config.name, snap_places=FEW_PLACES)
