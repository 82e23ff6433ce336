"""Positional encodings, a family a file: places in degrees to the features that a network takes."""

from __future__ import annotations

from trainer.config.location import (
    EncodingConfig,
    MultiscaleEncodingConfig,
    PlainEncodingConfig,
    RandomFourierConfig,
    SphericalHarmonicsConfig,
    UtmSoftConfig,
)
from trainer.models.encodings.encoding import Encoding as Encoding
from trainer.models.encodings.plain import Direct, cartesian3d, wrap
from trainer.models.encodings.random_fourier import RandomFourier
from trainer.models.encodings.space2vec import grid, theory
from trainer.models.encodings.sphere2vec import dfs, spherec, spherecplus, spherem, spheremplus
from trainer.models.encodings.spherical_harmonics import SphericalHarmonics
from trainer.models.encodings.utm import UtmOneHot, UtmSoft

PLAIN = {"direct": Direct, "wrap": wrap, "cartesian3d": cartesian3d}
MULTISCALE = {
    "grid": grid,
    "theory": theory,
    "spherec": spherec,
    "spherecplus": spherecplus,
    "spherem": spherem,
    "spheremplus": spheremplus,
    "dfs": dfs,
}


def build_encoding(asked: EncodingConfig) -> Encoding:
    """The encoding that a config asks for."""
    if isinstance(asked, SphericalHarmonicsConfig):
        return SphericalHarmonics(asked.legendre_polys, asked.m0_scale, asked.variant)
    if isinstance(asked, PlainEncodingConfig):
        return PLAIN[asked.kind]()
    if isinstance(asked, MultiscaleEncodingConfig):
        return MULTISCALE[asked.kind](asked.frequencies, asked.min_radius, asked.max_radius)
    if isinstance(asked, RandomFourierConfig):
        return RandomFourier(asked.sigmas, asked.frequencies)
    if isinstance(asked, UtmSoftConfig):
        return UtmSoft(asked.cells, asked.sigma_m)
    return UtmOneHot()
