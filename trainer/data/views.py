"""Views of a tile: the plain one, and others drawn by crop, flips and blur."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.config import Views
from trainer.errors import ConfigError
from trainer.seeding import generator


def view(tiles: Tensor, number: int, views: Views, rng: torch.Generator) -> Tensor:
    """Tiles (n, bands, h, w) → (n, bands, crop, crop), NaN where no data.

    View 0 is the tile's centre, or the tile itself; the others are drawn from `rng`, tile by tile. Raises ConfigError
    where the crop is larger than the tile.
    """
    side = views.crop or min(tiles.shape[-2:])
    if views.crop is not None and views.crop > min(tiles.shape[-2:]):
        height, width = tiles.shape[-2:]
        raise ConfigError(f"views.crop is {views.crop} pixels, the tiles are {height} x {width}; lower it")
    if number == 0:
        return centre_crop(tiles, side) if views.crop else tiles
    return torch.stack([_drawn(tile, side, views, rng) for tile in tiles]) if len(tiles) else tiles[..., :side, :side]


def view_by_row(tiles: Tensor, rows: Tensor, number: int, views: Views, seed: int) -> Tensor:
    """A view that depends on (seed, number, row) alone, however rows (n,) are put together."""
    if number == 0:
        return view(tiles, 0, views, generator(seed, "view"))
    drawn = [
        view(tile[None], number, views, generator(seed, "view", number, row))
        for tile, row in zip(tiles, rows.tolist(), strict=True)
    ]
    return torch.cat(drawn) if drawn else view(tiles, number, views, generator(seed, "view"))


def centre_crop(tiles: Tensor, side: int) -> Tensor:
    """(..., h, w) → (..., side, side)."""
    top, left = ((length - side) // 2 for length in tiles.shape[-2:])
    return tiles[..., top : top + side, left : left + side]


def blur(tile: Tensor, sigma: float) -> Tensor:
    """Gaussian, `sigma` in pixels, of (bands, h, w): the weighted mean of the valid pixels; what is NaN stays NaN.

    What lies beyond the edge has no weight, nor has what is NaN, so a constant stays itself.
    """
    valid = ~tile.isnan()
    down, across = (_weights(length, sigma).to(tile.dtype) for length in tile.shape[-2:])
    blurred = down @ tile.nan_to_num(0.0) @ across.T
    if valid.all():
        return blurred
    return torch.where(valid, blurred / (down @ valid.to(tile.dtype) @ across.T), torch.nan)


def _drawn(tile: Tensor, side: int, views: Views, rng: torch.Generator) -> Tensor:
    """Every number is drawn whether it is used or not, so that one choice does not move another."""
    top, left, across, down, spread = torch.rand(5, generator=rng, dtype=torch.float64).tolist()
    height, width = tile.shape[-2:]
    if views.crop is not None:
        row, column = int(top * (height - side + 1)), int(left * (width - side + 1))
        tile = tile[:, row : row + side, column : column + side]
    if views.flips:
        tile = tile.flip([axis for axis, flipped in ((-1, across < 0.5), (-2, down < 0.5)) if flipped])
    if views.blur_sigma is not None:
        low, high = views.blur_sigma
        tile = blur(tile, low + spread * (high - low))
    return tile


def _weights(length: int, sigma: float) -> Tensor:
    """What each pixel of a line takes from each, rows of sum 1: as a matrix, it is faster than a convolution."""
    at = torch.arange(length, dtype=torch.float64)
    weights = torch.exp(-0.5 * ((at - at[:, None]) / sigma).square())
    return weights / weights.sum(dim=1, keepdim=True)
