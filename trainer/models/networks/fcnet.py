"""The residual network of location encoders for species (Mac Aodha et al. 2019), and of CSP."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FCNet(nn.Module):
    """relu(W h + b) into `hidden_dim`, residual layers, then W h without a bias: the published `fcnet`.

    Dropout sits within the residual layers while the module trains.
    """

    def __init__(
        self, in_dim: int, hidden_dim: int, out_dim: int, *, residual_layers: int = 4, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.first = nn.Linear(in_dim, hidden_dim)
        self.residual = nn.ModuleList(ResidualLayer(hidden_dim, dropout) for _ in range(residual_layers))
        self.last = nn.Linear(hidden_dim, out_dim, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        hidden = torch.relu(self.first(features))
        for layer in self.residual:
            hidden = layer(hidden)
        embedding: Tensor = self.last(hidden)
        return embedding


class ResidualLayer(nn.Module):
    """h + relu(W₂ dropout(relu(W₁ h + b₁)) + b₂)."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.w1 = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.w2 = nn.Linear(dim, dim)

    def forward(self, hidden: Tensor) -> Tensor:
        change: Tensor = torch.relu(self.w2(self.dropout(torch.relu(self.w1(hidden)))))
        return hidden + change
