"""The location tower: a positional encoding, then a network.

SatCLIP and SatCLE have spherical harmonics and a SIREN (SatCLIP §3.1); the other kinds are those of the baselines.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainer.config.fields import Count, Frozen, Positive


class SphericalHarmonicsConfig(Frozen):
    """Rußwurm et al. 2024: orthonormal, exact."""

    kind: Literal["spherical_harmonics"] = "spherical_harmonics"
    legendre_polys: int = Field(default=10, ge=1, le=100)


class SirenConfig(Frozen):
    kind: Literal["siren"] = "siren"
    hidden_dim: Count = 512
    hidden_layers: Count = 2
    w0_initial: Positive = 30.0
    w0: Positive = 1.0


EncodingConfig = Annotated[SphericalHarmonicsConfig, Field(discriminator="kind")]
NetworkConfig = Annotated[SirenConfig, Field(discriminator="kind")]


class LocationTowerConfig(Frozen):
    encoding: SphericalHarmonicsConfig = SphericalHarmonicsConfig()
    network: SirenConfig = SirenConfig()
    embedding_dim: Count = 256
