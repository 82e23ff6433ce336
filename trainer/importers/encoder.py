"""What an importer makes of a file: the encoder, and what its card will say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from service.bundle import DataSource, Parity
from trainer.config.location import LocationTowerConfig
from trainer.importers.onnx_wrapping import Order
from trainer.models.location_tower import LocationTower

NOT_STATED = "not stated; see the file's source"
Variant = Literal["exact", "printed", "closed-form"]


@dataclass(frozen=True)
class Choices:
    """What a file cannot say of itself.

    m0_scale and variant are those of spherical harmonics; `variant` None takes what the published code computed.
    order, dimensions, normalize and output are of ONNX encoders.
    """

    m0_scale: float | None = None
    variant: Variant | None = None
    order: Order | None = None
    dimensions: tuple[int, ...] = ()
    normalize: bool = False
    output: str | None = None


@dataclass(frozen=True)
class Provenance:
    """Where weights come from, in the words of a card; the first of `sources` is the weights themselves."""

    name: str
    method: str
    description: str
    license: str
    limits: str
    sources: tuple[DataSource, ...]


@dataclass(frozen=True, eq=False)
class ImportedEncoder:
    """An encoder that was read: a float64 `tower` and its `config`, or where None the graph `onnx` in a bundle's form.

    `onnx_parity` is how far that is from the file's graph.

    `dimensions` are the prefixes that are embeddings of their own, the whole embedding the last of them.
    """

    provenance: Provenance
    dimensions: tuple[int, ...]
    tower: LocationTower | None = None
    config: LocationTowerConfig | None = None
    onnx: bytes | None = None
    onnx_parity: Parity | None = None
    normalized: bool = False

    @property
    def embedding_dim(self) -> int:
        return self.dimensions[-1]
