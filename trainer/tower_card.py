"""What a bundle's card says of a location tower's two parts."""

from __future__ import annotations

from service.bundle import Network, OtherPart, PositionalEncoding
from trainer.config.location import EncodingConfig, NetworkConfig, SirenConfig, SphericalHarmonicsConfig


def encoding_card(asked: EncodingConfig) -> PositionalEncoding | OtherPart:
    if isinstance(asked, SphericalHarmonicsConfig):
        return PositionalEncoding.model_validate(asked.model_dump())
    return OtherPart(kind=asked.kind, settings=asked.model_dump(exclude={"kind"}))


def network_card(asked: NetworkConfig) -> Network | OtherPart:
    if isinstance(asked, SirenConfig):
        return Network.model_validate(asked.model_dump())
    return OtherPart(kind=asked.kind, settings=asked.model_dump(exclude={"kind"}))
