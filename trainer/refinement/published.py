"""What the published SatCLE code does in the place of Eq. 1 and Eq. 2, kept so that it can be compared.

It differs from the paper, and from `trainer.refinement.geospatial`, in this:

- Δ is added to lon and lat as plain degrees: away from the equator a neighbourhood is narrower in kilometres, at the
  poles it is a line, and lon and lat may leave their range.
- The place itself is dropped; node 0 is the first of its perturbed copies.
- d is Euclidean in degrees: across the antimeridian two neighbours are 360 apart.
- Eq. 1 is given -log d for d, and a sigma of 10, not the perturbation's: A_ij = exp(-(log d_ij)² / 200), which for
  neighbours closer than a degree grows with their distance, and is nearly 1 for all; A_ii is 1.
- Eq. 2's W and Σ change places and φ comes twice: h_i ← φ(W φ(Σ_j A_ij h_j) + b), with a bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

SIGMA_OF_LOG_DISTANCE = 10.0


@dataclass(frozen=True)
class PublishedNeighbourhoods:
    """`neighbours` perturbed copies of a place, without the place itself."""

    neighbours: int
    sigma_deg: float

    def draw(self, lonlat: Tensor, rng: torch.Generator) -> Tensor:
        """Places (n, 2) → (n, neighbours, 2) degrees, lon and lat each + N(0, sigma_deg²)."""
        drawn = torch.randn(len(lonlat), self.neighbours, 2, dtype=torch.float64, generator=rng) * self.sigma_deg
        return lonlat[:, None] + drawn.to(lonlat.device)

    def adjacency(self, neighbourhoods: Tensor) -> Tensor:
        """(n, k, 2) → (n, k, k) float32."""
        offset = neighbourhoods[:, :, None] - neighbourhoods[:, None]
        log_distance = torch.linalg.vector_norm(offset, dim=-1).log()
        adjacency = torch.exp(-(log_distance**2) / (2 * SIGMA_OF_LOG_DISTANCE**2))
        return torch.where(log_distance.isinf(), 1.0, adjacency).float()


class PublishedFusion(nn.Module):
    """h_i ← φ(W φ(Σ_j A_ij h_j) + b), `layers` times, φ = LeakyReLU."""

    def __init__(self, dim: int, *, layers: int = 2, negative_slope: float = 0.2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(layers))
        self.negative_slope = negative_slope

    def forward(self, h: Tensor, adjacency: Tensor) -> Tensor:
        """Nodes (n, k, dim) and A (n, k, k) → node 0 of the last layer, (n, dim)."""
        for layer in self.layers:
            h = functional.leaky_relu(
                layer(functional.leaky_relu(adjacency @ h, self.negative_slope)), self.negative_slope
            )
        return h[:, 0]
