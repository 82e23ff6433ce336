"""Random Fourier features of the Equal Earth projection, at several scales (GeoCLIP, Vivanco Cepeda et al. 2023)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainer.models.encodings.encoding import Encoding, first_lane, in_lanes, sines

A1, A2, A3, A4 = 1.340264, -0.081106, 0.000893, 0.003796
"""The polynomial of the Equal Earth projection (Šavrič et al. 2019)."""
SCALE = 66.50336 / 180
ROOT_3 = 1.7320507764816284
"""In float32, as GeoCLIP has it: at its smallest scale that moves an angle by 1e-4."""


class RandomFourier(Encoding):
    """For each sigma (cos 2πBv, sin 2πBv), v the place on the Equal Earth map, B (frequencies, 2) ~ N(0, sigma²).

    2 * frequencies * len(sigmas) features, those of one sigma side by side. B is drawn from the default generator and
    kept in checkpoints. A map is cut at the antimeridian, so that these features are, too.
    """

    drawn: Tensor
    origin: Tensor
    rows: Tensor

    def __init__(self, sigmas: tuple[float, ...] = (1.0, 16.0, 256.0), frequencies: int = 256) -> None:
        super().__init__(2 * frequencies * len(sigmas))
        self.sigmas = sigmas
        drawn = torch.cat([sigma * torch.randn(frequencies, 2) for sigma in sigmas])
        self.register_buffer("drawn", drawn.double())
        quarter = torch.tensor([0.25, 0.0], dtype=torch.float64)
        self.constant("origin", quarter.repeat(len(sigmas)).repeat_interleave(frequencies).numpy())
        rows = torch.arange(len(drawn)).view(len(sigmas), 1, frequencies).expand(-1, 2, -1).flatten()
        self.constant("rows", rows.numpy())

    def encode(self, lonlat: Tensor) -> Tensor:
        turns = torch.matmul(equal_earth(lonlat), self.drawn.t())
        return sines(turns.index_select(1, self.rows) + self.origin, self.dtype)


def equal_earth(lonlat: Tensor) -> Tensor:
    """(n, 2) float64 lon and lat in degrees to x and y on the Equal Earth map, in GeoCLIP's units: |x| ≤ 1."""
    lon, lat = in_lanes(lonlat * (math.pi / 180))
    theta = _arcsin(ROOT_3 / 2 * torch.sin(lat))
    square = theta * theta
    sixth = square * square * square
    slope = A1 + 3 * A2 * square + sixth * (7 * A3 + 9 * A4 * square)
    x = 2 * ROOT_3 / 3 * lon * torch.cos(theta) / slope
    y = theta * (A1 + A2 * square + sixth * (A3 + A4 * square))
    return SCALE * torch.cat([first_lane(x), first_lane(y)], dim=1)


def _arcsin(sine: Tensor) -> Tensor:
    """To float64 accuracy where |sine| is well below 1, from float32's: a runtime need not have the other."""
    angle = torch.arcsin(sine.float()).double()
    return angle - (torch.sin(angle) - sine) / torch.cos(angle)
