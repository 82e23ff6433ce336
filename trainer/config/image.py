"""The image tower: frozen, and a trained projection."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from trainer.config.fields import Count, Frozen, Positive


class RandomFeaturesConfig(Frozen):
    """Random convolutional features (MOSAIKS), frozen: `filters` whitened patches of `patch` x `patch` pixels.

    `scales` are the centred crops, in shares of the tile's side, over which the bands' means and deviations are
    added to the output; none by default.
    """

    kind: Literal["random-features"] = "random-features"
    filters: Count = 256
    patch: Count = 3
    bias: float = Field(default=1.0, ge=0)
    whitening: Positive = 1e-2
    scales: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()


class BackboneConfig(Frozen):
    """A frozen backbone with pretrained weights.

    `weights` is the name of published Sentinel-2 weights (SENTINEL2_ALL_DINO, SENTINEL2_ALL_MOCO), fetched through
    torchgeo; `vision`, those of this config's vision pretraining; `random`, none at all; or else a file.
    """

    kind: Literal["vit_small_patch16_224", "resnet18", "resnet50", "vision"]
    weights: str | Path = "SENTINEL2_ALL_DINO"


def _kind(given: object) -> str:
    """A config that does not name the kind of its image tower means random features."""
    kind = given.get("kind", "random-features") if isinstance(given, dict) else getattr(given, "kind", None)
    return "random-features" if kind == "random-features" else "backbone"


ImageTowerConfig = Annotated[
    Annotated[RandomFeaturesConfig, Tag("random-features")] | Annotated[BackboneConfig, Tag("backbone")],
    Discriminator(_kind),
]
