"""Backbones of timm, from tiles as they are read to image features: ViT-S/16, ResNets, and the ViT of a config."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from timm.models import create_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from trainer.config import VisionConfig
from trainer.errors import ConfigError
from trainer.models.pretrained import SENTINEL_2

VIT_SMALL: Final = "vit_small_patch16_224"


class SentinelTwoInput(nn.Module):
    """Reflectance of Sentinel-2 as published weights take it: bands in their order, zeros for B10, which is absent."""

    def __init__(self, bands: Sequence[str], key: str) -> None:
        """`bands` of the tiles. Raises ConfigError, naming `key`, where one that the weights need is not among them."""
        super().__init__()
        wanted = [band for band in SENTINEL_2.bands if band in bands or band not in SENTINEL_2.absent]
        if missing := [band for band in wanted if band not in bands]:
            raise ConfigError(
                f"{key}: Sentinel-2 weights need the bands {', '.join(missing)}, and the data has {', '.join(bands)}; "
                "use random, or kind: vision"
            )
        self.target = [SENTINEL_2.bands.index(band) for band in wanted]
        self.source = [list(bands).index(band) for band in wanted]

    def forward(self, tiles: Tensor) -> Tensor:
        """(n, bands, h, w), NaN = no data → (n, 13, h, w)."""
        n, _, height, width = tiles.shape
        taken = tiles.new_zeros(n, len(SENTINEL_2.bands), height, width)
        taken[:, self.target] = tiles[:, self.source].nan_to_num(0.0)
        return taken


class Backbone(nn.Module):
    """Tiles adapted, resized to `size` pixels a side where that is given, and seen by the network."""

    def __init__(self, adapt: nn.Module, network: nn.Module, size: int | None) -> None:
        super().__init__()
        self.adapt = adapt
        self.network = network
        self.size = size

    def forward(self, tiles: Tensor) -> Tensor:
        """(n, bands, h, w), NaN = no data → (n, features)."""
        images: Tensor = self.adapt(tiles)
        if self.size is not None and images.shape[-2:] != (self.size, self.size):
            images = functional.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        features: Tensor = self.network(images)
        return features


def named_network(architecture: str, bands: int, rng: torch.Generator) -> nn.Module:
    """ViT-S/16, ResNet-18 or ResNet-50 without a classifier, untrained."""
    dynamic: dict[str, Any] = {"dynamic_img_size": True} if architecture == VIT_SMALL else {}
    with drawing_from(rng):
        network: nn.Module = create_model(architecture, in_chans=bands, num_classes=0, **dynamic)
    return network


def vision_network(
    vision: VisionConfig, bands: int, image_size: int, rng: torch.Generator, *, drop_path: float = 0.0
) -> nn.Module:
    """The backbone that `vision` describes, untrained, for images of about `image_size` pixels a side.

    `drop_path` is of the blocks of a ViT while it trains: the student's, DINO's teacher has none.
    """
    if vision.backbone != "vit":
        return named_network(vision.backbone, bands, rng)
    with drawing_from(rng):
        return VisionTransformer(
            img_size=_whole_patches(image_size, vision.patch),
            patch_size=vision.patch,
            in_chans=bands,
            num_classes=0,
            embed_dim=vision.dim,
            depth=vision.depth,
            num_heads=vision.heads,
            drop_path_rate=drop_path,
            dynamic_img_size=True,
            dynamic_img_pad=True,
        )


@contextmanager
def drawing_from(rng: torch.Generator) -> Iterator[None]:
    """What draws from torch's global generator draws from `rng` instead; the global one is left as it was."""
    with torch.random.fork_rng(devices=()):
        torch.default_generator.set_state(rng.get_state())
        yield


def _whole_patches(side: int, patch: int) -> int:
    return -(-side // patch) * patch
