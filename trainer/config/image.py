"""The image tower: frozen, and a trained projection."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from trainer.config.fields import Count, Frozen, Positive, without_a_kind


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


class StatisticsConfig(Frozen):
    """Each band's mean and deviation over the valid pixels of a tile; what has none counts as the average tile.

    A pixel weighs as a Gaussian around the tile's centre says, whose deviation is `sigma` of the tile's side: what
    enters at the edge of a tile as the place moves enters softly.
    """

    kind: Literal["statistics"]
    sigma: Positive = 0.2


PUBLISHED = {
    "vit_small_patch16_224": ("SENTINEL2_ALL_DINO", "SENTINEL2_ALL_MOCO"),
    "resnet18": ("SENTINEL2_ALL_MOCO",),
    "resnet50": ("SENTINEL2_ALL_DINO", "SENTINEL2_ALL_MOCO"),
}
"""The published Sentinel-2 weights of each architecture; the first where a config names none."""


class BackboneConfig(Frozen):
    """A frozen backbone: an architecture and its weights, or `kind: vision`, that of this config's vision pretraining.

    `weights` is the name of published Sentinel-2 weights (SENTINEL2_ALL_DINO, SENTINEL2_ALL_MOCO), fetched through
    torchgeo; `random`, none at all; or else a file of Sentinel-2 weights for the 13 bands.
    """

    kind: Literal["vit_small_patch16_224", "resnet18", "resnet50", "vision"]
    weights: str = "SENTINEL2_ALL_DINO"

    @model_validator(mode="before")
    @classmethod
    def _weights_of_the_kind(cls, given: Any) -> Any:  # noqa: ANN401 - what pydantic hands a "before" validator
        if isinstance(given, dict) and "weights" not in given:
            return given | {"weights": PUBLISHED.get(str(given.get("kind")), ("vision",))[0]}
        return given

    @model_validator(mode="after")
    def _vision_brings_its_own(self) -> Self:
        if (self.kind == "vision") != (self.weights == "vision"):
            raise ValueError("the backbone of the vision pretraining is `kind: vision`, without weights")
        return self


ImageTowerConfig = Annotated[
    RandomFeaturesConfig | StatisticsConfig | BackboneConfig,
    Field(discriminator="kind"),
    without_a_kind("random-features"),
]
