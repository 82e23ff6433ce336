"""What a sweep is to run: a config, how it is varied, with which seeds, and what its runs are measured on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from service.bundle.card import Name
from trainer.config import Config, read_config
from trainer.config.fields import Count, Frozen
from trainer.config.yaml_file import read_section
from trainer.errors import ConfigError
from trainer.evaluation.probing import Probe, Protocol

UNTRAINED = "untrained"
MAX_NAME = 64
Seed = Annotated[int, Field(ge=0)]


class Measured(Frozen):
    """Suites of tasks (from the sweep's own folder), probes, and how many deals of the folds from which seed on.

    `beside` are encoders, as satcle evaluate takes them, that get rows of their own.
    """

    tasks: tuple[Path, ...] = Field(min_length=1)
    probes: tuple[Probe, ...] = Field(default=("ridge", "knn"), min_length=1)
    seeds: Count = 1
    mlp_seeds: Count = 10
    first_seed: Seed = 0
    beside: tuple[str, ...] = ()

    @property
    def protocol(self) -> Protocol:
        return Protocol(self.probes, self.seeds, self.mlp_seeds, self.first_seed)


class Sweep(Frozen):
    """`base`, a training config beside the sweep's file, with each variant's changes, in every combination of `vary`.

    Changes are by dotted key of the config: `training.learning_rate: 1.0e-4`. Each of `seeds` is training.seed of a
    run; tiles and their split stay those of data.seed. `reference` is what cells are won against: each run's own
    tower before training, or a variant.
    """

    name: Name
    base: Path
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1)
    vary: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(default_factory=dict)
    variants: dict[Name, dict[str, Any] | None] = Field(default_factory=dict)
    reference: str = UNTRAINED
    evaluate: Measured

    @model_validator(mode="after")
    def _is_sound(self) -> Sweep:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: one is there twice")
        if taken := {"name", "training.seed"} & {*self.vary, *(k for v in self.variants.values() for k in v or {})}:
            raise ValueError(f"{min(taken)} is the sweep's own: it names the runs, and takes their seeds from seeds")
        if UNTRAINED in self.variants:
            raise ValueError(f"no variant can be named {UNTRAINED}")
        return self


@dataclass(frozen=True)
class PlannedRun:
    """One training run; its config's name is its folder's."""

    variant: str
    changes: Mapping[str, Any]
    config: Config

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def seed(self) -> int:
        return self.config.training.seed


@dataclass(frozen=True)
class Plan:
    sweep: Sweep
    suites: tuple[Path, ...]
    runs: tuple[PlannedRun, ...]


def read_plan(path: Path) -> Plan:
    """Read a sweep, and every config that it asks for. Raises ConfigError, one line."""
    sweep = read_section(path, Sweep)
    variants = dict(_variants(sweep, path))
    if sweep.reference not in (UNTRAINED, *variants):
        known = ", ".join((UNTRAINED, *variants))
        raise ConfigError(f"{path}: reference: no variant is named {sweep.reference!r}; there are {known}")
    base = path.parent / sweep.base
    runs = tuple(
        PlannedRun(variant, changes, _config(path, base, variant, changes, seed, sweep))
        for variant, changes in variants.items()
        for seed in sweep.seeds
    )
    return Plan(sweep, tuple(path.parent / suite for suite in sweep.evaluate.tasks), runs)


def _variants(sweep: Sweep, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every variant by every combination, each with a name of its own."""
    found: set[str] = set()
    for variant, changes in (sweep.variants or {"": {}}).items():
        for values in product(*sweep.vary.values()):
            combined = dict(zip(sweep.vary, values, strict=True))
            parts = [variant, *(_named(key, value, sweep) for key, value in combined.items())]
            name = "-".join(part for part in parts if part) or "base"
            if name in found:
                raise ConfigError(f"{path}: two variants are named {name!r}; rename one under variants")
            found.add(name)
            yield name, (changes or {}) | combined


def _named(key: str, value: object, sweep: Sweep) -> str:
    """ "training.epochs", 3 → "epochs-3"; what is no plain value goes by its place in the list."""
    last = key.rpartition(".")[2]
    short = last if sum(other.rpartition(".")[2] == last for other in sweep.vary) == 1 else key
    plain = isinstance(value, str | int | float) or value is None
    told = json.dumps(value).strip('"') if plain else str(sweep.vary[key].index(value))
    return re.sub(r"[^a-z0-9._-]+", "-", f"{short}-{told}".lower()).strip("-")


def _config(path: Path, base: Path, variant: str, changes: Mapping[str, Any], seed: int, sweep: Sweep) -> Config:
    name = f"{sweep.name}-{variant}-s{seed}"
    if len(name) > MAX_NAME:
        raise ConfigError(f"{path}: {name} is longer than {MAX_NAME} letters; give it a short name under variants")
    try:
        return read_config(base, {**changes, "name": name, "training.seed": seed})
    except ConfigError as error:
        raise ConfigError(f"{path}: variant {variant}: {error}") from error
