"""The frozen half of a run: tiles in, image features out, the same for as long as the run lasts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from trainer.config import BackboneConfig, CausalRefinement, Config, RandomFeaturesConfig, StatisticsConfig
from trainer.data.tile_batch import Tiles
from trainer.data.transforms import Standardise
from trainer.device import device
from trainer.errors import ConfigError
from trainer.models.backbones import VIT_SMALL, Backbone, SentinelTwoInput, named_network
from trainer.models.image_tower import BandStatistics, ImageTower
from trainer.models.pretrained import SENTINEL_2, load_weights, state_digest, weights_state
from trainer.refinement.causal import CausalSmoothing, PatchAttention
from trainer.seeding import generator
from trainer.storage import Place
from trainer.vision.checkpoint import read_vision_of

FIT_TILES = 2048
FIT_SIDE = 64
"""Of larger tiles the centre is taken, which bounds the sample's memory and leaves its places as many."""
READ = 64
VALUES_AT_ONCE = 1 << 24
"""What is put through the networks in one go: 21 tiles of S2-100K."""

Sample = Callable[[], Tensor]


class ImageSide(nn.Module):
    """Causal smoothing where the config asks for it, then the frozen image tower.

    `identity` is JSON-able and tells all that the features depend on besides the tiles.
    """

    anchor: Tensor

    def __init__(self, tower: nn.Module, smoothing: CausalSmoothing | None, identity: Mapping[str, Any]) -> None:
        super().__init__()
        self.tower = tower
        self.smoothing = smoothing
        self.identity = identity
        self.register_buffer("anchor", torch.empty(0), persistent=False)
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, tiles: Tensor) -> Tensor:
        """(n, bands, h, w), NaN = no data → (n, features) float32, on the CPU."""
        at_once = max(1, VALUES_AT_ONCE // max(1, tiles[:1].numel()))
        return torch.cat(
            [self._features(some.to(self.anchor.device)).float().cpu() for some in torch.split(tiles, at_once)]
        )

    def _features(self, tiles: Tensor) -> Tensor:
        smoothed = tiles if self.smoothing is None else self.smoothing(tiles)
        features: Tensor = self.tower(smoothed)
        return features


def open_image_side(config: Config, tiles: Tiles, *, vision: Place | None, weights: Path | None) -> ImageSide:
    """What `config` asks for. `vision` is the checkpoint of its vision pretraining, `weights` the user's own file.

    The file stands for the published weights that the image tower names, and for the attention's where those are the
    same. Raises ConfigError, CheckpointError or WeightsError, where
    what it needs is missing or does not fit.
    """

    if weights is not None and not (_is_for_tower(config) or _is_for_attention(config)):
        raise ConfigError(f"--weights {weights}: the config names no published weights that it could stand for")

    @cache
    def sample() -> Tensor:
        return sample_tiles(tiles)

    tower = _image_tower(config, tiles.bands, sample, vision=vision, weights=weights)
    identity = {"image_tower": config.image_tower.model_dump(mode="json"), "weights": state_digest(tower.state_dict())}
    smoothing = None
    if config.causal is not None:
        attention = open_attention(config, config.causal, tiles.bands, vision=vision, weights=weights)
        smoothing = CausalSmoothing(attention, config.causal.share, config.causal.smoothing)
        identity["causal"] = config.causal.model_dump(mode="json") | {"weights": state_digest(attention.state_dict())}
    return ImageSide(tower, smoothing, identity).to(device(config.training.accelerator, "training.accelerator"))


def open_attention(
    config: Config, causal: CausalRefinement, bands: tuple[str, ...], *, vision: Place | None, weights: Path | None
) -> PatchAttention:
    """The ViT that finds causal patches. Raises as open_image_side does."""
    if causal.attention == "vision":
        backbone = read_vision_of(vision, config, bands).backbone()
    else:
        file = weights if _is_for_attention(config) else None
        backbone = _sentinel_2(VIT_SMALL, causal.attention, file, bands, "causal.attention")
    if not isinstance(backbone.network, VisionTransformer):
        raise ConfigError("causal.attention: a ResNet has none; use vision.backbone: vit")
    attention = PatchAttention(backbone.adapt, backbone.network)
    return attention.requires_grad_(False).eval()


def sample_tiles(tiles: Tiles) -> Tensor:
    """The first training tiles, of large ones the centre → (n, bands, h, w), NaN = no data."""
    rows = torch.split(tiles.train_rows[:FIT_TILES], READ)
    return torch.cat([_centre(tiles.read(some).tiles) for some in rows])


def _image_tower(
    config: Config, bands: tuple[str, ...], sample: Sample, *, vision: Place | None, weights: Path | None
) -> nn.Module:
    asked = config.image_tower
    if isinstance(asked, RandomFeaturesConfig):
        return ImageTower.fit(sample(), asked, generator(config.data.seed, "filters"))
    if isinstance(asked, StatisticsConfig):
        return BandStatistics.fit(sample(), asked.sigma)
    if asked.kind == "vision":
        return read_vision_of(vision, config, bands).backbone()
    if asked.weights == "random":
        network = named_network(asked.kind, len(bands), generator(config.data.seed, "backbone"))
        return Backbone(Standardise.fit(sample()), network, SENTINEL_2.size).eval()
    return _sentinel_2(asked.kind, asked.weights, weights, bands, "image_tower.weights")


def _is_for_tower(config: Config) -> bool:
    """Whether the user's own file stands for the image tower's weights."""
    return isinstance(config.image_tower, BackboneConfig) and config.image_tower.weights not in ("random", "vision")


def _is_for_attention(config: Config) -> bool:
    """Whether it stands for the attention's: they are the image tower's, or that has none."""
    if config.causal is None or config.causal.attention == "vision":
        return False
    same = BackboneConfig(kind=VIT_SMALL, weights=config.causal.attention)
    return config.image_tower == same or not _is_for_tower(config)


def _sentinel_2(architecture: str, weights: str, file: Path | None, bands: tuple[str, ...], key: str) -> Backbone:
    adapt = SentinelTwoInput(bands, key)
    state = weights_state(architecture, weights, file, key=key)
    network = named_network(architecture, len(SENTINEL_2.bands), generator(0, "overwritten"))
    load_weights(network, state, str(file or weights))
    return Backbone(adapt, network, SENTINEL_2.size).eval()


def _centre(tiles: Tensor) -> Tensor:
    top, left = (max(0, side - FIT_SIDE) // 2 for side in tiles.shape[-2:])
    return tiles[..., top : top + FIT_SIDE, left : left + FIT_SIDE].clone()
