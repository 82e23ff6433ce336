"""The location tower: a positional encoding, then a network.

SatCLIP and SatCLE have spherical harmonics and a SIREN (SatCLIP §3.1); the other kinds are those of the published
code and of the baselines.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trainer.config.fields import Count, Frozen, Positive, without_a_kind


class SphericalHarmonicsConfig(Frozen):
    """Rußwurm et al. 2024: orthonormal and exact, or a variant that published weights need."""

    kind: Literal["spherical_harmonics"] = "spherical_harmonics"
    legendre_polys: int = Field(default=10, ge=1, le=100)
    variant: Literal["exact", "printed", "closed-form"] = "exact"
    m0_scale: Positive = 1.0


class PlainEncodingConfig(Frozen):
    """Radians, their sines and cosines (Mac Aodha et al. 2019), or the unit sphere."""

    kind: Literal["direct", "wrap", "cartesian3d"]


class MultiscaleEncodingConfig(Frozen):
    """Space2Vec (`grid`, `theory`) and Sphere2Vec (the others): `frequencies` geometric scales between two radii."""

    kind: Literal["grid", "theory", "spherec", "spherecplus", "spherem", "spheremplus", "dfs"]
    frequencies: int = Field(default=16, ge=2, le=64)
    min_radius: Positive = 1.0
    max_radius: Positive = 360.0


class RandomFourierConfig(Frozen):
    """GeoCLIP's: `frequencies` random Fourier features of the Equal Earth map at each of `sigmas`."""

    kind: Literal["random_fourier"]
    sigmas: tuple[Positive, ...] = Field(default=(1.0, 16.0, 256.0), min_length=1)
    frequencies: Count = 256


class UtmOneHotConfig(Frozen):
    kind: Literal["utm_onehot"]


class UtmSoftConfig(Frozen):
    """GPS2Vec's: the zone, and `cells` x `cells` cells within it."""

    kind: Literal["utm_soft"]
    cells: Count = 20
    sigma_m: Positive = 20_000.0


class SirenConfig(Frozen):
    kind: Literal["siren"] = "siren"
    hidden_dim: Count = 512
    hidden_layers: Count = 2
    w0_initial: Positive = 30.0
    w0: Positive = 1.0


class MLPConfig(Frozen):
    """`hidden_layers` follow the first one."""

    kind: Literal["mlp"]
    hidden_dim: Count = 512
    hidden_layers: int = Field(default=2, ge=0)


class FCNetConfig(Frozen):
    """Residual, with dropout while it trains (Mac Aodha et al. 2019)."""

    kind: Literal["fcnet"]
    hidden_dim: Count = 512
    residual_layers: int = Field(default=4, ge=0)
    dropout: float = Field(default=0.5, ge=0, lt=1)


class LinearConfig(Frozen):
    kind: Literal["linear"]


class CapsulesConfig(Frozen):
    """GeoCLIP's: an MLP for each scale of the encoding, summed."""

    kind: Literal["capsules"]
    hidden_dim: Count = 1024
    hidden_layers: int = Field(default=2, ge=0)


EncodingConfig = Annotated[
    SphericalHarmonicsConfig
    | PlainEncodingConfig
    | MultiscaleEncodingConfig
    | RandomFourierConfig
    | UtmOneHotConfig
    | UtmSoftConfig,
    Field(discriminator="kind"),
    without_a_kind("spherical_harmonics"),
]
NetworkConfig = Annotated[
    SirenConfig | MLPConfig | FCNetConfig | LinearConfig | CapsulesConfig,
    Field(discriminator="kind"),
    without_a_kind("siren"),
]


class UntrainedPart(Frozen):
    """A SIREN of its own on the harmonics of the first `legendre_polys`, which stays as it was drawn and makes the last
    `dimensions` of an embedding (trainer.models.networks.partly_untrained)."""

    legendre_polys: int = Field(default=10, ge=1, le=100)
    hidden_dim: Count = 192
    dimensions: Count = 192


class LocationTowerConfig(Frozen):
    """With `degree_decay` p, the first layer's weights on harmonics of degree l start (1 + l)^-p as large as they
    would, and as a whole as large as on ten Legendre polynomials: many polynomials then start as smooth as few.
    `embedding_dim` counts the dimensions of the `untrained` part too.
    """

    encoding: EncodingConfig = SphericalHarmonicsConfig()
    network: NetworkConfig = SirenConfig()
    embedding_dim: Count = 256
    degree_decay: float = Field(default=0.0, ge=0)
    untrained: UntrainedPart | None = None

    @model_validator(mode="after")
    def _untrained_part_fits(self) -> Self:
        if self.untrained is None:
            return self
        if not (isinstance(self.encoding, SphericalHarmonicsConfig) and isinstance(self.network, SirenConfig)):
            raise ValueError("untrained goes with encoding.kind: spherical_harmonics and network.kind: siren")
        if self.untrained.legendre_polys > self.encoding.legendre_polys:
            raise ValueError("untrained.legendre_polys: at most those of the encoding")
        if self.untrained.dimensions >= self.embedding_dim:
            raise ValueError("untrained.dimensions: fewer than embedding_dim")
        return self

    @model_validator(mode="after")
    def _degrees_decay(self) -> Self:
        if self.degree_decay and not isinstance(self.encoding, SphericalHarmonicsConfig):
            raise ValueError("degree_decay goes with encoding.kind: spherical_harmonics")
        return self

    @model_validator(mode="after")
    def _capsules_have_scales(self) -> Self:
        if isinstance(self.network, CapsulesConfig) and not isinstance(self.encoding, RandomFourierConfig):
            raise ValueError("network.kind: capsules go with encoding.kind: random_fourier, one to a scale")
        return self
