"""Real spherical harmonics of a place, as two angle families and one constant matrix.

With θ = radians(lat + 90), from the south pole, and φ = radians(lon + 180), the features are

    Y_lm = √2 N_lm P_l^m(cos θ) cos mφ       m > 0
    Y_l0 =    N_l0 P_l(cos θ) · m0_scale
    Y_lm = √2 N_l|m| P_l^|m|(cos θ) sin |m|φ   m < 0

without the Condon-Shortley sign, at index l² + l + m: the published SatCLIP conventions, whose `analytic`
features have m0_scale = π; 1 makes them orthonormal. Every √2 N_lm P_l^m(cos θ) is a finite sum over k ≤ l of
cos kθ (even m) or sin kθ (odd m), so that all of them are one product with a constant matrix.

That matrix alone tells the variants apart: `exact`; `printed`, with the published code's rounded polynomials in the
place of P_l^m (see printed_harmonics); and `closed-form`, the published code's other basis, exact with (-1)^m.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.models.encodings.encoding import Encoding, Floats, Integers, sines
from trainer.models.encodings.printed_harmonics import printed_legendre

MAX_LEGENDRE_POLYS = 100
Variant = Literal["exact", "printed", "closed-form"]


@dataclass(frozen=True, eq=False)
class Harmonics:
    """The constants of L Legendre polynomials, in float64.

    Four families of angles follow each other: cos kθ, sin kθ, cos mφ, sin mφ; k and m run from 0 for
    cosines and from 1 for sines, to L - 1. Each is sin 2π(lonlat @ turns_per_degree + turns).

    turns_per_degree: (2, 2(2L - 1)), rows lon and lat; turns: (2(2L - 1),).
    legendre: (2L - 1, L(L + 1)/2), from (cos kθ, sin kθ) to √2 N_lm P_l^m, whose columns have
        `order` and `degree`, m-major: (m, l) = (0, 0), (0, 1), ..., (1, 1), (1, 2), ...
    column, longitude: (L²,), the Legendre column and the index among (cos mφ, sin mφ) of each feature.
    """

    turns_per_degree: Floats
    turns: Floats
    legendre: Floats
    order: Integers
    degree: Integers
    column: Integers
    longitude: Integers

    @property
    def legendre_polys(self) -> int:
        return (len(self.legendre) + 1) // 2

    def feature(self, columns: Integers, sign: int) -> Integers:
        """The index l² + l ± m of the features that Legendre `columns` make with cosines (+1) or sines (-1)."""
        order, degree = self.order[columns], self.degree[columns]
        index: Integers = degree**2 + degree + sign * order
        return index


@lru_cache(maxsize=8)
def harmonics(legendre_polys: int, m0_scale: float, variant: Variant = "exact") -> Harmonics:
    """The constants for L = `legendre_polys` from 1 to 100; raises ValueError outside."""
    if not 1 <= legendre_polys <= MAX_LEGENDRE_POLYS:
        raise ValueError(f"legendre_polys is {legendre_polys}; it must be from 1 to {MAX_LEGENDRE_POLYS}")
    multiple, is_cosine = _angle_families(legendre_polys)
    turns_per_degree = np.zeros((2, 2 * len(multiple)))
    turns_per_degree[1, : len(multiple)] = multiple / 360
    turns_per_degree[0, len(multiple) :] = multiple / 360
    turns = np.concatenate([multiple / 4 + is_cosine / 4, multiple / 2 + is_cosine / 4])
    order, degree = _columns(legendre_polys)
    column, longitude = _features(legendre_polys)
    if variant == "printed":
        legendre = printed_legendre(legendre_polys, m0_scale)
    else:
        signs = (-1.0) ** order if variant == "closed-form" else np.ones(len(order))
        legendre = _legendre_matrix(legendre_polys) * np.where(order == 0, m0_scale, signs)
    return Harmonics(turns_per_degree, turns - np.round(turns), legendre, order, degree, column, longitude)


class SphericalHarmonics(Encoding):
    """Places to their L² real spherical harmonics, differentiable, with the same accuracy everywhere."""

    turns_per_degree: Tensor
    turns: Tensor
    legendre: Tensor
    column: Tensor
    longitude: Tensor

    def __init__(self, legendre_polys: int = 10, m0_scale: float = 1.0, variant: Variant = "exact") -> None:
        super().__init__(legendre_polys**2)
        self.legendre_polys = legendre_polys
        self.m0_scale = m0_scale
        self.variant = variant
        for name in ("turns_per_degree", "turns", "legendre", "column", "longitude"):
            self.constant(name, getattr(self.harmonics, name))

    @property
    def harmonics(self) -> Harmonics:
        """The constants, which a graph is built from."""
        return harmonics(self.legendre_polys, self.m0_scale, self.variant)

    def encode(self, lonlat: Tensor) -> Tensor:
        waves = sines(torch.addmm(self.turns, lonlat, self.turns_per_degree), self.dtype)
        latitude, longitude = torch.chunk(waves, 2, dim=1)
        legendre = torch.matmul(latitude, self.legendre.to(self.dtype))
        return legendre.index_select(1, self.column) * longitude.index_select(1, self.longitude)

    def extra_repr(self) -> str:
        return f"legendre_polys={self.legendre_polys}, m0_scale={self.m0_scale}, variant={self.variant!r}"


def _angle_families(legendre_polys: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Multiples of the angle for cosines from 0 and sines from 1, and which are cosines; (2L - 1,) each."""
    multiple = np.concatenate([np.arange(legendre_polys), np.arange(1, legendre_polys)]).astype(np.float64)
    return multiple, np.arange(2 * legendre_polys - 1) < legendre_polys


def _columns(legendre_polys: int) -> tuple[Integers, Integers]:
    """Order m and degree l of each Legendre column, m-major."""
    order, degree = np.triu_indices(legendre_polys)
    return order, degree


def _features(legendre_polys: int) -> tuple[Integers, Integers]:
    """For each feature, in published order: its Legendre column, and its index among (cos mφ, sin mφ)."""
    degree = np.repeat(np.arange(legendre_polys), 2 * np.arange(legendre_polys) + 1)
    signed_order = np.arange(legendre_polys**2) - degree**2 - degree
    order = np.abs(signed_order)
    first_column = order * legendre_polys - order * (order - 1) // 2
    longitude = np.where(signed_order >= 0, order, legendre_polys - 1 + order)
    return first_column + degree - order, longitude


def _legendre_matrix(legendre_polys: int) -> Floats:
    """Fourier coefficients of √2 N_lm P_l^m(cos θ), exact by orthogonality on a midpoint grid of 4L angles."""
    size = 4 * legendre_polys
    theta = (np.arange(size) + 0.5) * np.pi / size
    multiple, is_cosine = _angle_families(legendre_polys)
    waves = np.where(is_cosine, np.cos(np.outer(theta, multiple)), np.sin(np.outer(theta, multiple)))
    norm = np.where(is_cosine & (multiple == 0), 1.0, 2.0) / size
    coefficients = norm[:, None] * (waves.T @ _normalized_legendre(legendre_polys, theta))
    order, degree = _columns(legendre_polys)
    same_family = is_cosine[:, None] == (order % 2 == 0)
    occurs = (multiple[:, None] <= degree) & ((multiple[:, None] - degree) % 2 == 0)
    return np.where(same_family & occurs, coefficients, 0.0)


def _normalized_legendre(legendre_polys: int, theta: Floats) -> Floats:
    """√2 N_lm P_l^m(cos θ) (N_l0 P_l for m = 0) as (len(theta), L(L + 1)/2), m-major.

    Recursion over l of the normalised functions, stable from the sectoral one upwards (Holmes and
    Featherstone 2002, Eq. 11); nothing under- or overflows on the midpoint grid for L up to 100.
    """
    cosine, sine = np.cos(theta), np.sin(theta)
    sectoral = np.full_like(theta, np.sqrt(1 / (4 * np.pi)))
    columns = []
    for m in range(legendre_polys):
        if m > 0:
            sectoral = sectoral * sine * np.sqrt((2 * m + 1) / (2 * m) * (2 if m == 1 else 1))
        below, current = np.zeros_like(theta), sectoral
        columns.append(current)
        for l in range(m + 1, legendre_polys):  # noqa: E741 - the degree's name everywhere
            up = np.sqrt((4 * l**2 - 1) / (l**2 - m**2))
            down = np.sqrt(((l - 1) ** 2 - m**2) / (4 * (l - 1) ** 2 - 1))
            below, current = current, up * (cosine * current - down * below)
            columns.append(current)
    return np.stack(columns, axis=1)
