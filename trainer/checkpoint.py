"""Checkpoints: resumable, torch, self-describing. Read with weights_only, so opening one runs no code of its own."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from service.bundle import DataSource, Metric
from service.bundle.card import Frozen
from trainer.config import Config
from trainer.errors import CheckpointError
from trainer.models.fused_tower import FusedTower
from trainer.models.location_tower import LocationTower
from trainer.models.two_tower import TwoTower, untrained

DESCRIPTION = "satcle"
MODEL = "model."


class CheckpointDescription(Frozen):
    """What training writes into a checkpoint beside the weights, as JSON. `metrics` only once a run is finished."""

    config: Config
    sources: tuple[DataSource, ...]
    samples: int
    epochs: int
    metrics: tuple[Metric, ...] = ()


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint that was read: its description, and the weights of the TwoTower."""

    description: CheckpointDescription
    model_state: Mapping[str, Tensor]

    @property
    def config(self) -> Config:
        return self.description.config

    def model(self) -> TwoTower:
        """Both towers with their trained weights, in eval mode."""
        mean, deviation = (self.model_state[f"image_projection.{name}"] for name in ("mean", "deviation"))
        model = untrained(self.config, mean, deviation)
        model.load_state_dict(self.model_state)
        return model.eval()

    def location_tower(self) -> LocationTower | FusedTower:
        """The tower that is served, with its trained weights, in eval mode."""
        return self.model().served.eval()


def read_checkpoint(path: Path) -> Checkpoint:
    """Raises CheckpointError where `path` is absent, not a checkpoint, or not one of this trainer."""
    raw = _load(path)
    try:
        description = CheckpointDescription.model_validate_json(raw[DESCRIPTION])
        return Checkpoint(description, _below(MODEL, raw["state_dict"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of satcle pretrain") from error
    except ValidationError as error:
        raise CheckpointError(f"{path} was written by another version of satcle: {error.errors()[0]['msg']}") from error


def add_metrics(path: Path, metrics: tuple[Metric, ...]) -> None:
    """Write what was measured into the checkpoint itself; all else in it stays as it was."""
    raw = _load(path)
    description = CheckpointDescription.model_validate_json(raw[DESCRIPTION])
    raw[DESCRIPTION] = description.model_copy(update={"metrics": metrics}).model_dump_json()
    write_whole(raw, path)


def write_whole(checkpoint: dict[str, Any], path: Path) -> None:
    """Beside `path`, then renamed: whoever is killed in the middle leaves what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(".part")
    torch.save(checkpoint, staged)
    staged.replace(path)


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # the error says what matters
            raw: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what the safe unpickler raises depends on the bytes that it stumbles over
        raise CheckpointError(f"{path} is not a checkpoint that can be read safely") from error
    return raw


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
