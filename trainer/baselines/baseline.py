"""What every row of the papers' tables is here: a name, what it truly is, and embeddings of places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Places = NDArray[np.float64]
"""(n, 2) lon and lat in degrees."""
Embeddings = NDArray[np.float32]

CHUNK = 1024


@dataclass(frozen=True)
class Baseline:
    """`note` says where the weights come from, or that there are none, or that they are as they were drawn."""

    name: str
    note: str
    embed: Callable[[Places], Embeddings]


def of_module(name: str, note: str, module: nn.Module) -> Baseline:
    """A tower, or an encoding alone, computed in float32 after its float64 angles."""
    frozen = module.float().eval()

    def embed(places: Places) -> Embeddings:
        with torch.inference_mode():
            chunks = [frozen(chunk).numpy() for chunk in torch.split(torch.from_numpy(places), CHUNK)]
        return np.concatenate(chunks)

    return Baseline(name, note, embed)
