"""The symmetric contrastive loss (CLIP; SatCLIP §3.2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def contrastive_loss(location: Tensor, image: Tensor, logit_scale: Tensor) -> Tensor:
    """Mean of the two cross-entropies, place → image and image → place, of the cosine similarities x `logit_scale`.

    `location` and `image` are (n, dim), row i of one belonging to row i of the other; they are normalised here.
    """
    similarity = functional.normalize(location, dim=1) @ functional.normalize(image, dim=1).T
    logits = logit_scale * similarity
    own = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2
