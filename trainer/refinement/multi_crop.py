"""Views of tiles of any bands for self-distillation: crops, flips, blur and a jitter of each band."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from trainer.config.vision import Area, Crops

ASPECT = (3 / 4, 4 / 3)
BLUR_CHANCE = {"first": 1.0, "second": 0.1, "local": 0.5}
"""DINO's, of the first and second global view and of the local ones (Caron et al. 2021, appendix)."""
JITTER_CHANCE = 0.8


def multi_crop(tiles: Tensor, crops: Crops, sizes: tuple[int, int], rng: torch.Generator) -> list[Tensor]:
    """Two global views, then the local ones, each drawn anew for each tile.

    `tiles` (n, bands, h, w) standardised; `sizes` are the sides of the two kinds → (n, bands, side, side) each.
    """
    whole, part = sizes
    views = [_view(tiles, crops, crops.global_area, whole, BLUR_CHANCE[which], rng) for which in ("first", "second")]
    for _ in range(crops.local_crops):
        views.append(_view(tiles, crops, crops.local_area, part, BLUR_CHANCE["local"], rng))
    return views


def _view(tiles: Tensor, crops: Crops, area: Area, size: int, blur_chance: float, rng: torch.Generator) -> Tensor:
    view = jittered(random_resized_crop(tiles, area, size, rng), crops.jitter, rng)
    return view if crops.blur_sigma is None else blurred(view, crops.blur_sigma, blur_chance, rng)


def random_resized_crop(tiles: Tensor, area: Area, size: int, rng: torch.Generator) -> Tensor:
    """A box of a share of the tile's area, an aspect of 3/4 to 4/3, flipped or not either way, resized bilinearly."""
    n = len(tiles)
    drawn = torch.rand(6, n, generator=rng)
    side = (area[0] + drawn[0] * (area[1] - area[0])).sqrt()
    low, high = (math.log(ratio) / 2 for ratio in ASPECT)
    stretch = (low + drawn[1] * (high - low)).exp()
    extent = torch.stack((side * stretch, side / stretch)).clamp(max=1.0)  # of width and height, in shares of them
    centre = (2 * drawn[2:4] - 1) * (1 - extent)
    scale = extent * torch.where(drawn[4:6] < 0.5, 1.0, -1.0)
    place = torch.zeros(n, 2, 3)
    place[:, 0, 0], place[:, 1, 1] = scale
    place[:, 0, 2], place[:, 1, 2] = centre
    grid = functional.affine_grid(place.to(tiles), [n, tiles.shape[1], size, size], align_corners=False)
    crops: Tensor = functional.grid_sample(tiles, grid, padding_mode="border", align_corners=False)
    return crops


def jittered(tiles: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Four tiles of five with each band times 1 +- `strength` at most, and shifted by as much."""
    n, bands = tiles.shape[:2]
    drawn = strength * (2 * torch.rand(2, n, bands, 1, 1, generator=rng) - 1)
    drawn *= torch.rand(n, 1, 1, 1, generator=rng) < JITTER_CHANCE
    gain, shift = drawn.to(tiles).unbind()
    return tiles * (1 + gain) + shift


def blurred(tiles: Tensor, sigma: tuple[float, float], chance: float, rng: torch.Generator) -> Tensor:
    """A share `chance` of the tiles, Gaussian blurred by a deviation between the two of `sigma`, in pixels."""
    n, bands = tiles.shape[:2]
    drawn = torch.rand(2, n, generator=rng)
    chosen = (drawn[0] < chance).nonzero().squeeze(1)
    if len(chosen) == 0:
        return tiles
    radius = min(math.ceil(3 * sigma[1]), min(tiles.shape[-2:]) - 1)
    along = torch.arange(-radius, radius + 1)
    deviation = sigma[0] + drawn[1, chosen] * (sigma[1] - sigma[0])
    kernel = (-0.5 * (along / deviation[:, None]).square()).softmax(dim=1).to(tiles)
    kernel = kernel.repeat_interleave(bands, dim=0)[:, None, :, None]
    images = functional.pad(tiles[chosen], (radius,) * 4, mode="reflect").flatten(0, 1)[None]
    for each in (kernel, kernel.transpose(2, 3)):
        images = functional.conv2d(images, each, groups=len(chosen) * bands)
    result = tiles.clone()
    result[chosen] = images.view_as(result[chosen])
    return result
