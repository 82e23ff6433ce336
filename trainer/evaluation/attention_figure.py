"""What causal refinement does to tiles, as a picture (SatCLE, appendix C, figure 10)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trainer.config import CausalRefinement, Config
from trainer.data.tile_batch import TileBatch, Tiles
from trainer.data.tiles import open_tiles
from trainer.data.views import view
from trainer.errors import ConfigError, ImageryError
from trainer.models.image_side import open_attention
from trainer.refinement.causal import causal_patches, padded, smooth
from trainer.seeding import generator
from trainer.storage import Place
from trainer.vision.run import VisionRun

RED_GREEN_BLUE = (("B04", "B03", "B02"), ("red", "green", "blue"))
"""By name; imagery that has neither is shown in its first three bands."""
STRETCH = (0.02, 0.98)
DIMMED = 0.25
SHOWN = 4
INCHES = 2.4
TITLES = ("image", "attention", "causal patches", "smoothed")


def attention_figure(
    config: Config, imagery: Path, runs: Place, rows: Sequence[int], out: Path, *, weights: Path | None = None
) -> Path:
    """Draw tiles `rows` (the first training tiles where there are none) to `out`, whose ending says the format.

    A config without a causal section is drawn with the paper's. Raises ImageryError where a row is none or cannot be
    read, ConfigError, CheckpointError or WeightsError where there is no attention, or `out` cannot be written.
    """
    causal = config.causal or CausalRefinement()
    tiles = open_tiles(config, imagery)
    attention = open_attention(
        config, causal, tiles.bands, vision=VisionRun(runs / config.name).finished, weights=weights
    )
    batch = _read(tiles, rows)
    images = view(batch.tiles, 0, config.views, generator(config.data.seed, "view"))
    whole = padded(images, attention.patch)
    with torch.no_grad():
        paid = attention(whole)
    patches = causal_patches(paid, causal.share)
    smoothed = smooth(whole, patches, causal.smoothing)
    figure = _draw(whole, paid, patches, smoothed, tiles.bands, [_label(tiles, row) for row in batch.rows.tolist()])
    try:
        figure.savefig(out)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--out {out} cannot be written: {' '.join(str(error).split())}") from error
    return out


def read_rows(asked: str) -> list[int]:
    """ "3, 17" → [3, 17]. Raises ConfigError."""
    try:
        return [int(row) for row in asked.split(",") if row.strip()]
    except ValueError:
        raise ConfigError(f"--rows {asked}: give whole numbers with commas, as 3,17") from None


def colours(images: Tensor, bands: Sequence[str], like: Tensor) -> NDArray[np.float32]:
    """Red, green and blue in 0 to 1, stretched as `like` would be: (bands, h, w) both → (h, w, 3); no data is 0."""
    named = next((names for names in RED_GREEN_BLUE if set(names) <= set(bands)), None)
    chosen = [list(bands).index(name) for name in named] if named else [min(i, len(bands) - 1) for i in range(3)]
    flat = like[chosen].flatten(1)
    low, high = (flat.nanquantile(share, dim=1)[:, None, None] for share in STRETCH)
    stretched = ((images[chosen] - low) / (high - low).clamp(min=1e-12)).clamp(0, 1).nan_to_num(0.0)
    shown: NDArray[np.float32] = stretched.permute(1, 2, 0).numpy()
    return shown


def _read(tiles: Tiles, rows: Sequence[int]) -> TileBatch:
    count = len(tiles.lonlat)
    if wrong := [row for row in rows if not 0 <= row < count]:
        raise ImageryError(f"row {wrong[0]} is none of the {count} tiles; they count from 0")
    batch = tiles.read(torch.tensor(rows) if rows else tiles.train_rows[:SHOWN])
    if missing := [row for row in rows if row not in batch.rows.tolist()]:
        raise ImageryError(f"row {missing[0]} cannot be read: {tiles.unreadable.get(missing[0], 'unknown')}")
    if len(batch.rows) == 0:
        raise ImageryError("none of the first training tiles can be read; name others by --rows")
    return batch


def _label(tiles: Tiles, row: int) -> str:
    lon, lat = tiles.lonlat[row].tolist()
    return f"{row}\n{lon:.2f}, {lat:.2f}"


def _draw(
    images: Tensor, paid: Tensor, patches: Tensor, smoothed: Tensor, bands: Sequence[str], labels: Sequence[str]
) -> Figure:
    """A row a tile: image, attention, causal patches with the others dimmed, and what the image tower sees."""
    with matplotlib.rc_context({"font.size": 8}):
        figure = Figure(figsize=(INCHES * len(TITLES), INCHES * len(images) + 0.3), dpi=150, layout="constrained")
        axes = figure.subplots(len(images), len(TITLES), squeeze=False)
        for i, row in enumerate(axes):
            image, size = colours(images[i], bands, images[i]), images.shape[-2:]
            mask = functional.interpolate(patches[i].float()[None, None], size)[0, 0, :, :, None].numpy()
            dimmed = image * (DIMMED + (1 - DIMMED) * mask)
            heat = functional.interpolate(paid[i][None, None], size)[0, 0].numpy()
            shown: list[NDArray[np.floating]] = [image, heat, dimmed, colours(smoothed[i], bands, images[i])]
            for axis, each in zip(row, shown, strict=True):
                _show(axis, each)
            row[0].set_ylabel(labels[i])
        for axis, title in zip(axes[0], TITLES, strict=True):
            axis.set_title(title)
    return figure


def _show(axis: Axes, shown: NDArray[np.floating]) -> None:
    axis.imshow(shown, cmap="inferno", interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks([])
