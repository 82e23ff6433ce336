"""What a run trains on: a mosaic of world rasters, or the published S2-100K."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from service.bundle.card import Digest, Name
from trainer.config.fields import Count, Frozen, Positive

S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
"""Of S2-100K, in the order of its files; it has no B10."""


class Source(Frozen):
    """One world raster: a file at `path`, or the `member` of a `package`: of the wheel of a pip
    requirement, or of the tarball of npm:NAME@VERSION.

    A relative path is taken from the imagery folder.
    Values outside [valid_min, valid_max], equal to `nodata`, or not finite, are no data. `bounds` (west, south,
    east, north, degrees) is for files that do not carry their own; the default is the whole globe, row 0 north.
    """

    name: Name
    bands: tuple[str, ...] = Field(min_length=1)
    path: Path | None = None
    package: str | None = None
    member: str | None = None
    bounds: tuple[float, float, float, float] | None = None
    nodata: float | None = None
    valid_min: float | None = None
    valid_max: float | None = None
    credit: str
    license: str
    url: str | None = None
    sha256: Digest | None = None

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        if (self.path is None) == (self.package is None):
            raise ValueError("give either a path or a package")
        if (self.package is None) != (self.member is None):
            raise ValueError("package and member go together")
        if self.bounds is not None and not (self.bounds[0] < self.bounds[2] and self.bounds[1] < self.bounds[3]):
            raise ValueError("bounds are west, south, east, north, in degrees")
        return self


class Tile(Frozen):
    """`size` x `size` pixels over `footprint_km`, on the plane that touches the sphere at the tile's centre.

    Of several footprints, the smallest first, each has bands of its own: one place seen at several scales.
    """

    size: int = Field(default=32, ge=2)
    footprint_km: Positive | Annotated[tuple[Positive, ...], Field(min_length=1)] = 160.0

    @property
    def footprints_km(self) -> tuple[float, ...]:
        return self.footprint_km if isinstance(self.footprint_km, tuple) else (self.footprint_km,)

    @model_validator(mode="after")
    def _footprints_ascend(self) -> Self:
        if any(a >= b for a, b in pairwise(self.footprints_km)):
            raise ValueError("footprint_km: give several from the smallest to the largest, each once")
        return self


class Points(Frozen):
    """Tile centres: `count` places drawn uniformly by area between two latitudes, where the source `land` has data."""

    count: Count
    land: Name | None = None
    min_lat: float = Field(default=-60.0, ge=-90, le=90)
    max_lat: float = Field(default=90.0, ge=-90, le=90)
    validation_share: float = Field(default=0.1, gt=0, lt=1)

    @model_validator(mode="after")
    def _has_extent(self) -> Self:
        if self.min_lat >= self.max_lat:
            raise ValueError("min_lat must be below max_lat")
        return self


class MosaicData(Frozen):
    """Tiles cut from world rasters at places drawn on land."""

    kind: Literal["mosaic"] = "mosaic"
    sources: tuple[Source, ...] = Field(min_length=1)
    tile: Tile = Tile()
    points: Points
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        names = [source.name for source in self.sources]
        bands = self.bands
        if len(set(names)) < len(names):
            raise ValueError("two sources share a name")
        if len(set(bands)) < len(bands):
            raise ValueError("two bands share a name")
        if self.points.land is not None and self.points.land not in names:
            raise ValueError(f"points.land names no source: {self.points.land}")
        return self

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands of a tile, in order: those of the first footprint, then of each other, as red@640."""
        bands = tuple(band for source in self.sources for band in source.bands)
        wider = tuple(f"{band}@{km:g}" for km in self.tile.footprints_km[1:] for band in bands)
        return bands + wider


class S2Data(Frozen):
    """The published S2-100K: `path` holds index.csv and data/shard-*.tar, or the extracted images/patch_N.tif.

    A relative path is taken from the imagery folder. Patches are `size` x `size` pixels. Files under `min_bytes` are
    nodata, and skipped. A run ends where more than `max_unreadable_share` of the files that the index names cannot be
    used for any other reason. `partial`: only some shards are there on purpose, and an index row without a file is
    no fault.
    """

    kind: Literal["s2-100k"]
    path: Path = Path("s2-100k")
    size: int = Field(default=256, ge=2)
    min_bytes: int = Field(default=10_000, ge=0)
    partial: bool = False
    max_unreadable_share: float = Field(default=0.01, ge=0, lt=1)
    validation_share: float = Field(default=0.1, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands of a tile, in order."""
        return S2_BANDS


def _kind(given: object) -> str:
    """A config that does not name the kind of its data means a mosaic."""
    found = given.get("kind", "mosaic") if isinstance(given, dict) else getattr(given, "kind", "mosaic")
    return str(found)


Data = Annotated[Annotated[MosaicData, Tag("mosaic")] | Annotated[S2Data, Tag("s2-100k")], Discriminator(_kind)]


class Views(Frozen):
    """The views of a tile whose image features are kept.

    View 0 is the tile as it is, or its centre, `crop` pixels a side; it serves validation and measurement. The others
    are drawn: a crop at random, flips, and a Gaussian blur whose deviation in pixels is drawn from `blur_sigma`.
    Training draws one of all the views each time that it meets a tile.
    """

    count: Count = 1
    crop: Annotated[int, Field(ge=2)] | None = None
    flips: bool = True
    blur_sigma: tuple[Positive, Positive] | None = (0.1, 2.0)

    @model_validator(mode="after")
    def _has_a_range(self) -> Self:
        if self.blur_sigma and self.blur_sigma[0] > self.blur_sigma[1]:
            raise ValueError("blur_sigma is smallest, largest")
        return self
