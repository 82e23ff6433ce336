"""What is distilled into the location tower: a place's image features, and its position.

Contrast alone teaches to tell neighbouring tiles apart, and forgets what is alike over large distances. Distillation
keeps both in sight: the embedding's first dimensions are the leading principal components of the image features, so
that places that look alike are near one another; low-degree harmonics stay readable from the others, so that the
embedding stays a smooth function of the place.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.config import Distillation
from trainer.models.encodings.spherical_harmonics import SphericalHarmonics


class DistillationHeads(nn.Module):
    """The targets of a batch, and how an embedding tells them. Targets of either kind have a total variance of 1."""

    mean: Tensor
    deviation: Tensor
    axes: Tensor
    reach: Tensor
    degree_weight: Tensor

    def __init__(self, config: Distillation, features: int, embedding_dim: int) -> None:
        """Untrained, and to be fitted (`fit`) to image features (n, `features`) and embeddings of the same places."""
        super().__init__()
        self.config = config
        harmonics = config.legendre_polys**2
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.register_buffer("axes", torch.zeros(features, config.components))
        self.register_buffer("reach", torch.ones(()))
        self.register_buffer("degree_weight", degree_weights(config.legendre_polys))
        self.encoding = SphericalHarmonics(config.legendre_polys)
        self.position = nn.Linear(embedding_dim - config.components, harmonics)

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

    def image_targets(self, features: Tensor) -> Tensor:
        """(n, features) → (n, components): principal components, the largest first."""
        return self._standard(features) @ self.axes

    def position_targets(self, lonlat: Tensor) -> Tensor:
        """(n, 2) degrees → (n, L²): spherical harmonics, those of low degree weighing most."""
        harmonics: Tensor = self.encoding(lonlat)
        return harmonics.to(self.degree_weight) * self.degree_weight

    def told(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """(n, embedding_dim) → what it tells of both targets."""
        k = self.config.components
        position: Tensor = self.position(embedding[:, k:])
        return embedding[:, :k] / self.reach, position

    def _standard(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.deviation


def degree_weights(legendre_polys: int) -> Tensor:
    """(L²,): of degree l in proportion to (1 + l)^(-1/2), so that the variances over the sphere add up to 1.

    Orthonormal harmonics have a mean square of 1/4π; that of degree 0 is constant, and counts all the same.
    """
    degrees = torch.arange(legendre_polys).repeat_interleave(2 * torch.arange(legendre_polys) + 1)
    weight = (1.0 + degrees).rsqrt()
    return weight * (4 * torch.pi / weight.square().sum()).sqrt()
