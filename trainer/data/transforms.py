"""What is done to tiles before a tower sees them."""

from __future__ import annotations

from torch import Tensor, nn


class Standardise(nn.Module):
    """Each band less its mean, over its deviation; no data becomes 0, the band's mean."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    @classmethod
    def fit(cls, tiles: Tensor) -> Standardise:
        """From the valid pixels of tiles (n, bands, h, w); a constant or empty band is only shifted."""
        pixels = tiles.double().transpose(0, 1).flatten(1)
        mean = pixels.nanmean(dim=1).nan_to_num(0.0)
        deviation = (pixels - mean[:, None]).square().nanmean(dim=1).sqrt().nan_to_num(0.0)
        deviation[deviation == 0] = 1.0
        return cls(mean.float(), deviation.float())

    def forward(self, tiles: Tensor) -> Tensor:
        """(n, bands, h, w) with NaN → the same shape without."""
        return ((tiles - self.mean[:, None, None]) / self.deviation[:, None, None]).nan_to_num(0.0)
