"""Vision pretraining: a ViT distilled from itself (DINO, Caron et al. 2021), whose attention finds causal patches."""

from __future__ import annotations

from trainer.config.fields import Count, Frozen, Positive


class VisionConfig(Frozen):
    """A ViT with patches of `patch` pixels, over tiles of any size that is a multiple of it."""

    patch: Count = 16
    dim: Count = 384
    depth: Count = 12
    heads: Count = 6
    epochs: Count = 100
    batch_size: Count = 64
    learning_rate: Positive = 5e-4
