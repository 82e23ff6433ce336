"""Geospatial refinement (SatCLE §3.2): stochastic perturbation continuity expansion and graph propagation fusion.

In training it stands between the location tower and the loss, as a projection head does; it is served where
`serve_fusion` asks for it (trainer.models.fused_tower), else not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.config import Refinement
from trainer.refinement.published import PublishedFusion, PublishedNeighbourhoods
from trainer.sphere import distance_deg, move


class Neighbourhoods(Protocol):
    """Which places stand for a place in training, and how near they count."""

    def draw(self, lonlat: Tensor, rng: torch.Generator) -> Tensor:
        """Places (n, 2) → (n, k, 2), node 0 the one whose embedding is contrasted."""
        ...

    def adjacency(self, neighbourhoods: Tensor) -> Tensor:
        """(n, k, 2) → (n, k, k) float32."""
        ...


@dataclass(frozen=True)
class TangentNeighbourhoods:
    """A place and `neighbours` around it (SPCE), near by Eq. 1."""

    neighbours: int
    sigma_deg: float

    def draw(self, lonlat: Tensor, rng: torch.Generator) -> Tensor:
        return perturb(lonlat, self.neighbours, self.sigma_deg, rng)

    def adjacency(self, neighbourhoods: Tensor) -> Tensor:
        return adjacency(neighbourhoods, self.sigma_deg)


def perturb(lonlat: Tensor, neighbours: int, sigma_deg: float, rng: torch.Generator) -> Tensor:
    """SPCE (§3.2.1): places (n, 2) → neighbourhoods (n, 1 + neighbours, 2), node 0 the place itself.

    The others are Δ ~ N(0, sigma²) away to the east and to the north, sigma in degrees of arc, in the plane that
    touches the sphere at the place: a neighbourhood has one size in kilometres wherever it lies.
    """
    drawn = torch.randn(len(lonlat), neighbours, 2, dtype=torch.float64, generator=rng) * sigma_deg
    around = move(lonlat[:, None], drawn.to(lonlat.device))
    return torch.cat((lonlat[:, None], around), dim=1)


def adjacency(neighbourhoods: Tensor, sigma_deg: float) -> Tensor:
    """Eq. 1: A_ij = exp(-d_ij² / 2sigma²), d great-circle in degrees of arc. (n, k, 2) → (n, k, k) float32."""
    distance = distance_deg(neighbourhoods[:, :, None], neighbourhoods[:, None])
    return torch.exp(-(distance**2) / (2 * sigma_deg**2)).float()


class GraphPropagationFusion(nn.Module):
    """Eq. 2: h_i ← φ(Σ_j A_ij W h_j), `layers` times, φ = LeakyReLU; each layer has its own W, without bias.

    A is used as Eq. 1 gives it: its rows sum to between 1 and k. With `normalise_rows` each is divided by its sum, so
    that a place with far neighbours weighs as one with near ones.
    """

    def __init__(self, dim: int, *, layers: int = 2, negative_slope: float = 0.2, normalise_rows: bool = False) -> None:
        super().__init__()
        self.dim = dim
        self.weights = nn.ModuleList(nn.Linear(dim, dim, bias=False) for _ in range(layers))
        self.negative_slope = negative_slope
        self.normalise_rows = normalise_rows

    def forward(self, h: Tensor, adjacency: Tensor) -> Tensor:
        """Nodes (n, k, dim) and A (n, k, k) → node 0 of the last layer, (n, dim)."""
        if self.normalise_rows:
            adjacency = adjacency / adjacency.sum(dim=-1, keepdim=True)
        *inner, last = self.weights
        for weight in inner:
            h = functional.leaky_relu(adjacency @ weight(h), self.negative_slope)
        return functional.leaky_relu(last((adjacency[:, :1] @ h).squeeze(1)), self.negative_slope)


def neighbourhoods_of(refinement: Refinement) -> Neighbourhoods:
    """Without neighbours, each place alone."""
    if refinement.fusion == "published" and refinement.neighbours:
        return PublishedNeighbourhoods(refinement.neighbours, refinement.sigma_deg)
    return TangentNeighbourhoods(refinement.neighbours, refinement.sigma_deg)


def fusion_of(refinement: Refinement, dim: int) -> GraphPropagationFusion | PublishedFusion | None:
    """Untrained; None where there are no neighbours."""
    if not refinement.neighbours:
        return None
    layers, slope = refinement.fusion_layers, refinement.negative_slope
    if refinement.fusion == "published":
        return PublishedFusion(dim, layers=layers, negative_slope=slope)
    return GraphPropagationFusion(dim, layers=layers, negative_slope=slope, normalise_rows=refinement.normalise_rows)
