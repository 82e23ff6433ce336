"""Published Sentinel-2 weights: what they take, where they come from, and how they are read.

torchgeo knows where the weights lie; files of them have its layout, which is timm's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer.config.image import PUBLISHED
from trainer.errors import ConfigError, WeightsError

WEIGHTS_ENUMS = {
    "vit_small_patch16_224": "ViTSmall16_Weights",
    "resnet18": "ResNet18_Weights",
    "resnet50": "ResNet50_Weights",
}
FIRST_LAYERS = ("patch_embed.proj.weight", "conv1.weight")
CLASSIFIERS = ("head.", "fc.")
OPTIONAL = {"norm.weight", "norm.bias"}
"""The final norm, which torchgeo also lets a file of a ViT lack: it then neither scales nor shifts."""
NAMED = 4
"""Weights that an error names; of more it says how many."""


@dataclass(frozen=True)
class SentinelTwoWeights:
    """What the weights pretrained on SSL4EO-S12 (Wang et al. 2023) are and take; `absent` bands are given as zeros.

    Pixels are reflectance: digital numbers / 10,000, neither shifted nor scaled further; no data is 0. Images are
    `size` pixels a side.
    """

    bands: tuple[str, ...] = (
        *("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"),
    )
    absent: tuple[str, ...] = ("B10",)
    size: int = 224
    credit: str = "SSL4EO-S12 (Wang et al. 2023), pretrained weights, through torchgeo"
    license: str = "CC-BY-4.0"
    url: str = "https://github.com/zhu-xlab/SSL4EO-S12"


SENTINEL_2 = SentinelTwoWeights()


def weights_state(architecture: str, weights: str, file: Path | None, *, key: str) -> Mapping[str, Tensor]:
    """The state dict of `file` where there is one, else of the published weights or the file that `weights` names.

    `key` is where the config says `weights`. Raises WeightsError where they cannot be had, ConfigError where
    there are none of that name.
    """
    named = Path(weights).is_file()
    if not named and weights not in PUBLISHED[architecture]:
        names = ", ".join(PUBLISHED[architecture])
        raise ConfigError(f"{key}: {weights} is neither a file nor published weights of {architecture}: {names}")
    if file is None and not named:
        return _published_state(architecture, weights)
    return state_of(file or Path(weights))


def state_of(file: Path) -> Mapping[str, Tensor]:
    """The state dict in a file of torch, by itself or among a checkpoint's parts. Raises WeightsError."""
    if not file.is_file():
        raise WeightsError(f"weights {file} do not exist")
    try:
        raw = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # what the safe unpickler raises depends on the bytes that it stumbles over
        raise WeightsError(f"{file} holds no weights that can be read safely") from error
    for part in ("state_dict", "teacher", "model"):
        if isinstance(raw, dict) and isinstance(raw.get(part), dict):
            raw = raw[part]
    if not isinstance(raw, dict):
        raise WeightsError(f"{file} holds no state dict")
    return {str(name): value for name, value in raw.items() if isinstance(value, Tensor)}


def load_weights(network: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Fill `network` with `state`, whose names may share a prefix; classifiers are left out.

    Raises WeightsError, which names what `state` lacks, has too much of, or has in another shape.
    """
    given = {n: v for n, v in _without_prefix(state, origin).items() if not n.startswith(CLASSIFIERS)}
    wanted = network.state_dict()
    if missing := sorted(wanted.keys() - given.keys() - OPTIONAL):
        raise WeightsError(f"{origin} lacks {_some(missing)}; give weights of the config's architecture")
    if unexpected := sorted(given.keys() - wanted.keys()):
        raise WeightsError(f"{origin} has {_some(unexpected)} too many; give weights of the config's architecture")
    for name, value in given.items():
        if value.shape != wanted[name].shape:
            shapes = f"{tuple(value.shape)}, not {tuple(wanted[name].shape)}"
            raise WeightsError(f"{origin}: {name} is {shapes}; give weights for {len(SENTINEL_2.bands)} bands")
    network.load_state_dict(given, strict=False)


def state_digest(state: Mapping[str, Tensor]) -> str:
    """sha256 of names, shapes, types and values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(value.shape)} {value.dtype};".encode())
        digest.update(value.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _published_state(architecture: str, name: str) -> Mapping[str, Tensor]:
    import torchgeo.models  # seconds, and only where weights are fetched

    published = getattr(torchgeo.models, WEIGHTS_ENUMS[architecture])[name]
    try:
        state: dict[str, Any] = published.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:  # urllib's errors are OSErrors; a wrong sha256 is a RuntimeError
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"{name} cannot be fetched from {published.url} ({reason}); fetch it elsewhere, give it by --weights"
        ) from error
    return state


def _without_prefix(state: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
    """What lies beside the first layer, by names without what comes before its own."""
    firsts = [name for name in state if name.endswith(FIRST_LAYERS)]
    if not firsts:
        raise WeightsError(f"{origin} has none of {', '.join(FIRST_LAYERS)}: not weights of a ViT or a ResNet")
    first = min(firsts, key=len)
    prefix = next(first.removesuffix(layer) for layer in FIRST_LAYERS if first.endswith(layer))
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
