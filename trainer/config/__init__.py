"""One frozen config describes a training run: imagery, towers, refinement, training, and what its card will say.

Every choice of the papers is a value here whose default is the paper's; a recipe in `configs/` may choose others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ValidationError, model_validator

from service.bundle.card import Name
from trainer.config.data import Data as Data
from trainer.config.data import MosaicData as MosaicData
from trainer.config.data import Points as Points
from trainer.config.data import S2Data as S2Data
from trainer.config.data import Source as Source
from trainer.config.data import Tile as Tile
from trainer.config.data import Views as Views
from trainer.config.distillation import Distillation as Distillation
from trainer.config.fields import Frozen
from trainer.config.image import BackboneConfig as BackboneConfig
from trainer.config.image import ImageTowerConfig as ImageTowerConfig
from trainer.config.image import RandomFeaturesConfig as RandomFeaturesConfig
from trainer.config.image import StatisticsConfig as StatisticsConfig
from trainer.config.location import LocationTowerConfig as LocationTowerConfig
from trainer.config.refinement import CausalRefinement as CausalRefinement
from trainer.config.refinement import Refinement as Refinement
from trainer.config.training import Card as Card
from trainer.config.training import TrainingConfig as TrainingConfig
from trainer.config.vision import VisionConfig as VisionConfig
from trainer.config.yaml_file import read_yaml
from trainer.errors import ConfigError

METHOD_DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "satcle": {},
    "satclip": {"refinement": {"neighbours": 0}, "training": {"batch_size": 8192}},
}


class Config(Frozen):
    """`method: satclip` is contrast alone: no refinement, and batches of 8192 unless the config says otherwise."""

    name: Name
    method: Literal["satcle", "satclip"] = "satcle"
    data: Data
    location_tower: LocationTowerConfig = LocationTowerConfig()
    image_tower: ImageTowerConfig = RandomFeaturesConfig()
    views: Views = Views()
    refinement: Refinement = Refinement()
    causal: CausalRefinement | None = None
    vision: VisionConfig | None = None
    distillation: Distillation | None = None
    training: TrainingConfig = TrainingConfig()
    card: Card

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_method(cls, given: Any) -> Any:  # noqa: ANN401 - what pydantic hands a "before" validator
        defaults = METHOD_DEFAULTS.get(str(given.get("method", "satcle")), {}) if isinstance(given, dict) else {}
        for section, values in defaults.items():
            if isinstance(given.get(section, {}), dict):
                given = given | {section: values | given.get(section, {})}
        return given

    @model_validator(mode="after")
    def _satclip_is_contrast_alone(self) -> Self:
        if self.method == "satclip" and (self.refinement.neighbours or self.causal):
            raise ValueError("method satclip has no refinement; remove refinement.neighbours and causal")
        return self

    @model_validator(mode="after")
    def _dimensions_fit(self) -> Self:
        dim = self.location_tower.embedding_dim
        if wrong := [n for n in self.card.dimensions if n > dim]:
            raise ValueError(f"card.dimensions: {wrong[0]} is more than location_tower.embedding_dim, {dim}")
        if (self.card.dimensions or self.distillation) and self.refinement.serve_fusion:
            raise ValueError("card.dimensions and distillation are of the tower itself; set serve_fusion: false")
        if not (self.distillation or self.training.contrast_weight):
            raise ValueError(
                "training.contrast_weight: without distillation the contrast is all there is to learn from"
            )
        if self.distillation:
            untrained = self.location_tower.untrained
            if self.distillation.components > dim - (untrained.dimensions if untrained else 1):
                raise ValueError("distillation.components: more than location_tower trains, or all of embedding_dim")
        return self

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


def read_config(path: Path, changes: Mapping[str, Any] | None = None) -> Config:
    """Read a YAML config; with `extends: FILE` it says only what is other than in that one, beside it.

    A section is merged key by key, unless it is of another kind; null takes away what the other file says.
    `changes`, by dotted key as training.learning_rate, are made as a file that extends `path` would make them.
    Raises ConfigError, one line: the file, the key, and what is wrong with it.
    """
    raw = read_yaml(path)
    if isinstance(raw, dict) and "extends" in raw:
        raw = _extended(path, raw)
    if isinstance(raw, dict):
        for key, value in (changes or {}).items():
            raw = _merged(raw, _section(key, value))
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_problem(error, raw)}") from error


def _extended(path: Path, changes: dict[str, Any], above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """`changes`, which stand in `path`, on what they extend; `above` are the files that extend `path`."""
    if not isinstance(changes["extends"], str):
        raise ConfigError(f"{path}: extends: name one file, as {path.name} is named")
    origin = path.parent / changes["extends"]
    above = (*above, path.resolve())
    if origin.resolve() in above:
        raise ConfigError(f"{path}: extends: {origin} extends this file; a config cannot extend itself")
    base = read_yaml(origin)
    if not isinstance(base, dict):
        raise ConfigError(f"{path}: extends: {origin} is no config")
    if "extends" in base:
        base = _extended(origin, base, above)
    return _merged(base, {key: value for key, value in changes.items() if key != "extends"})


def _section(key: str, value: object) -> dict[str, Any]:
    """ "a.b", 1 → {"a": {"b": 1}}."""
    first, dot, rest = key.partition(".")
    return {first: _section(rest, value) if dot else value}


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        there = merged.pop(key, None)
        alike = isinstance(there, dict) and isinstance(value, dict) and value.get("kind") in (None, there.get("kind"))
        if value is not None:
            merged[key] = _merged(there, value) if alike and isinstance(there, dict) else value
    return merged


def _first_problem(error: ValidationError, given: object = None) -> str:
    first = error.errors()[0]
    key = ".".join(_keys(first["loc"], given)) or "the top level"
    if first["type"] == "extra_forbidden":
        return f"unknown key {key}; remove it or correct its spelling"
    if first["type"] == "union_tag_invalid":
        return f"{key}.kind: {first['ctx']['tag']} is none of {first['ctx']['expected_tags'].replace(chr(39), '')}"
    if first["type"] == "model_type":
        return f"{key}: must be a section of keys, not {first['input']!r:.40}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{key}: {first['msg'].removeprefix('Value error, ')}{more}"


def _keys(loc: tuple[int | str, ...], given: object) -> Iterator[str]:
    """The keys of `loc` as they stand in the file, without the kinds of sections, which pydantic also names there."""
    for part in loc:
        held = (isinstance(given, dict) and part in given) or (isinstance(given, list) and isinstance(part, int))
        if held or part not in _tags():
            yield str(part)
        if held:
            given = given[part]  # type: ignore[index]


@cache
def _tags() -> frozenset[str]:
    """By which pydantic tells the kinds of a section apart."""

    def found(schema: object) -> Iterator[str]:
        if isinstance(schema, dict):
            if schema.get("type") == "tagged-union":
                yield from schema["choices"]
            yield from (tag for value in schema.values() for tag in found(value))
        elif isinstance(schema, list | tuple):
            yield from (tag for value in schema for tag in found(value))

    return frozenset(found(Config.__pydantic_core_schema__))
