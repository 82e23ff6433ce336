"""Networks of rectified linear layers that published location encoders have after their encoding."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class MLP(nn.Module):
    """h ← relu(W h + b), once into `hidden_dim` and `hidden_layers` times within it; then W h + b.

    The published SatCLIP `mlp`, but that its hidden layers are one layer applied again and again.
    """

    def __init__(self, in_dim: int, hidden_dim: int, hidden_layers: int, out_dim: int) -> None:
        super().__init__()
        dims = [in_dim, *[hidden_dim] * (hidden_layers + 1)]
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(dims))
        self.last = nn.Linear(hidden_dim, out_dim)

    def forward(self, features: Tensor) -> Tensor:
        hidden = features
        for layer in self.hidden:
            hidden = torch.relu(layer(hidden))
        embedding: Tensor = self.last(hidden)
        return embedding


class Capsules(nn.Module):
    """One MLP for each of `groups` equal parts of the features, and their sum (GeoCLIP: one group a scale)."""

    def __init__(self, in_dim: int, groups: int, hidden_dim: int, hidden_layers: int, out_dim: int) -> None:
        super().__init__()
        self.capsules = nn.ModuleList(MLP(in_dim // groups, hidden_dim, hidden_layers, out_dim) for _ in range(groups))

    def forward(self, features: Tensor) -> Tensor:
        parts = features.chunk(len(self.capsules), dim=1)
        made = [capsule(parts[at]) for at, capsule in enumerate(self.capsules)]
        embedding: Tensor = sum(made[1:], start=made[0])
        return embedding
