"""A job as the command line asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from service.bulk.additions import Embedding, MapValue
from service.bulk.cell_input import CellInput
from service.bulk.formats import SINKS, SOURCES
from service.bulk.parts import Engine, Job
from service.bulk.places import Input
from service.bulk.raster_job import RasterJob
from service.bulk.regions import Region, region_of
from service.bulk.table_input import TableInput
from service.bulk.table_job import TableJob
from service.bulk.threads import Threads
from service.bundle import Bundle, BundleCard
from service.embedding.backends.onnx import Precision, encoder_file
from service.embedding.graphs import Device
from service.embedding.heads import open_heads
from service.errors import InvalidRequest, ItemError
from service.maps.cells import FINEST
from service.maps.files import CELLS, PIXELS, bbox_of, place_of

EngineName = Literal["local", "ray"]
FILES = (*SOURCES, *SINKS, *CELLS, *PIXELS)


@dataclass(frozen=True)
class Pixels:
    """Of a raster: their number along each side, or their size; nothing: of a default."""

    width: int | None = None
    height: int | None = None
    degrees: float | None = None


@dataclass(frozen=True)
class Source:
    """A table, in the columns `lon` and `lat` if they are named, or else the cells of a region."""

    table: str | None = None
    lon: str | None = None
    lat: str | None = None
    h3_resolution: int | None = None
    region: str | None = None

    def open(self, card: BundleCard) -> Input:
        """Raises InvalidRequest, BadTable and OSError."""
        if self.table is not None and (self.h3_resolution, self.region) != (None, None):
            raise _invalid("give a table of places, or --h3-resolution and --region, not both")
        if self.table is not None:
            finest = FINEST if card.snap_resolution is None else card.snap_resolution
            return TableInput.of(self.table, finest, self.lon, self.lat)
        if (self.lon, self.lat) != (None, None):
            raise _invalid("--lon and --lat name columns of a table, and there is none")
        if self.h3_resolution is None or self.region is None:
            raise _invalid("give a table of places, or --h3-resolution and --region, as --region world")
        return CellInput.of(region_of(self.region), self.h3_resolution)

    def file(self, target: str) -> Path:
        """The table that a single file is made of. Raises InvalidRequest."""
        if (self.h3_resolution, self.region) != (None, None):
            raise _invalid(f"{target}: cells of a region become a folder of parts; give it a name without a suffix")
        if self.table is None:
            raise _invalid("give a table of places, or --h3-resolution and --region, as --region world")
        return Path(self.table)


def is_dataset(target: str, engine: EngineName) -> bool:
    """Whether the output is a folder of parts, as all is that Ray makes. Raises InvalidRequest where it is a file."""
    if "://" in target or target.endswith("/") or Path(target).is_dir():
        return True
    if engine == "local":
        return not Path(target).suffix
    if target.lower().endswith(FILES):
        raise _invalid(f"{target}: --engine ray writes a folder of parts; give it a name without a suffix")
    return True


def engine_of(
    name: EngineName, threads: int, workers: int | None, gpus: int | None, device: Device
) -> tuple[Engine, Device]:
    """The engine, and what its workers compute on where this process would on `device`. Raises InvalidRequest."""
    if name == "local":
        if (workers, gpus) != (None, None):
            raise _invalid("--workers and --gpus are for --engine ray; this engine has --threads")
        return Threads(threads), device
    if workers is not None and gpus is not None:
        raise _invalid("give --workers, of a core each, or --gpus, for workers of a GPU each")
    if device.provider == "cuda" and (workers, gpus) == (None, None):
        raise _invalid("SATCLE_PROVIDER=cuda: say with --gpus how many workers of --engine ray have one each")
    from service.bulk.ray_engine import RayData

    alone = replace(device.cuda, index=0)  # a worker sees no GPU but the one that Ray gives it
    return RayData(workers, gpus), replace(device, provider="cuda" if gpus else "cpu", cuda=alone)


def embedding_job(
    bundle: Bundle,
    source: Source,
    *,
    exact: bool,
    dimensions: int | None,
    normalize: bool,
    context: bool = False,
    precision: Precision = "float32",
) -> TableJob:
    """Raises InvalidRequest, ProviderUnavailable, BadTable and OSError."""
    addition = Embedding.of(
        bundle.card, exact=exact, dimensions=dimensions, normalize=normalize, context=context, precision=precision
    )
    return TableJob.of(bundle.card, source.open(bundle.card), addition)


def map_job(bundle: Bundle, region: Region, value: MapValue, pixels: Pixels, h3_resolution: int | None) -> Job:
    """A map of cells, or else of pixels. Raises InvalidRequest."""
    if h3_resolution is None:
        return RasterJob.of(
            bundle.card, region, value, width=pixels.width, height=pixels.height, degrees=pixels.degrees
        )
    if pixels != Pixels():
        raise _invalid("give the resolution of H3 cells, or pixels, not both")
    return TableJob.of(bundle.card, CellInput.of(region, h3_resolution), value)


def map_value(
    bundle: Bundle,
    references: Sequence[str],
    negatives: Sequence[str],
    head: str | None,
    precision: Precision = "float32",
) -> MapValue:
    """Similarity to places written as lon,lat, or a head's values.

    Raises InvalidRequest, UnknownHead, or ProviderUnavailable where the card does not declare the precision.
    """
    if head is not None and (references or negatives):
        raise _invalid("give a head or references, not both")
    if head is None and not references:
        raise _invalid("give a reference as lon,lat, or a head")
    if head is not None:
        open_heads(bundle, "cpu").named(head)
    encoder_file(bundle.card, precision)  # raises where there is none
    alike = tuple(place_of("reference", text) for text in references)
    unlike = tuple(place_of("negative", text) for text in negatives)
    return MapValue(alike, unlike, head, precision)


def map_region(bbox: str | None, region: str | None) -> Region:
    """Where a map is. Raises InvalidRequest."""
    if (bbox is None) == (region is None):
        raise _invalid("give --bbox or --region, as --region world")
    return Region(bbox, bbox_of(bbox)) if bbox is not None else region_of(str(region))


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest([ItemError("", message)])
