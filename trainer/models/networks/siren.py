"""Sinusoidal representation network (Sitzmann et al. 2020), as the published location encoders use it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Siren(nn.Module):
    """h ← sin(w0 (W h + b)) for each hidden layer, w0_initial in the first; then W h + b.

    Weights and biases start uniform in ±1/in for the first layer and ±√(6/in)/w0 for the others.
    """

    def __init__(
        self,
        in_dim: int,
        hidden_dim: int,
        hidden_layers: int,
        out_dim: int,
        *,
        w0_initial: float = 30.0,
        w0: float = 1.0,
    ) -> None:
        super().__init__()
        if hidden_layers < 1:
            raise ValueError(f"hidden_layers is {hidden_layers}; a SIREN has at least one")
        in_dims = [in_dim] + [hidden_dim] * (hidden_layers - 1)
        self.hidden = nn.ModuleList(nn.Linear(dim, hidden_dim) for dim in in_dims)
        self.last = nn.Linear(hidden_dim, out_dim)
        self.w0s = (w0_initial, *[w0] * (hidden_layers - 1))
        bounds = [1 / in_dim] + [math.sqrt(6 / hidden_dim) / w0] * hidden_layers
        for layer, bound in zip(self.layers, bounds, strict=True):
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.uniform_(layer.bias, -bound, bound)

    @property
    def layers(self) -> list[nn.Linear]:
        """The hidden ones, then the last."""
        return [*(layer for layer in self.hidden if isinstance(layer, nn.Linear)), self.last]

    def forward(self, features: Tensor) -> Tensor:
        """(n, in_dim) to (n, out_dim), unbounded."""
        hidden = features
        for w0, layer in zip(self.w0s, self.hidden, strict=True):
            hidden = torch.sin(w0 * layer(hidden))
        embedding: Tensor = self.last(hidden)
        return embedding
