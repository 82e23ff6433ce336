"""What a job adds to its places: embeddings, or the values of a map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from service.bulk.recipe import Recipe, allowed_dimensions
from service.bulk.sink import CELL
from service.bulk.write_parquet import EMBEDDING
from service.bundle import Bundle, BundleCard, LonLat
from service.embedding.backends.base import Backend, checked, embed_checked
from service.embedding.backends.onnx import Precision, encoder_file
from service.embedding.context import CONTEXT_FIELDS, Context, context_reader
from service.embedding.graphs import Device, Graphs
from service.embedding.table import embedding_columns, embedding_schema
from service.maps.layers import HeadLayer, Layer, Similarity
from service.maps.table import VALUE, value_column, value_field


class Columns(Protocol):
    """Computes columns. `of` blocks, and many threads call it at once."""

    @property
    def schema(self) -> pa.Schema:
        """Of the columns, with what made them in its metadata."""
        ...

    def of(self, lonlat: LonLat) -> list[pa.Array]:
        """The columns at these places. Raises BackendFailed."""
        ...


class Addition(Protocol):
    """What is added, before a model is opened for it. Additions are pickled for workers on other machines."""

    @property
    def description(self) -> dict[str, Any]: ...

    def names(self, with_cells: bool) -> list[str]: ...

    def open(self, bundle: Bundle, device: Device, with_cells: bool) -> Columns:
        """`with_cells`: the cells that were embedded are a column too. Raises what opening a model raises."""
        ...


@dataclass(frozen=True)
class Embedding:
    """The model's embedding, as the service gives it, and before it, with `context`, what it may be worth."""

    card: BundleCard
    exact: bool
    dimensions: int
    normalize: bool
    context: bool = False
    precision: Precision = "float32"

    @classmethod
    def of(
        cls,
        card: BundleCard,
        *,
        exact: bool,
        dimensions: int | None,
        normalize: bool,
        context: bool = False,
        precision: Precision = "float32",
    ) -> Embedding:
        """Raises InvalidRequest where the card does not allow so many dimensions, and ProviderUnavailable where it does
        not declare the precision."""
        encoder_file(card, precision)  # raises where there is none
        return cls(card, exact, allowed_dimensions(card, dimensions), normalize, context, precision)

    @property
    def description(self) -> dict[str, Any]:
        snap = None if self.exact else self.card.snap_resolution
        return {
            "kind": "embedding",
            "snap_resolution": snap,
            "dimensions": self.dimensions,
            "normalize": self.normalize,
            "context": self.context,
            "precision": self.precision,
        }

    def names(self, with_cells: bool) -> list[str]:
        context = [field.name for field in CONTEXT_FIELDS] if self.context else []
        return [*context, *([CELL] if with_cells and self._snaps else []), EMBEDDING]

    def open(self, bundle: Bundle, device: Device, with_cells: bool) -> Columns:
        graphs = Graphs(bundle, device, self.precision)
        recipe = Recipe.of(
            bundle.card,
            graphs.encoder,
            exact=self.exact,
            dimensions=self.dimensions,
            normalize=self.normalize,
            batch_points=graphs.batch_points,
        )
        context = context_reader(bundle) if self.context else None
        return _EmbeddingColumns(bundle.card, recipe, with_cells and self._snaps, context)

    @property
    def _snaps(self) -> bool:
        return not self.exact and self.card.snap_resolution is not None


@dataclass(frozen=True)
class _EmbeddingColumns:
    card: BundleCard
    recipe: Recipe
    with_cells: bool
    context: Callable[[LonLat], Context] | None

    @property
    def schema(self) -> pa.Schema:
        before = pa.schema(CONTEXT_FIELDS if self.context else ())
        return embedding_schema(before, self.card.name, self.card.digest, self.recipe.dimensions, self.with_cells)

    def of(self, lonlat: LonLat) -> list[pa.Array]:
        cells, rows = self.recipe.embed(lonlat)
        context = self.context(lonlat).columns() if self.context else {}
        return [*context.values(), *embedding_columns(cells if self.with_cells else None, rows).values()]


@dataclass(frozen=True)
class MapValue:
    """The value of a map at the very place: how alike it is to references, or what the head predicts."""

    references: tuple[tuple[float, float], ...]
    negatives: tuple[tuple[float, float], ...]
    head: str | None
    precision: Precision = "float32"

    @property
    def description(self) -> dict[str, Any]:
        shown = {"head": self.head, "references": self.references, "negatives": self.negatives}
        return {"kind": "map", **shown, "precision": self.precision}

    def names(self, with_cells: bool) -> list[str]:
        return [VALUE]

    def open(self, bundle: Bundle, device: Device, with_cells: bool) -> Columns:
        graphs = Graphs(bundle, device, self.precision)
        return _ValueColumns(bundle.card, graphs.encoder, graphs.batch_points, self.layer(graphs))

    def layer(self, graphs: Graphs) -> Layer:
        """Raises BackendFailed or UnknownHead."""
        if self.head is not None:
            return HeadLayer(graphs.heads().named(self.head))
        references, negatives = (
            embed_checked(graphs.encoder, LonLat.from_degrees(np.reshape(places, (-1, 2))))
            for places in (self.references, self.negatives)
        )
        return Similarity(references, negatives)


@dataclass(frozen=True)
class _ValueColumns:
    card: BundleCard
    backend: Backend
    batch_points: int
    layer: Layer

    @property
    def schema(self) -> pa.Schema:
        metadata = {"layer": self.layer.name, "satcle.model": self.card.name, "satcle.digest": self.card.digest}
        return pa.schema([value_field(self.layer)], metadata)

    def of(self, lonlat: LonLat) -> list[pa.Array]:
        values = np.empty((len(lonlat), 1), np.float32)
        for start in range(0, len(lonlat), self.batch_points):
            chunk = slice(start, start + self.batch_points)
            rows = embed_checked(self.backend, lonlat[chunk])
            values[chunk] = checked(self.layer.values(rows), (len(rows), 1), self.layer.name)
        return [value_column(values, self.layer)]
