"""What a positional encoding is: places in degrees to features, its constants exact and never in a checkpoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]


class Encoding(nn.Module, ABC):
    """(n, 2) float64 lon and lat in degrees to (n, feature_dim) in the module's dtype.

    Float64 constants stay float64 whatever the module's dtype, so that angles can be made and reduced before
    anything is rounded: degrees in float32 would cost an order of magnitude of accuracy. Autocast leaves them alone.
    """

    unit: Tensor

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.register_buffer("unit", torch.ones(()), persistent=False)

    @abstractmethod
    def encode(self, lonlat: Tensor) -> Tensor:
        """The features of float64 `lonlat`, in float64 or in the module's dtype."""

    @property
    def dtype(self) -> torch.dtype:
        """That of the features."""
        return self.unit.dtype

    def forward(self, lonlat: Tensor) -> Tensor:
        with torch.autocast(self.unit.device.type, enabled=False):  # lowered angles would be noise
            return self.encode(lonlat.double()).to(self.dtype)

    def constant(self, name: str, values: Floats | Integers) -> None:
        """A buffer that checkpoints do not hold."""
        self.register_buffer(name, torch.from_numpy(values), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move and cast as any module does, but for what is exact."""
        exact = {name: value for name, value in self.named_buffers(recurse=False) if name != "unit"}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, value in exact.items():
            setattr(self, name, value.to(self.unit.device))
        return self


LANES = 16
"""Whatever goes through a sine is this wide, or a multiple: no place falls into the tail of a vectorised loop, so that
its features are the same to the bit alone and in any batch."""


def in_lanes(lonlat: Tensor) -> tuple[Tensor, Tensor]:
    """lon and lat, each LANES times over, (n, LANES)."""
    lon, lat = lonlat.chunk(2, dim=1)
    return torch.cat([lon] * LANES, dim=1), torch.cat([lat] * LANES, dim=1)


def first_lane(values: Tensor) -> Tensor:
    """(n, LANES) to (n, 1)."""
    return values.chunk(LANES, dim=1)[0]


def sines(turns: Tensor, dtype: torch.dtype) -> Tensor:
    """sin 2π turns: whole turns leave in float64, and only what remains is rounded to `dtype`."""
    return torch.sin((2 * torch.pi * (turns - turns.round())).to(dtype))
