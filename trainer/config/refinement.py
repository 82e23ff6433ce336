"""What SatCLE adds to SatCLIP: geospatial and causal refinement."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from trainer.config.fields import Count, Frozen, Positive


class Refinement(Frozen):
    """SPCE and graph propagation fusion (SatCLE §3.2). `neighbours: 0` turns both off.

    `sigma_deg` is the perturbation's standard deviation on each axis, in degrees of arc. `normalise_rows` divides
    each row of A by its sum; Eq. 2 does not. `fusion: published` keeps what the published code does in the place of
    Eq. 1. `serve_fusion` folds a fixed neighbourhood and the fusion into what is exported.
    """

    neighbours: int = Field(default=5, ge=0)
    sigma_deg: Positive = 0.01
    fusion_layers: Count = 2
    negative_slope: float = Field(default=0.2, ge=0, lt=1)
    normalise_rows: bool = False
    fusion: Literal["exact", "published"] = "exact"
    serve_fusion: bool = False


class CausalRefinement(Frozen):
    """Causal patches by attention, and smoothing of the others (SatCLE §3.3, Eq. 6).

    `attention` names the ViT: `vision`, that of this config's vision pretraining; published Sentinel-2 weights
    (SENTINEL2_ALL_DINO); or a file. The patches of the lowest `share` of attention of an image are not causal, and
    become the mean of the causal ones among their 8 neighbours; with `published`, the mean of a box around them.
    """

    attention: str | Path = "vision"
    share: float = Field(default=0.1, ge=0, lt=1)
    smoothing: Literal["causal", "published"] = "causal"
