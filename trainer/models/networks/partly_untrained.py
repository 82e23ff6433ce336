"""A SIREN beside one that stays as it was drawn.

Random features of low-degree harmonics tell where a place is in a form that linear probes read well, and training
tends to lose it. Here it cannot: the last dimensions of an embedding are never trained, the first are free.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.models.networks.siren import Siren


class PartlyUntrained(nn.Module):
    """`trained` on all features, then `untrained` on as many of the first as it takes."""

    def __init__(self, trained: Siren, untrained: Siren) -> None:
        """Both have as many hidden layers, and the same frequencies w0."""
        super().__init__()
        self.trained = trained
        self.untrained = untrained.requires_grad_(requires_grad=False)

    def forward(self, features: Tensor) -> Tensor:
        """(n, in_dim) to (n, out_dim of both)."""
        first = features[:, : self.untrained.hidden[0].in_features]
        return torch.cat((self.trained(features), self.untrained(first)), dim=1)

    @torch.no_grad()
    def merged(self) -> Siren:
        """The same function as one SIREN, its matrices block diagonal: what is served is served like any other."""
        pairs = list(zip(self.trained.layers, self.untrained.layers, strict=True))
        (first, _), (last, _) = pairs[0], pairs[-1]
        hidden = sum(layer.out_features for layer in pairs[0])
        out = sum(layer.out_features for layer in pairs[-1])
        w0_initial, w0 = self.trained.w0s[0], self.trained.w0s[-1]
        one = Siren(first.in_features, hidden, len(pairs) - 1, out, w0_initial=w0_initial, w0=w0).to(last.weight)
        for layer, (trained, untrained) in zip(one.layers, pairs, strict=True):
            layer.weight.zero_()
            layer.weight[: trained.out_features, : trained.in_features] = trained.weight
            start = trained.in_features if layer is not one.layers[0] else 0
            layer.weight[trained.out_features :, start : start + untrained.in_features] = untrained.weight
            layer.bias.copy_(torch.cat((trained.bias, untrained.bias)))
        return one
