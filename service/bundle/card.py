"""The card of a bundle: everything that a client, or the service, must know about a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

FORMAT: Final = 1

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Frozen(BaseModel):
    """Immutable, strict about unknown keys, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PositionalEncoding(Frozen):
    """How a coordinate becomes numbers.

    `variant`: `exact` harmonics; `printed`, the published code's rounded constants; `closed-form`,
    the published code's other basis. `m0_scale` multiplies the m = 0 features (π in published
    `analytic` checkpoints, 1 in orthonormal harmonics).
    """

    kind: Literal["spherical_harmonics"] = "spherical_harmonics"
    variant: Literal["exact", "printed", "closed-form"]
    legendre_polys: int = Field(ge=1, le=100)
    m0_scale: float = 1.0


class Network(Frozen):
    """What follows the positional encoding."""

    kind: Literal["siren"] = "siren"
    hidden_dim: int = Field(ge=1)
    hidden_layers: int = Field(ge=1)
    w0_initial: float = 30.0
    w0: float = 1.0


class SnapError(Frozen):
    """What moving a coordinate to the centre of its H3 cell does, measured on land and sea at export.

    Cosine distances between the embeddings of the coordinate and of the centre; metres between the two.
    """

    resolution: int = Field(ge=0, le=15)
    cosine_median: float
    cosine_p99: float
    cosine_max: float
    metres_median: float
    metres_p99: float
    metres_max: float


class Parity(Frozen):
    """How far the exported graph is from the float64 torch tower, at `points` places."""

    max_abs_error: float
    points: int


class DataSource(Frozen):
    """One source of the training data, as it must be credited."""

    name: str
    credit: str
    license: str
    url: str | None = None
    sha256: Digest | None = None


class Training(Frozen):
    """What made the weights. `fusion_served` is False where graph propagation fusion was only a projection head."""

    method: str
    sources: tuple[DataSource, ...] = Field(min_length=1)
    samples: int = Field(ge=0)
    epochs: int = Field(ge=0)
    seed: int
    fusion_served: bool
    config_digest: Digest


class Metric(Frozen):
    """One measured figure; `on` says on what, so that it can be measured again."""

    name: str
    value: float
    on: str


class HeadCard(Frozen):
    """A task model on the embedding."""

    id: Name
    task: Literal["regression", "classification"]
    file: str
    unit: str | None = None
    classes: tuple[str, ...] | None = None
    transform: str | None = None
    metrics: tuple[Metric, ...] = ()
    source: DataSource


class BundleCard(Frozen):
    """A model, described. `digest` identifies card and files together: see `bundle_digest`."""

    format: Literal[1] = FORMAT
    name: Name
    version: str = Field(min_length=1, max_length=64)
    digest: Digest
    description: str
    license: str
    limits: str
    embedding_dim: int = Field(ge=1)
    dimensions: tuple[int, ...] = Field(min_length=1)
    dtype: Literal["float32"] = "float32"
    coordinate_order: Literal["lon,lat"] = "lon,lat"
    normalization: Literal["none", "l2"] = "none"
    encoder: str = "encoder.onnx"
    encoding: PositionalEncoding
    network: Network
    snap_errors: tuple[SnapError, ...] = ()
    snap_resolution: int | None = Field(default=None, ge=0, le=15)
    parity: Parity
    training: Training
    metrics: tuple[Metric, ...] = ()
    heads: tuple[HeadCard, ...] = ()

    @model_validator(mode="after")
    def _dimensions_are_prefixes(self) -> BundleCard:
        if self.embedding_dim not in self.dimensions:
            raise ValueError(f"dimensions {self.dimensions} must include embedding_dim {self.embedding_dim}")
        if any(d < 1 or d > self.embedding_dim for d in self.dimensions):
            raise ValueError(f"dimensions {self.dimensions} must lie in 1 to embedding_dim {self.embedding_dim}")
        return self


UNSIGNED = "0" * 64
"""The digest of a card that `write_bundle` has yet to fill in."""


def bundle_digest(card: BundleCard, file_sha256: Mapping[str, str]) -> str:
    """sha256 of the card without its digest and of every other file's sha256: what the cache is keyed by."""
    described = {"card": card.model_dump(mode="json", exclude={"digest"}), "files": dict(sorted(file_sha256.items()))}
    canonical = json.dumps(described, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
