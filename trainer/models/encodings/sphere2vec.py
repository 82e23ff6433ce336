"""Sphere2Vec (Mai et al. 2023): products of sines and cosines that follow the sphere, in the published column order.

With λ = lon, φ = lat, scales s_f as in Space2Vec, λ_f = λ / s_f and φ_f = φ / s_f. All but `dfs` are as in the
published SatCLIP code, which has each feature twice, side by side, and takes degrees for radians; `dfs`, which it
lacks, is as in the published Sphere2Vec code, in radians.
"""

from __future__ import annotations

from collections.abc import Callable

from trainer.models.encodings.plain import RADIAN
from trainer.models.encodings.space2vec import geometric_frequencies
from trainer.models.encodings.waves import Feature, Wave, Waves, alone

cos, sin = Wave.cos, Wave.sin
DEGREE_AS_RADIAN = 1.0


def spherec(frequencies: int, min_radius: float, max_radius: float) -> Waves:
    """sin φ_f, cos φ_f cos λ_f, cos φ_f sin λ_f (Eq. 4): 6F features."""
    return _doubled(frequencies, min_radius, max_radius, _on_sphere)


def spherecplus(frequencies: int, min_radius: float, max_radius: float) -> Waves:
    """spherec and grid together (Eq. 10): 12F features."""
    return _doubled(frequencies, min_radius, max_radius, lambda f: [*_on_grid(f), *_on_sphere(f)[1:]])


def spherem(frequencies: int, min_radius: float, max_radius: float) -> Waves:
    """sin φ_f, and every product of one angle's cosine at scale f with the other angle unscaled (Eq. 5): 10F."""
    return _doubled(frequencies, min_radius, max_radius, lambda f: [alone(sin(lat=f)), *_mixed(f)])


def spheremplus(frequencies: int, min_radius: float, max_radius: float) -> Waves:
    """spherem and grid together (Eq. 11): 16F features."""
    return _doubled(frequencies, min_radius, max_radius, lambda f: [*_on_grid(f), *_mixed(f)])


def dfs(frequencies: int, min_radius: float, max_radius: float) -> Waves:
    """The double Fourier sphere (Eq. 8): every wave of λ times every one of φ, then the waves alone: 4F² + 4F."""
    per_degree = RADIAN * geometric_frequencies(frequencies, min_radius, max_radius)
    lons = [trig(lon=f) for trig in (sin, cos) for f in per_degree]
    lats = [trig(lat=f) for trig in (sin, cos) for f in per_degree]
    products = [(lon, lat) for lon in lons for lat in lats]
    return Waves([*products, *(feature for f in per_degree for feature in _on_grid(f))])


def _on_grid(f: float) -> list[Feature]:
    return [alone(wave) for wave in (sin(lat=f), cos(lat=f), sin(lon=f), cos(lon=f))]


def _on_sphere(f: float) -> list[Feature]:
    return [alone(sin(lat=f)), (cos(lat=f), cos(lon=f)), (cos(lat=f), sin(lon=f))]


def _mixed(f: float) -> list[Feature]:
    one = DEGREE_AS_RADIAN
    return [
        (cos(lat=f), cos(lon=one)),
        (cos(lat=one), cos(lon=f)),
        (cos(lat=f), sin(lon=one)),
        (cos(lat=one), sin(lon=f)),
    ]


def _doubled(
    frequencies: int, min_radius: float, max_radius: float, at_scale: Callable[[float], list[Feature]]
) -> Waves:
    per_degree = geometric_frequencies(frequencies, min_radius, max_radius)
    return Waves([feature for f in per_degree for feature in at_scale(f) for _ in range(2)])
