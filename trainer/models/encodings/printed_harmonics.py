"""The harmonics that published `analytic` weights were trained through: polynomials whose coefficients were printed.

For m > 0 the published code evaluates N (1 - x²)^(m/2) Q(x), with x = cos θ and Q the m-th derivative of P_l; for
m = 0 the expanded polynomial, its normalisation multiplied in. Every coefficient was printed with 15 significant
digits. They reach 1e14 at L = 40, where rounding them moves features by up to 0.6 near the poles. That error is
deterministic, and imported weights expect it.

The rounded polynomials are rebuilt here from integers, and their Fourier coefficients stand in for the exact ones, by

    cos^j θ sin^m θ = 2^-n (-1)^⌊m/2⌋ Σ_i K_i wave((n - 2i) θ),   n = j + m,   Σ_i K_i w^i = (1 + w)^j (1 - w)^m

with cosines as waves for even m, sines for odd m. All sums are exact, and rounded once.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DIGITS = 15
ROOT_BITS = 64


@lru_cache(maxsize=4)
def printed_legendre(legendre_polys: int, m0_scale: float) -> Floats:
    """Fourier coefficients of the printed √2 N_lm P_l^m(cos θ), rows and columns as in `Harmonics.legendre`.

    The columns of m = 0 are m0_scale N_l0 P_l: m0_scale is π as published, and 1 in copies of late 2024.
    """
    columns = [
        _column(legendre_polys, m, printed_polynomial(degree, m, m0_scale), _normalisation(degree, m))
        for m in range(legendre_polys)
        for degree in range(m, legendre_polys)
    ]
    return np.stack(columns, axis=1)


def printed_polynomial(degree: int, m: int, m0_scale: float) -> dict[int, float]:
    """The printed coefficients of d^m/dx^m P_l(x), by power of x; for m = 0 times m0_scale N_l0.

    For m = 0 the factor is multiplied in doubles, as it was before it was printed.
    """
    factor = math.sqrt((2 * degree + 1) / 4) * math.sqrt(math.pi) * (m0_scale / math.pi) if m == 0 else 1.0
    return {
        power: float(f"{factor * float(coefficient):.{DIGITS}g}")
        for power, coefficient in _legendre_derivative(degree, m).items()
    }


def _legendre_derivative(degree: int, m: int) -> dict[int, Fraction]:
    """d^m/dx^m P_l(x) by power of x, from P_l(x) = 2^-l Σ_k (-1)^k C(l, k) C(2l - 2k, l) x^(l - 2k)."""
    return {
        degree - 2 * k - m: Fraction(
            (-1) ** k * math.comb(degree, k) * math.comb(2 * degree - 2 * k, degree) * math.perm(degree - 2 * k, m),
            2**degree,
        )
        for k in range((degree - m) // 2 + 1)
    }


def _normalisation(degree: int, m: int) -> float:
    """√2 N_lm; 1 for m = 0, whose coefficients hold their own."""
    if m == 0:
        return 1.0
    root = math.isqrt(math.perm(degree + m, 2 * m) << 2 * ROOT_BITS)  # of what no float holds at high degrees
    return math.sqrt((2 * degree + 1) / (2 * math.pi)) * ((1 << ROOT_BITS) / root)


def _column(legendre_polys: int, m: int, polynomial: dict[int, float], factor: float) -> Floats:
    """Amplitudes of (cos kθ from k = 0, sin kθ from k = 1) in factor · sin^m θ · polynomial(cos θ)."""
    exact: dict[int, Fraction] = {}
    for power, coefficient in polynomial.items():
        for multiple, amplitude in _waves(power, m).items():
            exact[multiple] = exact.get(multiple, Fraction()) + Fraction(coefficient) * amplitude
    column = np.zeros(2 * legendre_polys - 1)
    first = legendre_polys - 1 if m % 2 else 0
    for multiple, amplitude in exact.items():
        column[first + multiple] = factor * float(amplitude)
    return column


@cache
def _waves(power: int, m: int) -> dict[int, Fraction]:
    """Amplitudes by multiple k ≥ 0 of θ of cos^power θ sin^m θ, in cosines for even m and in sines for odd m."""
    n = power + m
    product = [1]
    for sign in [1] * power + [-1] * m:  # times 1 ± w
        product = [a + sign * b for a, b in zip([*product, 0], [0, *product], strict=True)]
    scale = Fraction((-1) ** (m // 2), 2**n)
    # k and -k have one cosine, and opposite sines whose factors are opposite too
    return {n - 2 * i: scale * k * (1 if n == 2 * i else 2) for i, k in enumerate(product[: n // 2 + 1])}
