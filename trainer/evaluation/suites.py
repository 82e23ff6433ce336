"""What an encoder is measured on: a suite of tasks, as its YAML names them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, model_validator

from trainer.config import Source
from trainer.config.fields import Count, Frozen
from trainer.config.yaml_file import read_section
from trainer.errors import ConfigError, EvaluationError

TaskKind = Literal["regression", "classification"]


class TaskRequest(Frozen):
    """One task. `data`, from the data folder, is a table (.csv, .parquet), a world raster in EPSG:4326 (.tif), polygons
    (.json, .geojson, .topojson), a grid (.npz with lat, lon and (lat, lon) arrays), or a folder in CoordBench's layout.

    `target` is the column of a table, the array of a grid, or the property that names polygons. Rows whose target is
    empty, not finite or `nodata` are left out, and so are classes of fewer than `min_class_rows`.

    Of a table with more than `max_rows`, so many are drawn. What is no table is sampled: `points` places uniform by
    area above `min_lat`, on land unless `land` is false, where there is data; with `fill`, pixels without data have
    that value instead.
    """

    name: Annotated[str, Field(min_length=1)]
    data: Path
    target: str | None = None
    kind: TaskKind = "regression"
    transform: Literal["log1p"] | None = None
    nodata: float | None = None
    min_class_rows: Count = 30
    max_rows: Count | None = None
    band: Count = 1
    fill: float | None = None
    points: Count = 10_000
    land: bool = True
    min_lat: float = Field(default=-60.0, ge=-90, lt=90)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _suits_its_kind(self) -> TaskRequest:
        if self.kind == "classification" and self.transform:
            raise ValueError(f"task {self.name}: a classification has no transform")
        return self


class Suite(Frozen):
    """`sources` are files that `satcle data get` brings into the data folder, as the imagery of a config."""

    tasks: tuple[TaskRequest, ...] = Field(min_length=1)
    sources: tuple[Source, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Suite:
        names = [task.name for task in self.tasks]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two tasks are named {twice[0]!r}; rename one")
        return self


def is_suite(path: Path) -> bool:
    """Whether a YAML file has tasks; what cannot be read has none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return False
    return isinstance(content, dict) and "tasks" in content


def read_suite(path: Path) -> Suite:
    """Raises EvaluationError, one line: the file, the key, and what is wrong with it."""
    try:
        return read_section(path, Suite)
    except ConfigError as error:
        raise EvaluationError(str(error)) from error


def requested(table: Path, targets: tuple[str, ...]) -> tuple[TaskRequest, ...]:
    """The tasks of a table given by itself, from words like COLUMN, COLUMN:log1p and COLUMN:classification.

    A folder needs none. Raises EvaluationError.
    """
    if not targets:
        if table.is_dir():
            return (TaskRequest(name=table.name, data=table),)
        raise EvaluationError(f"say which column of {table} is the target: --target COLUMN[:classification]")
    return tuple(_requested(table, *target.rpartition(":")) for target in targets)


def _requested(table: Path, column: str, colon: str, option: str) -> TaskRequest:
    if colon and option == "classification":
        return TaskRequest(name=column, data=table, target=column, kind="classification")
    if colon and option == "log1p":
        return TaskRequest(name=f"{column} (log1p)", data=table, target=column, transform="log1p")
    whole = column + colon + option
    return TaskRequest(name=whole, data=table, target=whole)
