"""The card of a bundle: everything that a client, or the service, must know about a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag, model_validator

FORMAT: Final = 1

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
COLOR_PATTERN: Final = "^#[0-9a-fA-F]{6}$"
Color = Annotated[str, StringConstraints(pattern=COLOR_PATTERN)]
"""Red, green and blue, as #1c0dff."""


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


class OtherPart(Frozen):
    """A positional encoding or a network of another kind; `settings` are those of its kind, as its maker names them."""

    kind: Name
    settings: dict[str, int | float | str | tuple[float, ...]] = {}


def _known_or_other(known: str) -> Discriminator:
    """Cards that name no kind are older than other kinds."""

    def tag(part: Any) -> str:  # noqa: ANN401 - a mapping, or one of the models
        kind = part.get("kind", known) if isinstance(part, dict) else getattr(part, "kind", known)
        return "known" if kind == known else "other"

    return Discriminator(tag)


AnyEncoding = Annotated[
    Annotated[PositionalEncoding, Tag("known")] | Annotated[OtherPart, Tag("other")],
    _known_or_other("spherical_harmonics"),
]
AnyNetwork = Annotated[Annotated[Network, Tag("known")] | Annotated[OtherPart, Tag("other")], _known_or_other("siren")]


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


class RasterCard(Frozen):
    """The encoder as a second graph, over grids: float64 `lons` (W,), `lats` (H,) → float32 `embedding` (H·W, dim).

    `parity` is its largest difference from the encoder's own graph.
    """

    file: str
    parity: Parity


class PrecisionCard(Frozen):
    """The encoder with fewer bits in its products, for GPUs, and what that costs.

    `tf32` runs the encoder's own graph; `float16` the graph `file`, whose network is float16 and whose encoding is not.
    Cosine distances to the encoder's embeddings in float32, at `points` places; `measured` says by what.
    """

    name: Literal["tf32", "float16"]
    file: str | None = None
    cosine_mean: float
    cosine_max: float
    points: int = Field(ge=1)
    measured: str

    @model_validator(mode="after")
    def _has_a_graph_of_its_own_or_not(self) -> PrecisionCard:
        if (self.file is None) != (self.name == "tf32"):
            raise ValueError(f"precision {self.name}: float16 has a graph of its own, and tf32 the encoder's")
        return self


class ComponentsCard(Frozen):
    """The first three principal components of the embeddings, on one scale for the whole globe.

    `file` is float32 `.npy` (embedding_dim + 1, 3): (embedding, 1) @ it is 0 to 1 between the `quantiles` of places
    uniform on the sphere, of which there were `places`. `explained` is each component's share of their variance.
    """

    file: str
    explained: tuple[float, float, float]
    quantiles: tuple[float, float]
    places: int = Field(ge=1)


class TrainingPlacesCard(Frozen):
    """Where the model was trained: `file` is float32 `.npy` (count, 2), lon and lat of each sample in degrees."""

    file: str
    count: int = Field(ge=1)


class DataSource(Frozen):
    """One source of the training data, as it must be credited."""

    name: str
    credit: str
    license: str
    url: str | None = None
    sha256: Digest | None = None


class Training(Frozen):
    """What made the weights. `fusion_served` is False where graph propagation fusion was only a projection head.

    What nobody wrote down, of weights published elsewhere, is null.
    """

    method: str
    sources: tuple[DataSource, ...] = Field(min_length=1)
    samples: int | None = Field(ge=0)
    epochs: int | None = Field(ge=0)
    seed: int | None
    fusion_served: bool
    config_digest: Digest | None


class Metric(Frozen):
    """One measured figure; `on` says on what, so that it can be measured again."""

    name: str
    value: float
    on: str


class HeadFit(Frozen):
    """How a head was fitted, so that its metrics can be measured again on the rows held out from it.

    `column` is the target's in the table; `rows` of it were used, in three parts drawn by `seed`; those of classes
    dropped because they are rare were not. `parity` is the largest difference between the graph and the float64
    network at the held-out rows, in units of max(1, |prediction|).
    """

    column: str
    rows: int = Field(ge=1)
    train: int = Field(ge=1)
    validation: int = Field(ge=1)
    test: int = Field(ge=1)
    seed: int
    hidden_dims: tuple[int, ...]
    epochs: int = Field(ge=1)
    parity: float


class HeadCard(Frozen):
    """A task model on the embedding: an ONNX graph, float32 `embedding` (n, dim) → float32 `prediction` (n, columns).

    Regression predicts one column, in `unit`; classification the probability of each of `classes`. `transform` is that
    of the target in which a regression was fitted; the graph undoes it. `value_range` is the scale on which maps show
    a regression, `colormap_name` the colour map that suits it, `class_colors` the colour of each class.
    """

    id: Name
    task: Literal["regression", "classification"]
    file: str
    description: str = ""
    unit: str | None = None
    classes: tuple[str, ...] | None = None
    class_colors: tuple[Color, ...] | None = None
    transform: Literal["log1p"] | None = None
    value_range: tuple[float, float] | None = None
    colormap_name: str | None = None
    metrics: tuple[Metric, ...] = ()
    source: DataSource
    fit: HeadFit | None = None

    @property
    def columns(self) -> int:
        """How many numbers the graph predicts for a place."""
        return len(self.classes) if self.classes else 1

    @model_validator(mode="after")
    def _task_and_output_agree(self) -> HeadCard:
        if self.task == "classification":
            if self.classes is None or len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
                raise ValueError(f"head {self.id}: a classification needs two classes or more, all different")
            if self.unit or self.transform or self.value_range:
                raise ValueError(f"head {self.id}: unit, transform and value_range are for regressions")
            if self.class_colors is not None and len(self.class_colors) != len(self.classes):
                raise ValueError(f"head {self.id}: class_colors are one for each class")
        elif self.classes is not None or self.class_colors is not None:
            raise ValueError(f"head {self.id}: classes and class_colors are for classifications")
        if self.value_range and not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"head {self.id}: value_range is low, high")
        return self


class BundleCard(Frozen):
    """A model, described. `digest` identifies card and files together: see `bundle_digest`.

    `periodic` is False where the encoder tells longitude 180 from -180, or the longitudes of a pole from each other:
    it is then asked for them as they were written.
    """

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
    periodic: bool = True
    encoder: str = "encoder.onnx"
    encoding: AnyEncoding
    network: AnyNetwork
    snap_errors: tuple[SnapError, ...] = ()
    snap_resolution: int | None = Field(default=None, ge=0, le=15)
    parity: Parity
    training: Training
    metrics: tuple[Metric, ...] = ()
    heads: tuple[HeadCard, ...] = ()
    raster: RasterCard | None = None
    components: ComponentsCard | None = None
    precisions: tuple[PrecisionCard, ...] = ()
    training_places: TrainingPlacesCard | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that the card names."""
        optional = (self.raster, self.components, *self.precisions, self.training_places)
        files = [part.file for part in optional if part and part.file]
        return (self.encoder, *(head.file for head in self.heads), *files)

    def precision(self, name: str) -> PrecisionCard | None:
        """What is said of a precision, if anything; float32 is the encoder itself."""
        return next((precision for precision in self.precisions if precision.name == name), None)

    @model_validator(mode="after")
    def _dimensions_are_prefixes(self) -> BundleCard:
        if self.embedding_dim not in self.dimensions:
            raise ValueError(f"dimensions {self.dimensions} must include embedding_dim {self.embedding_dim}")
        if any(d < 1 or d > self.embedding_dim for d in self.dimensions):
            raise ValueError(f"dimensions {self.dimensions} must lie in 1 to embedding_dim {self.embedding_dim}")
        return self

    @model_validator(mode="after")
    def _heads_differ(self) -> BundleCard:
        ids = [head.id for head in self.heads]
        if len(set(ids)) < len(ids):
            raise ValueError(f"two heads share an id: {', '.join(ids)}")
        return self

    @model_validator(mode="after")
    def _precisions_differ(self) -> BundleCard:
        names = [precision.name for precision in self.precisions]
        if len(set(names)) < len(names):
            raise ValueError(f"a precision is there twice: {', '.join(names)}")
        return self


UNSIGNED = "0" * 64
"""The digest of a card that `write_bundle` has yet to fill in."""


def bundle_digest(card: BundleCard, file_sha256: Mapping[str, str]) -> str:
    """sha256 of the card without its digest and of every other file's sha256: what the cache is keyed by."""
    exclude: dict[str, Any] = {"digest": True}
    # what older cards did not know is left out where there is none of it
    exclude |= {name: True for name in ("raster", "components", "training_places") if getattr(card, name) is None}
    exclude |= {"periodic": True} if card.periodic else {}
    exclude |= {} if card.precisions else {"precisions": True}
    exclude["heads"] = {at: {"class_colors"} for at, head in enumerate(card.heads) if head.class_colors is None}
    fields = card.model_dump(mode="json", exclude=exclude)
    described = {"card": fields, "files": dict(sorted(file_sha256.items()))}
    canonical = json.dumps(described, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
