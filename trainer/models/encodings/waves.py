"""Encodings whose every feature is a wave of position, or a product of two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainer.models.encodings.encoding import LANES, Encoding, sines


class Wave(NamedTuple):
    """sin 2π(lon_turns · lon + lat_turns · lat + origin), lon and lat in degrees."""

    lon_turns: float
    lat_turns: float
    origin: float

    @classmethod
    def sin(cls, *, lon: float = 0.0, lat: float = 0.0) -> Wave:
        """sin of `lon` and `lat`, radians per degree."""
        return cls(lon / (2 * np.pi), lat / (2 * np.pi), 0.0)

    @classmethod
    def cos(cls, *, lon: float = 0.0, lat: float = 0.0) -> Wave:
        return cls.sin(lon=lon, lat=lat)._replace(origin=0.25)


ONE = Wave(0.0, 0.0, 0.25)
Feature = tuple[Wave, Wave]


def alone(wave: Wave) -> Feature:
    """The feature that is `wave` itself."""
    return wave, ONE


class Waves(Encoding):
    """The features given, in order; each wave is computed once."""

    turns_per_degree: Tensor
    turns: Tensor
    left: Tensor
    right: Tensor

    def __init__(self, features: Sequence[Feature]) -> None:
        super().__init__(len(features))
        place = {wave: at for at, wave in enumerate(dict.fromkeys(wave for feature in features for wave in feature))}
        waves = np.array([*place, *[ONE] * (-len(place) % LANES)])
        self.constant("turns_per_degree", np.ascontiguousarray(waves[:, :2].T))
        self.constant("turns", waves[:, 2])
        self.constant("left", np.array([place[left] for left, _ in features]))
        self.constant("right", np.array([place[right] for _, right in features]))

    def encode(self, lonlat: Tensor) -> Tensor:
        waves = sines(torch.addmm(self.turns, lonlat, self.turns_per_degree), self.dtype)
        return waves.index_select(1, self.left) * waves.index_select(1, self.right)
