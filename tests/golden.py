"""Reference checkpoints, features and embeddings of the published code, where the shared folder is at hand."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from trainer.models.encodings.spherical_harmonics import Variant
from trainer.models.location_tower import LocationTower, harmonics_tower

REPOSITORY = Path(__file__).parents[1]
PUBLISHED_M0_SCALE = math.pi


def golden(name: str) -> Path:
    """The reference file `name`; skips the test where there is none."""
    shared = Path(os.environ.get("SATCLE_SHARED", REPOSITORY.parent / "shared"))
    path = shared / "golden" / name
    if not path.is_file():
        pytest.skip(f"no reference file {path}: set SATCLE_SHARED to the folder that holds golden/")
    return path


def golden_arrays(name: str) -> dict[str, NDArray[np.float64]]:
    with np.load(golden(name)) as arrays:
        return dict(arrays)


def published_tower(legendre_polys: int, variant: Variant = "exact") -> LocationTower:
    """The float64 tower of a reference checkpoint in the published layout."""
    path = golden(f"satclip_L{legendre_polys}.ckpt")
    weights = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    prefix, renamed = "model.location.nnet.", {"layers.": "hidden.", "last_layer.": "last."}
    state = {}
    for name, value in weights.items():
        if name.startswith(prefix):
            ours = name.removeprefix(prefix)
            for theirs, mine in renamed.items():
                ours = ours.replace(theirs, mine)
            state[ours] = value
    tower = harmonics_tower(legendre_polys=legendre_polys, m0_scale=PUBLISHED_M0_SCALE, variant=variant).double()
    tower.network.load_state_dict(state)
    return tower.eval()
