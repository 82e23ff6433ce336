"""A job whose parts are GeoParquet files: places, and what is added to each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from service.bulk.additions import Addition, Columns
from service.bulk.parts import MakePart, Part
from service.bulk.places import Input
from service.bulk.write_parquet import row_groups
from service.bundle import Bundle, BundleCard
from service.embedding.graphs import Device
from service.errors import BadTable


@dataclass(frozen=True)
class TableJob:
    """The columns of the input, then those of the addition."""

    card: BundleCard
    input: Input
    addition: Addition

    suffix = ".parquet"

    @classmethod
    def of(cls, card: BundleCard, input_: Input, addition: Addition) -> TableJob:
        """Raises BadTable where a column of the input has the name of one that is added."""
        for name in addition.names(with_cells=not input_.has_cells):
            if name in input_.names:
                raise BadTable(f"the input has a column {name!r}, which the output adds; rename it")
        return cls(card, input_, addition)

    @property
    def description(self) -> dict[str, Any]:
        model = {"model": self.card.name, "digest": self.card.digest}
        return {**model, **self.addition.description, "source": self.input.description}

    def parts(self) -> list[Part]:
        return self.input.parts()

    def extras(self, parts: Iterable[Part]) -> Mapping[str, str]:
        return {}

    def open(self, bundle: Bundle, device: Device) -> MakePart:
        columns = self.addition.open(bundle, device, with_cells=not self.input.has_cells)

        def make(part: Part, path: Path) -> int:
            return _write(path, self.input, part, columns)

        return make


def _write(path: Path, input_: Input, part: Part, columns: Columns) -> int:
    places = input_.places(part)
    if not len(places):
        return 0
    given, added = places.table.schema, columns.schema
    schema = pa.schema([*given, *added], {**(given.metadata or {}), **(added.metadata or {})})
    with row_groups(path, schema, input_.repeating) as write:
        for block, lonlat in places.blocks():
            write(pa.RecordBatch.from_arrays([*block.columns, *columns.of(lonlat)], schema=schema))
    return len(places)
