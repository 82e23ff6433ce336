"""What SatCLE adds to SatCLIP: geospatial and causal refinement."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from trainer.config.fields import Count, Frozen, Positive

PUBLISHED_SIGMA_DEG = 0.18


class Refinement(Frozen):
    """SPCE and graph propagation fusion (SatCLE §3.2). `neighbours: 0` turns both off.

    `sigma_deg` is the perturbation's standard deviation on each axis, in degrees of arc. `normalise_rows` divides
    each row of A by its sum; Eq. 2 does not. `fusion: published` does in the place of both what the published code
    does (trainer.refinement.published), by default with its sigma_deg of 0.18. `serve_fusion` folds a fixed
    neighbourhood and the fusion into what is exported.
    """

    neighbours: int = Field(default=5, ge=0)
    sigma_deg: Positive = 0.01
    fusion_layers: Count = 2
    negative_slope: float = Field(default=0.2, ge=0, lt=1)
    normalise_rows: bool = False
    fusion: Literal["exact", "published"] = "exact"
    serve_fusion: bool = False

    @model_validator(mode="before")
    @classmethod
    def _sigma_of_the_fusion(cls, given: Any) -> Any:  # noqa: ANN401 - what pydantic hands a "before" validator
        if isinstance(given, dict) and given.get("fusion") == "published":
            return {"sigma_deg": PUBLISHED_SIGMA_DEG} | given
        return given

    @model_validator(mode="after")
    def _options_fit_the_fusion(self) -> Self:
        if self.fusion == "published" and (self.serve_fusion or self.normalise_rows):
            raise ValueError("fusion: published has neither serve_fusion nor normalise_rows; use fusion: exact")
        if self.serve_fusion and not self.neighbours:
            raise ValueError("serve_fusion needs neighbours; there is no fusion without")
        return self


class CausalRefinement(Frozen):
    """Causal patches by attention, and smoothing of the others (SatCLE §3.3, Eq. 6).

    `attention` names the ViT: `vision`, that of this config's vision pretraining; published Sentinel-2 weights of
    ViT-S/16 (SENTINEL2_ALL_DINO); or a file of such. The patches of the lowest `share` of attention of an image are
    not causal, and become the mean of the causal ones among their 8 neighbours; with `smoothing: published`, one
    value a band, the mean of the box of 3 x 3 patches around them.
    """

    attention: str = "vision"
    share: float = Field(default=0.1, ge=0, lt=1)
    smoothing: Literal["causal", "published"] = "causal"
