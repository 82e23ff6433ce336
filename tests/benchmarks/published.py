"""The published SatCLIP location encoder, written anew from its formulas, for the peers to run.

The published code evaluates each of the L² features Y_lm by an expression of its own, which a generator wrote out:
polynomials in cos θ as sums of powers, in float64, the features of m and -m each from scratch. Here each feature is
such an expression too, with the same torch operations: as there, cos θ is evaluated anew wherever it stands. What
it computes is what the published code computes, to 1e-12 in the features at L = 10.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable

import numpy as np
import torch
from numpy.polynomial import legendre, polynomial
from torch import Tensor, nn

from trainer.models.networks.siren import Siren

Feature = Callable[[Tensor, Tensor], Tensor]
"""From θ and φ, (n,) each, to Y_lm, (n,); Y_00 is a number."""


class PublishedEncoder(nn.Module):
    """(n, 2) float64 lon and lat in degrees to (n, 256) float64: `analytic` harmonics, then the default SIREN."""

    def __init__(self, legendre_polys: int) -> None:
        super().__init__()
        orders = [(degree, order) for degree in range(legendre_polys) for order in range(-degree, degree + 1)]
        self.features = [spherical_harmonic(degree, order) for degree, order in orders]
        self.network = Siren(len(self.features), 512, 2, 256).double()

    @torch.inference_mode()
    def forward(self, lonlat: Tensor) -> Tensor:
        embedding: Tensor = self.network(self.harmonics(lonlat))
        return embedding

    def harmonics(self, lonlat: Tensor) -> Tensor:
        """(n, L²), at index l² + l + m."""
        phi, theta = torch.deg2rad(lonlat[:, 0] + 180), torch.deg2rad(lonlat[:, 1] + 90)
        first, *rest = (feature(theta, phi) for feature in self.features)
        return torch.stack([first * torch.ones_like(phi), *rest], dim=-1)


def spherical_harmonic(degree: int, order: int) -> Feature:
    """Y_lm without the Condon-Shortley sign; m = 0 carries the published factor π."""
    m = abs(order)
    coefficients = polynomial.polyder(legendre.leg2poly([0] * degree + [1]), m)
    if order == 0:
        return _zonal(_terms(coefficients * math.sqrt((2 * degree + 1) / 4 * math.pi)))
    ratio = math.factorial(degree - m) / math.factorial(degree + m)
    scale = math.sqrt(2 * (2 * degree + 1) / (4 * math.pi) * ratio)
    return _tesseral(scale, m, _terms(coefficients), torch.cos if order > 0 else torch.sin)


def _terms(coefficients: np.ndarray) -> list[tuple[float, int]]:
    """(coefficient, power), the highest power first, of those that are not zero."""
    return [(float(value), power) for power, value in enumerate(coefficients) if value][::-1]


def _sum_of_powers(terms: list[tuple[float, int]], theta: Tensor) -> Tensor:
    return functools.reduce(operator.add, (_term(value, power, theta) for value, power in terms))


def _term(value: float, power: int, theta: Tensor) -> Tensor | float:
    """As a generator prints it: no power of 0 or 1."""
    if power == 0:
        return value
    return value * (torch.cos(theta) if power == 1 else torch.cos(theta) ** power)


def _zonal(terms: list[tuple[float, int]]) -> Feature:
    return lambda theta, phi: _sum_of_powers(terms, theta)


def _tesseral(scale: float, m: int, terms: list[tuple[float, int]], wave: Callable[[Tensor], Tensor]) -> Feature:
    def feature(theta: Tensor, phi: Tensor) -> Tensor:
        return scale * (1.0 - torch.cos(theta) ** 2) ** (m / 2) * _sum_of_powers(terms, theta) * wave(m * phi)

    return feature
