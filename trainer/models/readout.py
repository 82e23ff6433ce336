"""What is served of an embedding: centred, and ordered so that its first dimensions are useful by themselves."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from trainer.models.location_tower import LocationTower

CHUNK = 4096


class Readout(nn.Module):
    """A linear map of embeddings, folded into the tower's last layer, so that it costs nothing to serve.

    Until it is fitted it changes nothing.
    """

    mean: Tensor
    axes: Tensor

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(embedding_dim))
        self.register_buffer("axes", torch.eye(embedding_dim))

    @torch.no_grad()
    def fit(self, tower: LocationTower, lonlat: Tensor, components: int = 0, prefix: int = 0) -> None:
        """Over the places (n, 2), in degrees.

        Where the first `components` dimensions are distilled, the first `prefix` become one half the leading ones of
        these, one half the principal axes of the others. All else stays as it is: a linear probe standardises, so that
        principal axes of little variance, which tell little, would count as much as those that tell most. Where
        nothing is distilled, all turn into their principal axes, the widest first.
        """
        embeddings = torch.cat([tower(some) for some in torch.split(lonlat, CHUNK)]).double()
        covariance = torch.cov(embeddings.T)
        self.mean.copy_(embeddings.mean(dim=0))
        if not components:
            self.axes.copy_(_principal_axes(covariance))
            return
        leading = min(prefix // 2, components)
        turned = min(prefix - leading, len(covariance) - components)
        axes = torch.eye(len(covariance), dtype=torch.float64)
        others = _principal_axes(covariance[components:, components:])
        axes[components:, components : components + turned] = others[:, :turned]
        order = [*range(leading), *range(components, components + turned), *range(leading, components)]
        self.axes.copy_(axes[:, [*order, *range(components + turned, len(covariance))]])

    @torch.no_grad()
    def of(self, tower: LocationTower) -> LocationTower:
        """A tower that embeds as `tower` does, mapped; `tower` itself is left as it was."""
        mapped = copy.deepcopy(tower)
        *_, last = (layer for layer in mapped.network.modules() if isinstance(layer, nn.Linear))
        axes = self.axes.to(last.weight)
        last.weight.copy_(axes.T @ last.weight)
        last.bias.copy_(axes.T @ (last.bias - self.mean.to(last.bias)))
        return mapped


def _principal_axes(covariance: Tensor) -> Tensor:
    """(d, d), a column an axis, the widest first."""
    axes: Tensor = torch.linalg.eigh(covariance)[1]
    return axes.flip(1)
