"""Checkpoints: resumable, torch, self-describing. Read with weights_only, so opening one runs no code of its own."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
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
from trainer.storage import Place, exists, read_bytes, writing

DESCRIPTION = "satcle"
MODEL = "model."
TRAINING_PLACES = "training_places"


class CheckpointDescription(Frozen):
    """What training writes into a checkpoint beside the weights, as JSON. `metrics` only once a run is finished."""

    config: Config
    sources: tuple[DataSource, ...]
    samples: int
    epochs: int
    metrics: tuple[Metric, ...] = ()


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint that was read: its description, and the weights of the TwoTower.

    `training_places` are lon and lat of the tiles it was trained on, (samples, 2) float32; older checkpoints hold none.
    """

    description: CheckpointDescription
    model_state: Mapping[str, Tensor]
    training_places: Tensor | None = None

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


def read_checkpoint(path: Place) -> Checkpoint:
    """Raises CheckpointError where `path` is absent, not a checkpoint, or not one of this trainer."""
    raw = load(path)
    try:
        description = CheckpointDescription.model_validate_json(raw[DESCRIPTION])
        return Checkpoint(description, _below(MODEL, raw["state_dict"]), raw.get(TRAINING_PLACES))
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of satcle pretrain") from error
    except ValidationError as error:
        raise CheckpointError(f"{path} was written by another version of satcle: {error.errors()[0]['msg']}") from error


def complete(path: Place, model: TwoTower, metrics: tuple[Metric, ...]) -> None:
    """Write the weights of `model` and what was measured into the checkpoint itself; all else in it stays as it was."""
    raw = load(path)
    raw["state_dict"] |= {MODEL + name: value for name, value in model.state_dict().items()}
    description = CheckpointDescription.model_validate_json(raw[DESCRIPTION])
    raw[DESCRIPTION] = description.model_copy(update={"metrics": metrics}).model_dump_json()
    save(raw, path)


def save(checkpoint: dict[str, Any], path: Place) -> None:
    """Whoever is killed in the middle leaves what was there."""
    with writing(path) as file:
        torch.save(checkpoint, file)


def load(path: Place) -> dict[str, Any]:
    """Onto the CPU. Raises CheckpointError where `path` is absent, or cannot be read safely."""
    if not exists(path):
        raise CheckpointError(f"{path} does not exist")
    written = BytesIO(read_bytes(path))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # the error says what matters
            raw: dict[str, Any] = torch.load(written, map_location="cpu", weights_only=True)
    except Exception as error:  # what the safe unpickler raises depends on the bytes that it stumbles over
        raise CheckpointError(f"{path} is not a checkpoint that can be read safely") from error
    return raw


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
