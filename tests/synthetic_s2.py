"""A made-up S2-100K: the published layout, in tar shards or extracted, small enough for a test.

Reflectance follows the place (bands differ by a gain and a gradient over the tile), so that a location encoder has
something to learn, and every patch differs from the others.
"""

import io
import tarfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

BANDS = 12


def write_s2_100k(
    folder: Path, patches: int = 24, *, layout: Literal["shards", "images"] = "shards", side: int = 256, seed: int = 0
) -> None:
    """`patches` patches of 12 bands and `side` pixels in `folder`, in two shards or one folder; the same either way.

    A config for it says `data: {kind: s2-100k, path: …, size: SIDE}`; below 24 pixels a file is under `min_bytes`.
    """
    lonlat = places(patches, seed)
    names = [f"patch_{7 * number + 3}.tif" for number in range(patches)]
    files = [(name, patch(*place, side, seed)) for name, place in zip(names, lonlat, strict=True)]
    write_index(folder, [(name, *place) for name, place in zip(names, lonlat, strict=True)])
    if layout == "images":
        (folder / "images").mkdir()
        for name, content in files:
            (folder / "images" / name).write_bytes(content)
        return
    half = (patches + 1) // 2
    write_shard(folder / "data" / "shard-00000.tar", files[:half])
    write_shard(folder / "data" / "shard-00001.tar", files[half:])


def places(count: int, seed: int) -> list[tuple[float, float]]:
    """Uniform by area between 60° S and 80° N."""
    rng = np.random.default_rng([seed, 1])
    lon = rng.uniform(-180, 180, count)
    lat = np.degrees(np.arcsin(rng.uniform(np.sin(np.radians(-60)), np.sin(np.radians(80)), count)))
    return list(zip(lon.tolist(), lat.tolist(), strict=True))


def patch(lon: float, lat: float, side: int, seed: int) -> bytes:
    """The GeoTIFF of a place."""
    rng = np.random.default_rng([seed, 2, round((lon + 180) * 1e6), round((lat + 90) * 1e6)])
    level = 2000 + 1500 * np.cos(np.radians(lat)) * np.sin(np.radians(lon) * np.linspace(1, 3, BANDS))
    ramp = np.linspace(-1, 1, side)[None, :, None] * np.linspace(1, 2, side)[None, None, :]
    pixels = level[:, None, None] + 300 * ramp + rng.normal(0, 60, (BANDS, side, side))
    return geotiff(pixels.clip(1, 10000).astype(np.uint16))


def geotiff(pixels: np.ndarray) -> bytes:
    """Pixels (bands, rows, columns) as the bytes of a GeoTIFF, uncompressed."""
    bands, height, width = pixels.shape
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        profile = {"driver": "GTiff", "count": bands, "height": height, "width": width, "dtype": pixels.dtype}
        with rasterio.open(memory, "w", **profile) as file:
            file.write(pixels)
        return memory.read()


def write_index(folder: Path, rows: Iterable[tuple[str, float, float]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{name},{lon!r},{lat!r}" for name, lon, lat in rows]
    (folder / "index.csv").write_text("\n".join(["fn,lon,lat", *lines, ""]), encoding="utf-8")


def write_shard(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as shard:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))
