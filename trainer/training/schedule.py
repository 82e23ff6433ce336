"""The learning rate over a run."""

from __future__ import annotations

import math

from trainer.config import TrainingConfig


def learning_rate_factor(training: TrainingConfig, steps_an_epoch: int, step: int) -> float:
    """The share of `learning_rate` in step `step`, counted from 0.

    Linear from 1/w to 1 in w steps of warmup, so that no step is lost; then 1, or with `schedule: cosine`
    (1 + cos πt) / 2, t from 0 after the warmup to 1 after the last step.
    """
    warmup, steps = training.warmup_epochs * steps_an_epoch, training.epochs * steps_an_epoch
    if step < warmup:
        return (step + 1) / warmup
    if training.schedule == "constant":
        return 1.0
    return (1 + math.cos(math.pi * min(1.0, (step - warmup) / (steps - warmup)))) / 2
