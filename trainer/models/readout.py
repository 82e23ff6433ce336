"""What is served of an embedding: centred, its distilled part at the spread asked for, its principal axes in order."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from trainer.models.location_tower import LocationTower

CHUNK = 4096


class Readout(nn.Module):
    """A linear map of embeddings, folded into the tower's last layer, so that it costs nothing to serve.

    Until it is fitted it changes nothing. Ridge regression hardly sees the difference; nearest neighbours go by it,
    and so does what the first dimensions say by themselves.
    """

    mean: Tensor
    axes: Tensor

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(embedding_dim))
        self.register_buffer("axes", torch.eye(embedding_dim))

    @torch.no_grad()
    def fit(self, tower: LocationTower, lonlat: Tensor, components: int = 0, spread: float = 1.0) -> None:
        """Over the places (n, 2), in degrees. The first `components` dimensions are scaled as one, so that their total
        deviation is `spread` times that of the others; then all are turned into their principal axes, the widest first.
        """
        embeddings = torch.cat([tower(some) for some in torch.split(lonlat, CHUNK)]).double()
        covariance = torch.cov(embeddings.T)
        variances, scale = covariance.diagonal(), torch.ones(len(covariance), dtype=torch.float64)
        if components:
            scale[:components] = spread * (variances[components:].sum() / variances[:components].sum()).sqrt()
        turn = torch.linalg.eigh(scale[:, None] * covariance * scale)[1].flip(1)
        self.mean.copy_(embeddings.mean(dim=0))
        self.axes.copy_(scale[:, None] * turn)

    @torch.no_grad()
    def of(self, tower: LocationTower) -> LocationTower:
        """A tower that embeds as `tower` does, mapped; `tower` itself is left as it was."""
        mapped = copy.deepcopy(tower)
        *_, last = (layer for layer in mapped.network.modules() if isinstance(layer, nn.Linear))
        axes = self.axes.to(last.weight)
        last.weight.copy_(axes.T @ last.weight)
        last.bias.copy_(axes.T @ (last.bias - self.mean.to(last.bias)))
        return mapped
