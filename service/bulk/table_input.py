"""Places that are the rows of Parquet or GeoParquet files, one or a folder of them: a part is a run of rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from service.bulk.folder import Folder
from service.bulk.geometry import geometry_column
from service.bulk.locations import CellColumn, Locations, find_locations
from service.bulk.parts import Part
from service.bulk.places import Places, missing_geometry, with_geometry
from service.bulk.read_parquet import ParquetSource, first_line
from service.bulk.source import BLOCK_ROWS, RowProblem, check_columns
from service.bundle import LonLat
from service.embedding.cells import cells_of
from service.errors import BadRow, BadTable

PART_ROWS = 131_072
SUFFIXES = (".parquet", ".geoparquet")
TRAILER_BYTES = 8
"""At the end of a file: the length of its footer, and PAR1."""


@dataclass(frozen=True)
class File:
    path: str
    rows: int
    digest: str
    """Of its footer, which knows the least and the greatest value of every column."""


@dataclass(frozen=True)
class TableInput:
    """The rows, those of a part sorted by cell: the cell of `sort_resolution` that holds the place."""

    filesystem: fs.FileSystem
    files: tuple[File, ...]
    schema: pa.Schema
    locations: Locations
    sort_resolution: int

    @classmethod
    def of(cls, path_or_uri: str, sort_resolution: int, lon: str | None = None, lat: str | None = None) -> TableInput:
        """Read every footer. Raises BadTable, which names the file, and OSError."""
        folder = Folder.of(path_or_uri)
        paths = _parquet_files(folder)
        schema, files = None, []
        for path in paths:
            file, found = _footer(folder.filesystem, path)
            schema = schema or found
            if not found.equals(schema):
                raise BadTable(f"{path} has other columns than {paths[0]}: a dataset's files have the same")
            files.append(file)
        assert schema is not None
        source = ParquetSource(Path(paths[0]), schema)
        for name in missing_geometry(schema):
            if name in schema.names:
                raise BadTable(f"{paths[0]} has a column {name!r}, which the output adds; rename it")
        return cls(folder.filesystem, tuple(files), schema, find_locations(source, lon, lat), sort_resolution)

    @property
    def has_cells(self) -> bool:
        return isinstance(self.locations, CellColumn)

    @property
    def names(self) -> list[str]:
        return [*self.schema.names, *missing_geometry(self.schema)]

    @property
    def repeating(self) -> list[str]:
        return [name for name in self.schema.names if name != geometry_column(self.schema)]

    @property
    def description(self) -> dict[str, Any]:
        content = "".join(f"{file.rows} {file.digest}\n" for file in self.files)
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        columns = list(self.locations.columns)
        return {"files": len(self.files), "files_digest": digest, "columns": columns, "part_rows": PART_ROWS}

    def parts(self) -> list[Part]:
        runs = [
            (number, start, min(start + PART_ROWS, file.rows))
            for number, file in enumerate(self.files)
            for start in range(0, file.rows, PART_ROWS)
        ]
        return [Part(f"part-{index:06}.parquet", run) for index, run in enumerate(runs)]

    def places(self, part: Part) -> Places:
        number, start, stop = part.key
        file = self.files[number]
        blocks, places = [], []
        row = start
        try:
            for block in self._blocks(file, start, stop):
                blocks.append(block)
                places.append(self.locations.lonlat(block))
                row += block.num_rows
        except RowProblem as problem:
            raise BadRow(f"{file.path}: row {row + problem.index + 1}: {problem.reason}") from None
        except (pa.ArrowInvalid, OSError) as error:
            raise BadTable(f"{file.path} is damaged: {first_line(error)}") from error
        lonlat = LonLat.concatenate(places)
        order = np.argsort(cells_of(lonlat, self.sort_resolution), kind="stable")
        table, lonlat = pa.Table.from_batches(blocks, self.schema).take(pa.array(order)), lonlat[order]
        return Places(with_geometry(table, lonlat), lonlat)

    def _blocks(self, file: File, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """The rows from `start` until `stop`; of the row groups that hold them, the rows before are read too."""
        with pq.ParquetFile(file.path, filesystem=self.filesystem, pre_buffer=False) as opened:
            sizes = [opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups)]
            ends = np.cumsum(sizes)
            groups = np.flatnonzero((ends > start) & (ends - sizes < stop)).tolist()
            row = int(ends[groups[0]] - sizes[groups[0]])
            for block in opened.iter_batches(BLOCK_ROWS, row_groups=groups, use_threads=False):
                first, last = max(start - row, 0), min(stop - row, block.num_rows)
                row += block.num_rows
                if first < last:
                    yield block.slice(first, last - first)
                if row >= stop:
                    return


def _parquet_files(folder: Folder) -> list[str]:
    """The file itself, or those in the folder, in its folders too, in alphabetical order."""
    info = folder.filesystem.get_file_info(folder.path)
    if info.type == fs.FileType.NotFound:
        raise FileNotFoundError(2, "No such file or folder", folder.shown)
    if info.type == fs.FileType.File:
        paths = [folder.path]
    else:
        found = folder.filesystem.get_file_info(fs.FileSelector(folder.path, recursive=True))
        names = {each.path: each.path.removeprefix(f"{folder.path}/") for each in found}
        paths = sorted(path for path, name in names.items() if not any(p[0] in "_." for p in name.split("/")))
        if partitioned := [names[path] for path in paths if "=" in names[path].rpartition("/")[0]]:
            raise BadTable(
                f"{folder.shown}/{partitioned[0]}: columns named by folders are not read; put them in the files"
            )
    paths = [path for path in paths if path.lower().endswith(SUFFIXES)]
    if not paths:
        raise BadTable(f"{folder.shown}: only Parquet and GeoParquet files are read into a dataset")
    return paths


def _footer(filesystem: fs.FileSystem, path: str) -> tuple[File, pa.Schema]:
    with filesystem.open_input_file(path) as file:
        try:
            metadata = pq.read_metadata(file)
            schema = metadata.schema.to_arrow_schema()
        except pa.ArrowInvalid as error:
            raise BadTable(f"{path} is not Parquet: {first_line(error)}") from None
        check_columns(Path(path), schema)
        size = file.size()
        file.seek(size - TRAILER_BYTES - metadata.serialized_size)
        digest = hashlib.sha256(file.read()).hexdigest()
    return File(path, metadata.num_rows, digest), schema
