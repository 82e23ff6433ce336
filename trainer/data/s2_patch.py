"""One patch of S2-100K: the bytes of a GeoTIFF to reflectance, or what is wrong with them."""

from __future__ import annotations

import logging
import re

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from trainer.config.data import S2_BANDS
from trainer.data.tile_batch import Fault, FaultKind

REFLECTANCE_SCALE = 10_000
"""Files hold reflectance times this, as uint16."""
NAME_IN_MEMORY = re.compile(r"\S*[0-9a-f]{8}-[0-9a-f]{4}-\S*\s*")
"""What GDAL calls the bytes; it would tell a user nothing."""

logging.getLogger("rasterio").setLevel(logging.CRITICAL)  # GDAL's complaints come as Faults


def decode(name: str, content: bytes, size: int) -> NDArray[np.float32] | Fault:
    """A GeoTIFF → (12, size, size) reflectance; a pixel that is 0 in every band has no data, and is NaN."""
    if not content:
        return Fault(FaultKind.CORRUPT, name, "empty")
    try:
        with MemoryFile(content) as memory, memory.open(driver="GTiff") as file:
            if file.count != len(S2_BANDS):
                return Fault(FaultKind.WRONG_BANDS, name, f"{file.count} bands, not {len(S2_BANDS)}")
            if (file.height, file.width) != (size, size):
                return Fault(FaultKind.WRONG_SIZE, name, f"{file.height} x {file.width} pixels, not {size} x {size}")
            if set(file.dtypes) != {"uint16"}:
                return Fault(FaultKind.WRONG_TYPE, name, f"{file.dtypes[0]}, not uint16")
            pixels: NDArray[np.uint16] = file.read()
    except RasterioError as error:
        why = " ".join(str(error.__cause__ or error).split())
        return Fault(FaultKind.CORRUPT, name, NAME_IN_MEMORY.sub("", why))
    missing = ~pixels.any(axis=0)
    if missing.all():
        return Fault(FaultKind.NODATA, name, "0 in every pixel")
    reflectance = pixels.astype(np.float32)
    reflectance /= REFLECTANCE_SCALE
    reflectance[:, missing] = np.nan
    return reflectance
