"""How the towers are fitted, and what the card says that cannot be measured."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from trainer.config.fields import Count, Frozen, Positive


class TrainingConfig(Frozen):
    """AdamW, no decay on biases, norms and the scale; `patience` epochs without a lower validation loss end the run.

    `batch_size` is that of all processes together. The learning rate rises to `learning_rate` over `warmup_epochs`,
    then stays, or with `schedule: cosine` falls to 0 at the end of `epochs`. With `precision: bfloat16` the networks
    compute in it; angles stay float64, the loss float32. `objective: csp` adds the auxiliary losses of
    CSP to the contrast of `clip` (trainer.losses.csp). `contrast_weight` is that of the contrast beside
    the distillation; with 0 there is none.
    """

    objective: Literal["clip", "csp"] = "clip"
    contrast_weight: float = Field(default=1.0, ge=0)
    batch_size: int = Field(default=512, ge=2)
    epochs: Count = 500
    learning_rate: Positive = 1e-4
    weight_decay: float = Field(default=1e-2, ge=0)
    warmup_epochs: int = Field(default=0, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    temperature: Positive = 0.07
    max_logit_scale: Positive = 100.0
    patience: Count = 20
    seed: int = Field(default=0, ge=0)
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _warms_up_in_time(self) -> Self:
        if self.warmup_epochs >= self.epochs:
            raise ValueError("warmup_epochs must be less than epochs")
        return self


class Card(Frozen):
    """What the bundle's card says that cannot be measured.

    `dimensions` are prefixes that are to be embeddings of their own. Where there are any, the embedding is served in
    its principal axes over the training places, the widest first: a rotation, which changes no distance and no cosine
    but that around the mean.
    """

    version: str = Field(min_length=1, max_length=64)
    description: str
    license: str
    limits: str
    probe_bands: tuple[str, ...] = ()
    dimensions: tuple[Count, ...] = ()
