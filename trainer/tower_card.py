"""What a bundle's card says of a location tower's two parts."""

from __future__ import annotations

from service.bundle import Network, OtherPart, PositionalEncoding
from trainer.config.location import (
    EncodingConfig,
    LocationTowerConfig,
    NetworkConfig,
    SirenConfig,
    SphericalHarmonicsConfig,
)


def encoding_card(asked: EncodingConfig) -> PositionalEncoding | OtherPart:
    if isinstance(asked, SphericalHarmonicsConfig):
        return PositionalEncoding.model_validate(asked.model_dump())
    return OtherPart(kind=asked.kind, settings=asked.model_dump(exclude={"kind"}))


def network_card(asked: NetworkConfig) -> Network | OtherPart:
    if isinstance(asked, SirenConfig):
        return Network.model_validate(asked.model_dump())
    return OtherPart(kind=asked.kind, settings=asked.model_dump(exclude={"kind"}))


def served_network(asked: LocationTowerConfig) -> Network | OtherPart:
    """Of the network as it is exported: as wide as its trained and its untrained part together."""
    card = network_card(asked.network)
    if asked.untrained is None or not isinstance(card, Network):
        return card
    return card.model_copy(update={"hidden_dim": card.hidden_dim + asked.untrained.hidden_dim})
