"""A head: standardised embedding → multilayer perceptron → real units, or the probability of each class."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

Buffers = torch.float64
"""What is measured on the data is kept in float64; only the perceptron is trained, in float32."""


class Head(nn.Module):
    """Linear layers with ReLU between, trained on standardised inputs. `forward` is what is served."""

    input_mean: Tensor
    input_deviation: Tensor

    def __init__(self, embedding_dim: int, hidden_dims: Sequence[int], outputs: int) -> None:
        super().__init__()
        widths = [embedding_dim, *hidden_dims, outputs]
        linear = [nn.Linear(a, b) for a, b in pairwise(widths)]
        self.layers = nn.ModuleList(linear)
        self.register_buffer("input_mean", torch.zeros(embedding_dim, dtype=Buffers))
        self.register_buffer("input_deviation", torch.ones(embedding_dim, dtype=Buffers))

    def perceptron(self, standardised: Tensor) -> Tensor:
        """(n, embedding_dim) → (n, outputs): a standardised target, or logits."""
        *hidden_layers, last = self.layers
        for layer in hidden_layers:
            standardised = torch.relu(layer(standardised))
        output: Tensor = last(standardised)
        return output

    def standardised(self, embedding: Tensor) -> Tensor:
        """Each dimension with mean 0 and deviation 1 over the rows given to `standardise_inputs`."""
        return (embedding - self.input_mean) / self.input_deviation

    def standardise_inputs(self, embedding: Tensor) -> None:
        """Take mean and deviation of each dimension from these rows; a constant dimension is left unscaled."""
        rows = embedding.to(Buffers)
        deviation = rows.std(dim=0, correction=0)
        self.input_mean.copy_(rows.mean(dim=0))
        self.input_deviation.copy_(torch.where(deviation > 0, deviation, 1.0))


class Regression(Head):
    """One number, in the target's unit.

    With `log1p` it never leaves the range of the targets it was fitted on, so that expm1 neither overflows nor makes a
    negative number of what cannot be one.
    """

    target_mean: Tensor
    target_deviation: Tensor
    bounds: Tensor

    def __init__(self, embedding_dim: int, hidden_dims: Sequence[int], *, log1p: bool) -> None:
        super().__init__(embedding_dim, hidden_dims, 1)
        self.log1p = log1p
        self.register_buffer("target_mean", torch.zeros((), dtype=Buffers))
        self.register_buffer("target_deviation", torch.ones((), dtype=Buffers))
        self.register_buffer("bounds", torch.zeros(2, dtype=Buffers))

    def standardise_targets(self, target: Tensor) -> None:
        """Take mean, deviation and bounds, all after the transform, from these (n,)."""
        transformed = self._transformed(target)
        self.target_mean.copy_(transformed.mean())
        self.target_deviation.copy_(transformed.std(correction=0))
        self.bounds.copy_(torch.stack([transformed.min(), transformed.max()]))

    def standardised_targets(self, target: Tensor) -> Tensor:
        """(n,) → (n, 1), what the perceptron learns."""
        return ((self._transformed(target) - self.target_mean) / self.target_deviation)[:, None]

    def forward(self, embedding: Tensor) -> Tensor:
        """(n, embedding_dim) → (n, 1)."""
        value = self.perceptron(self.standardised(embedding)) * self.target_deviation + self.target_mean
        return torch.expm1(value.clamp(self.bounds[0], self.bounds[1])) if self.log1p else value

    def _transformed(self, target: Tensor) -> Tensor:
        return torch.log1p(target) if self.log1p else target


class Classification(Head):
    """The probability of each class."""

    def forward(self, embedding: Tensor) -> Tensor:
        """(n, embedding_dim) → (n, classes)."""
        return self.perceptron(self.standardised(embedding)).softmax(dim=1)
