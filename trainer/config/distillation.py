"""What the location tower learns by heart besides the contrast: what its image says, and where it is."""

from __future__ import annotations

from pydantic import Field

from trainer.config.fields import Count, Frozen, Positive


class Distillation(Frozen):
    """The first `components` dimensions of an embedding are to be the leading principal components of the place's
    image features, and spherical harmonics are to be read linearly from the others (trainer.models.distillation).

    A component of variance v counts as v^(1 - `whitening`). `spread` is how far the first dimensions spread as a
    whole, relative to the others, in what is served: what nearest neighbours go by (trainer.models.readout). `weight`
    and `position_weight` are those of the two losses, beside that of the contrast; both are shares of variance not
    told. `legendre_polys` is L of the harmonics.
    """

    components: Count = 64
    whitening: float = Field(default=0.5, ge=0, le=1)
    spread: Positive = 1.25
    weight: Positive = 6.0
    legendre_polys: int = Field(default=12, ge=1, le=40)
    position_weight: Positive = 4.0
