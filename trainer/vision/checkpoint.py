"""Checkpoints of vision pretraining: self-describing, read with weights_only, so that opening one runs no code."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from service.bundle.card import Frozen
from trainer.config import Config, VisionConfig
from trainer.data.transforms import Standardise
from trainer.errors import CheckpointError
from trainer.models.backbones import Backbone, vision_network
from trainer.seeding import generator
from trainer.storage import Place, exists, read_bytes, writing

DESCRIPTION = "satcle_vision"
BACKBONE = "backbone"
INPUT = "input"


class VisionDescription(Frozen):
    """What vision pretraining writes beside the weights, as JSON.

    `bands` are those of the tiles, in order; `image_size` is the side, in pixels, that the backbone was made for.
    `metrics` only once a run is finished.
    """

    config: Config
    bands: tuple[str, ...]
    image_size: int
    steps: int
    metrics: Mapping[str, float] = {}

    @property
    def vision(self) -> VisionConfig:
        assert self.config.vision is not None
        return self.config.vision


@dataclass(frozen=True, eq=False)
class VisionCheckpoint:
    """A checkpoint that was read: its description, the teacher's backbone, and how its input is standardised.

    `training` is what a run goes on from; only a run that is not finished has it.
    """

    description: VisionDescription
    backbone_state: Mapping[str, Tensor]
    input_state: Mapping[str, Tensor]
    training: Mapping[str, Any]

    def standardise(self) -> Standardise:
        return Standardise(self.input_state["mean"], self.input_state["deviation"])

    def backbone(self) -> Backbone:
        """The teacher's, frozen, in eval mode: tiles as they are read → image features."""
        described = self.description
        network = vision_network(
            described.vision, len(described.bands), described.image_size, generator(described.vision.seed, "backbone")
        )
        network.load_state_dict(self.backbone_state)
        return Backbone(self.standardise(), network, None).requires_grad_(False).eval()


def write_vision(
    path: Place, description: VisionDescription, backbone: nn.Module, standardise: Standardise, training: object = None
) -> None:
    """Whole or not at all."""
    written = {
        DESCRIPTION: description.model_dump_json(),
        BACKBONE: backbone.state_dict(),
        INPUT: standardise.state_dict(),
        "training": training or {},
    }
    with writing(path) as file:
        torch.save(written, file)


def read_vision(path: Place) -> VisionCheckpoint:
    """Raises CheckpointError where `path` is absent, or no checkpoint of satcle pretrain-vision."""
    if not exists(path):
        raise CheckpointError(f"{path} does not exist; make it by satcle pretrain-vision")
    written = BytesIO(read_bytes(path))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # the error says what matters
            raw = torch.load(written, map_location="cpu", weights_only=True)
        description = VisionDescription.model_validate_json(raw[DESCRIPTION])
        return VisionCheckpoint(description, raw[BACKBONE], raw[INPUT], raw["training"])
    except ValidationError as error:
        raise CheckpointError(f"{path} was written by another version of satcle: {error.errors()[0]['msg']}") from error
    except Exception as error:  # what the safe unpickler raises depends on the bytes that it stumbles over
        raise CheckpointError(f"{path} is not a checkpoint of satcle pretrain-vision") from error


def read_vision_of(path: Place | None, config: Config, bands: tuple[str, ...]) -> VisionCheckpoint:
    """The vision pretraining of `config`. Raises CheckpointError where it is absent, or of another config or bands."""
    if path is None:
        raise CheckpointError("the config's vision pretraining is not at hand; run satcle pretrain-vision first")
    if config.vision is None and not exists(path):
        raise CheckpointError(
            f"{config.name} has no vision pretraining: add a section to it (`vision: {{}}` is a ViT-S/16) and run "
            "satcle pretrain-vision, or on Sentinel-2 imagery take published ones: causal.attention: SENTINEL2_ALL_DINO"
        )
    checkpoint = read_vision(path)
    described = checkpoint.description
    if config.vision is not None and described.vision != config.vision:
        raise CheckpointError(f"{path} is of another vision section; run satcle pretrain-vision again, in other RUNS")
    if described.bands != bands:
        raise CheckpointError(f"{path} is for the bands {', '.join(described.bands)}; the data has {', '.join(bands)}")
    return checkpoint
