"""The location tower: a positional encoding of a place, then a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.config.location import (
    LocationTowerConfig,
    RandomFourierConfig,
    SirenConfig,
    SphericalHarmonicsConfig,
    UntrainedPart,
)
from trainer.models.encodings import Encoding, build_encoding
from trainer.models.encodings.spherical_harmonics import Variant
from trainer.models.networks import build_network
from trainer.models.networks.partly_untrained import PartlyUntrained
from trainer.models.networks.siren import Siren


class LocationTower(nn.Module):
    """Places to embeddings: any `encoding`, then any `network` that takes its features."""

    def __init__(self, encoding: Encoding, network: nn.Module) -> None:
        super().__init__()
        self.encoding = encoding
        self.network = network

    @property
    def embedding_dim(self) -> int:
        """The width of the network's last layer."""
        *_, last = (layer for layer in self.merged().network.modules() if isinstance(layer, nn.Linear))
        return last.out_features

    def merged(self) -> LocationTower:
        """This tower with one network: itself, unless a part of it is untrained."""
        if not isinstance(self.network, PartlyUntrained):
            return self
        return LocationTower(self.encoding, self.network.merged())

    def forward(self, lonlat: Tensor) -> Tensor:
        """(n, 2) float64 lon and lat in degrees to (n, embedding_dim) in the parameters' dtype, not normalised."""
        embedding: Tensor = self.network(self.encoding(lonlat))
        return embedding


def build_location_tower(asked: LocationTowerConfig) -> LocationTower:
    """The untrained tower that a config asks for; its weights are drawn from the default generator."""
    encoding = build_encoding(asked.encoding)
    groups = len(asked.encoding.sigmas) if isinstance(asked.encoding, RandomFourierConfig) else 1
    trained_dim = asked.embedding_dim - (asked.untrained.dimensions if asked.untrained else 0)
    network = build_network(asked.network, encoding.feature_dim, trained_dim, groups=groups)
    if asked.degree_decay:
        soften(network, asked.degree_decay)
    if asked.untrained:
        network = _beside_untrained(network, asked.untrained)
    return LocationTower(encoding, network)


def _beside_untrained(network: nn.Module, asked: UntrainedPart) -> PartlyUntrained:
    assert isinstance(network, Siren)
    w0_initial, w0 = network.w0s[0], network.w0s[-1]
    shape = asked.legendre_polys**2, asked.hidden_dim, len(network.hidden), asked.dimensions
    return PartlyUntrained(network, Siren(*shape, w0_initial=w0_initial, w0=w0))


@torch.no_grad()
def soften(network: nn.Module, degree_decay: float) -> None:
    """Scale the first layer's weights on harmonics of degree l by (1 + l)^-`degree_decay`, as LocationTowerConfig says.

    Untrained weights on n harmonics, uniform in ±1/n, sum up to a deviation in proportion to √n/n; here to 1/10, that
    of 100 harmonics, whatever n is.
    """
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Linear))
    harmonics = first.in_features
    degrees = torch.arange(harmonics).sqrt().floor()  # harmonic l² + l + m is of degree l
    decay = (1 + degrees) ** -degree_decay
    first.weight *= decay * (harmonics / 10 / decay.square().sum().sqrt())


def harmonics_tower(
    *,
    legendre_polys: int = 10,
    hidden_dim: int = 512,
    hidden_layers: int = 2,
    embedding_dim: int = 256,
    w0_initial: float = 30.0,
    w0: float = 1.0,
    m0_scale: float = 1.0,
    variant: Variant = "exact",
) -> LocationTower:
    """SatCLIP's tower: spherical harmonics, then a SIREN. The published L = 10 one has an m0_scale of π."""
    encoding = SphericalHarmonicsConfig(legendre_polys=legendre_polys, m0_scale=m0_scale, variant=variant)
    network = SirenConfig(hidden_dim=hidden_dim, hidden_layers=hidden_layers, w0_initial=w0_initial, w0=w0)
    return build_location_tower(LocationTowerConfig(encoding=encoding, network=network, embedding_dim=embedding_dim))
