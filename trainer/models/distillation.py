"""What is distilled into the location tower: what a place's image says.

Contrast alone teaches to tell neighbouring tiles apart, and forgets what is alike over large distances. Distillation
keeps it in sight: the embedding's first dimensions are the leading principal components of the image features, so that
places that look alike are near one another.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.config import Distillation


class DistillationTargets(nn.Module):
    """The targets of a batch, of a total variance of 1, and what an embedding tells of them. Nothing is trained."""

    mean: Tensor
    deviation: Tensor
    axes: Tensor
    reach: Tensor

    def __init__(self, config: Distillation, features: int) -> None:
        """To be fitted (`fit`) to image features (n, `features`) and embeddings of the same places."""
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.register_buffer("axes", torch.zeros(features, config.components))
        self.register_buffer("reach", torch.ones(()))

    @torch.no_grad()
    def fit(self, features: Tensor, embeddings: Tensor) -> None:
        """Take the principal components of standardised features (n, features), and how far the untrained tower's
        embeddings (m, embedding_dim) reach beyond the first dimensions: so far these are to reach too."""
        deviation, mean = torch.std_mean(features, dim=0, correction=0)
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(deviation > 0, deviation, 1.0))
        variances, axes = torch.linalg.eigh(torch.cov(self._standard(features).double().T))
        k = self.config.components
        variances, axes = variances.flip(0)[:k].clamp(min=1e-12), axes.flip(1)[:, :k]
        shrunk = variances ** (1 - self.config.whitening)
        self.axes.copy_(axes * (shrunk / variances / shrunk.sum()).sqrt())
        self.reach.copy_(embeddings[:, k:].var(dim=0).sum().sqrt())

    def of(self, features: Tensor) -> Tensor:
        """(n, features) → (n, components): principal components, the largest first."""
        return self._standard(features) @ self.axes

    def told(self, embedding: Tensor) -> Tensor:
        """(n, embedding_dim) → (n, components): what it tells of the targets."""
        return embedding[:, : self.config.components] / self.reach

    def _standard(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.deviation
