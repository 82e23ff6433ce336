"""What the location tower learns by heart besides the contrast: what its image says."""

from __future__ import annotations

from pydantic import Field

from trainer.config.fields import Count, Frozen, Positive


class Distillation(Frozen):
    """The first `components` dimensions of an embedding are to be the leading principal components of the place's
    image features (trainer.models.distillation).

    A component of variance v counts as v^(1 - `whitening`). `weight` is that of the loss, the share of variance not
    told, beside that of the contrast.
    """

    components: Count = 64
    whitening: float = Field(default=0.5, ge=0, le=1)
    weight: Positive = 6.0
