"""The folder of a sweep: one folder a run and one for each encoder beside them, with all that its table is made of."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainer.config import Config, digest_of, read_config
from trainer.errors import ConfigError, RunError
from trainer.evaluation.leaderboard import Column, Row

ENTRY, FIGURES, CELLS, LOG = "sweep.json", "figures.json", "cells.json", "log.txt"
Kind = Literal["run", "untrained", "beside"]


@dataclass(frozen=True)
class Entry:
    """What a folder of a sweep is: a trained run, a tower before training, or an encoder beside them.

    `untrained` names the folder of the run's own tower before training. `error` is why a run failed, the last time.
    """

    kind: Kind
    variant: str
    seed: int | None = None
    changes: Mapping[str, Any] | None = None
    untrained: str | None = None
    error: str | None = None

    def write(self, folder: Path) -> None:
        write_json(folder / ENTRY, vars(self))


@dataclass(frozen=True)
class Measurement:
    """The means of an encoder's cells. `asked` is the digest of protocol and tasks: only equals are comparable."""

    asked: str
    protocol: Mapping[str, Any]
    note: str
    dim: int
    figures: Mapping[Column, float]

    def write(self, folder: Path) -> None:
        figures = [vars(column) | {"value": value} for column, value in self.figures.items()]
        write_json(folder / FIGURES, vars(self) | {"figures": figures})


@dataclass(frozen=True)
class Found:
    """A folder of a sweep as it is: `measured` None where it was not measured yet, `seconds` of all its epochs."""

    path: Path
    entry: Entry
    measured: Measurement | None
    seconds: float | None


def measurement(row: Row, asked: str, protocol: Mapping[str, Any]) -> Measurement:
    """Of a row of a leaderboard."""
    return Measurement(asked, protocol, row.note, row.dim, {c: mean.value for c, mean in row.figures.items()})


def read_sweep_folder(folder: Path) -> list[Found]:
    """All that is in a sweep's folder, by name. Raises RunError where it holds none, or a file of it is damaged."""
    found = [_found(entry.parent) for entry in sorted(folder.glob(f"*/{ENTRY}"))]
    if not found:
        raise RunError(f"{folder} holds no runs of satcle sweep")
    return found


def read_measurement(folder: Path) -> Measurement | None:
    """None where the folder was not measured yet. Raises RunError."""
    if not (folder / FIGURES).exists():
        return None
    raw = _read_json(folder / FIGURES)
    try:
        figures = {Column(**{k: v for k, v in each.items() if k != "value"}): each["value"] for each in raw["figures"]}
        return Measurement(**raw | {"figures": figures})
    except (TypeError, KeyError) as error:
        raise RunError(f"{folder / FIGURES} holds no figures of satcle sweep; remove it") from error


def untrained_name(config: Config) -> str:
    """The folder of a config's tower before training: runs whose towers start alike share one."""
    served_fusion = config.refinement.model_dump(mode="json") if config.refinement.serve_fusion else None
    tower = config.location_tower.model_dump(mode="json"), config.training.seed, served_fusion
    return f"untrained-{digest_of(tower)[:12]}"


def config_of(folder: Path) -> Config | None:
    """That a run's folder holds. Raises RunError where it is damaged."""
    path = folder / "config.yaml"
    try:
        return read_config(path) if path.exists() else None
    except ConfigError as error:
        raise RunError(f"{error}; remove {folder}, or put it right") from error


def write_json(path: Path, content: object) -> None:
    """Whole, or not at all. Raises RunError."""
    staged = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.write_text(json.dumps(content, indent=1, default=dict) + "\n", encoding="utf-8")
        staged.replace(path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}") from error


def _found(folder: Path) -> Found:
    raw = _read_json(folder / ENTRY)
    try:
        entry = Entry(**raw)
    except TypeError as error:
        raise RunError(f"{folder / ENTRY} was not written by satcle sweep; remove it") from error
    return Found(folder, entry, read_measurement(folder), _seconds(folder / "history.csv"))


def _seconds(history: Path) -> float | None:
    if not history.exists():
        return None
    with history.open(newline="", encoding="utf-8") as file:
        return sum(float(row["seconds"]) for row in csv.DictReader(file) if row.get("seconds"))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RunError(f"{path} is not JSON: {error}; remove it") from error
    if not isinstance(raw, dict):
        raise RunError(f"{path} was not written by satcle sweep; remove it")
    return raw
