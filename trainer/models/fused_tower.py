"""The location tower with graph propagation fusion folded in, for `serve_fusion`.

In training a place's neighbours are drawn; what is served must not be. The neighbourhood here is fixed: the place, and
its neighbours at the corners of a regular polygon around it. Every place's is then the same figure, so that A is one
constant matrix.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from trainer.models.location_tower import LocationTower
from trainer.refinement.geospatial import GraphPropagationFusion, TangentNeighbourhoods
from trainer.sphere import move


class FusedTower(nn.Module):
    """Places to the embeddings that training contrasted, with a typical neighbourhood in the place of a drawn one.

    The corners are sigma √(2 ln 2) away, where Eq. 1 is 1/2, which is its mean over Δ ~ N(0, sigma²). A is that mean,
    everywhere: 1 for a place and itself, 1/2 for it and a neighbour, 1/3 for two neighbours.

    At a pole the polygon stands as the meridian that `lonlat` names. Of a regular polygon of K corners only what
    varies K times around a place can tell that, which within sigma of it is next to nothing.
    """

    def __init__(
        self, location_tower: LocationTower, fusion: GraphPropagationFusion, neighbourhoods: TangentNeighbourhoods
    ) -> None:
        super().__init__()
        self.location_tower = location_tower
        self.fusion = fusion
        self.offsets = polygon(neighbourhoods.neighbours, neighbourhoods.sigma_deg)
        self.adjacency = expected_adjacency(neighbourhoods.neighbours)

    @property
    def embedding_dim(self) -> int:
        return self.fusion.dim

    def forward(self, lonlat: Tensor) -> Tensor:
        """(n, 2) float64 lon and lat in degrees → (n, embedding_dim)."""
        around = move(lonlat[:, None], self.offsets.to(lonlat))
        n, k, _ = (nodes := torch.cat((lonlat[:, None], around), dim=1)).shape
        h: Tensor = self.location_tower(nodes.reshape(n * k, 2)).unflatten(0, (n, k))
        fused: Tensor = self.fusion(h, self.adjacency.to(h).expand(n, k, k))
        return fused


def polygon(corners: int, sigma_deg: float) -> Tensor:
    """East and north, in degrees of arc, of each corner from the middle: (corners, 2) float64, the first one north."""
    angle = 2 * torch.pi * torch.arange(corners, dtype=torch.float64) / corners
    return sigma_deg * math.sqrt(2 * math.log(2)) * torch.stack((angle.sin(), angle.cos()), dim=1)


def expected_adjacency(neighbours: int) -> Tensor:
    """The mean of Eq. 1 where Δ ~ N(0, sigma²): (1 + neighbours, 1 + neighbours) float64.

    d²/sigma² is χ² with two degrees of freedom, for two neighbours twice that: E exp(-χ²/2) = 1/2, E exp(-χ²) = 1/3.
    """
    mean = torch.full((1 + neighbours, 1 + neighbours), 1 / 3, dtype=torch.float64)
    mean[0] = mean[:, 0] = 1 / 2
    return mean.fill_diagonal_(1)
