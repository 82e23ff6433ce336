"""An image tower that needs no pretrained weights: random convolutional features, frozen, and a trained projection.

Rolf et al., "A generalizable and accessible approach to machine learning with global satellite imagery" (MOSAIKS,
2021), after Coates and Ng (2012): filters are whitened random patches of the imagery itself.

Or plain statistics of the bands, under a Gaussian window.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.config import RandomFeaturesConfig
from trainer.data.transforms import Standardise

PATCHES_A_FILTER = 64
"""Patches that the whitening is estimated from, for each filter drawn."""


class RandomConvolutionalFeatures(nn.Module):
    """Each filter's response, rectified on both sides and averaged over the tile.

    Output of filter w at bias b: mean over pixels of max(w·p - b, 0) and of max(-w·p - b, 0), p the whitened patch.
    """

    weight: Tensor
    shift: Tensor

    def __init__(self, weight: Tensor, shift: Tensor, bias: float) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("shift", shift)
        self.bias = bias

    @classmethod
    def fit(cls, tiles: Tensor, config: RandomFeaturesConfig, rng: torch.Generator) -> RandomConvolutionalFeatures:
        """Draw and whiten (ZCA) random patches of standardised tiles (n, bands, h, w)."""
        patches = _random_patches(tiles, config.patch, config.filters * PATCHES_A_FILTER, rng).double()
        mean = patches.mean(dim=0)
        covariance = torch.cov((patches - mean).T)
        spread, axes = torch.linalg.eigh(covariance)
        whiten = axes @ torch.diag((spread.clamp(min=0) + config.whitening).rsqrt()) @ axes.T
        chosen = functional.normalize((patches[: config.filters] - mean) @ whiten, dim=1)
        weight = chosen @ whiten  # w·whiten(p - mean) as one convolution of p
        shape = (config.filters, tiles.shape[1], config.patch, config.patch)
        return cls(weight.view(shape).float(), -(weight @ mean).float(), config.bias)

    def forward(self, tiles: Tensor) -> Tensor:
        """(n, bands, h, w), standardised → (n, 2 · filters)."""
        response = functional.conv2d(tiles, self.weight, self.shift)
        shrunk = functional.softshrink(response, self.bias).flatten(2)  # max(r - b, 0) - max(-r - b, 0)
        difference, total = shrunk.mean(dim=2), torch.linalg.vector_norm(shrunk, ord=1, dim=2) / shrunk.shape[2]
        return torch.cat((total + difference, total - difference), dim=1) / 2


class ImageTower(nn.Module):
    """The frozen part: tiles → image features, computed once for each tile and kept."""

    def __init__(
        self, standardise: Standardise, convolution: RandomConvolutionalFeatures, scales: Sequence[float]
    ) -> None:
        super().__init__()
        self.standardise = standardise
        self.convolution = convolution
        self.scales = tuple(scales)

    @classmethod
    def fit(cls, tiles: Tensor, config: RandomFeaturesConfig, rng: torch.Generator) -> ImageTower:
        """From a sample of tiles (n, bands, h, w), NaN where no data."""
        standardise = Standardise.fit(tiles)
        convolution = RandomConvolutionalFeatures.fit(standardise(tiles), config, rng)
        return cls(standardise, convolution, config.scales)

    @torch.no_grad()
    def forward(self, tiles: Tensor) -> Tensor:
        """(n, bands, h, w), NaN where no data → (n, 2 · filters + 2 · bands · scales)."""
        standard = self.standardise(tiles)
        statistics = [band_statistics(standard, scale) for scale in self.scales]
        return torch.cat((self.convolution(standard), *statistics), dim=1)


class BandStatistics(nn.Module):
    """Nothing but the mean and the deviation of each band over a tile's valid pixels, those in the middle first."""

    absent: Tensor

    def __init__(self, absent: Tensor, sigma: float) -> None:
        """`absent` (2 · bands,): what stands for those of a band without a valid pixel; `sigma`: StatisticsConfig's."""
        super().__init__()
        self.register_buffer("absent", absent)
        self.sigma = sigma

    @classmethod
    def fit(cls, tiles: Tensor, sigma: float) -> BandStatistics:
        """What is absent is as in the average tile of a sample (n, bands, h, w), NaN where no data."""
        return cls(_valid_statistics(tiles, sigma).nanmean(dim=0).nan_to_num(0.0), sigma)

    @torch.no_grad()
    def forward(self, tiles: Tensor) -> Tensor:
        """(n, bands, h, w), NaN where no data → (n, 2 · bands)."""
        statistics = _valid_statistics(tiles, self.sigma)
        return torch.where(statistics.isnan(), self.absent, statistics)


class ImageProjection(nn.Module):
    """The trained part: kept image features, standardised, to the embedding's space by one linear map."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor, embedding_dim: int) -> None:
        """`mean` and `deviation` of each image feature over the training tiles, (features,)."""
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.linear = nn.Linear(len(mean), embedding_dim)

    def forward(self, features: Tensor) -> Tensor:
        """(n, features) → (n, embedding_dim)."""
        standard: Tensor = (features - self.mean) / self.deviation
        projected: Tensor = self.linear(standard)
        return projected


def band_statistics(tiles: Tensor, scale: float) -> Tensor:
    """Each band's mean and deviation over the centred crop, `scale` of the side: (n, bands, h, w) → (n, 2 · bands)."""
    size = tiles.shape[-1]
    side = max(1, round(size * scale))
    start = (size - side) // 2
    pixels = tiles[..., start : start + side, start : start + side].flatten(2)
    return torch.cat((pixels.mean(dim=2), pixels.std(dim=2, correction=0)), dim=1)


def gaussian_window(height: int, width: int, sigma: float) -> Tensor:
    """(height · width,): weights of pixels, row by row, 1 in the tile's middle; `sigma` is in shares of each side."""
    down, right = (((torch.arange(n) + 0.5) / n - 0.5) / sigma for n in (height, width))
    return torch.exp(-0.5 * (down[:, None] ** 2 + right**2)).flatten()


def _valid_statistics(tiles: Tensor, sigma: float) -> Tensor:
    """(n, bands, h, w) → (n, 2 · bands), NaN for a band without a valid pixel."""
    pixels = tiles.flatten(2)
    height, width = tiles.shape[-2:]
    weight = gaussian_window(height, width, sigma).to(tiles) * ~pixels.isnan()
    weight = weight / weight.sum(dim=2, keepdim=True)
    pixels = pixels.nan_to_num(0.0)
    mean = (weight * pixels).sum(dim=2)
    deviation = (weight * (pixels - mean[:, :, None]).square()).sum(dim=2).sqrt()
    return torch.cat((mean, deviation), dim=1)


def _random_patches(tiles: Tensor, side: int, count: int, rng: torch.Generator) -> Tensor:
    """Patches of `side` x `side` at uniform positions → (count, bands · side²)."""
    n, bands, height, width = tiles.shape
    tile = torch.randint(n, (count, 1, 1, 1), generator=rng)
    row = torch.randint(height - side + 1, (count, 1, 1, 1), generator=rng) + torch.arange(side)[:, None]
    column = torch.randint(width - side + 1, (count, 1, 1, 1), generator=rng) + torch.arange(side)
    return tiles[tile, torch.arange(bands)[:, None, None], row, column].flatten(1)
