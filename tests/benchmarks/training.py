"""Training on kept features: a step on one thread, beside SGEMM and beside a loop that runs the image tower.

A step is what an epoch of 90,000 places is made of: drawing, towers, loss, gradients and AdamW.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks.compute import PEAK_SIDE, interleaved, sgemm_runs
from trainer.config import Config, RandomFeaturesConfig
from trainer.data.kept import KeptTiles
from trainer.data.points import uniform_places
from trainer.models.image_tower import ImageTower
from trainer.seeding import generator
from trainer.training.module import ContrastiveTraining, initial_model

HEADER = "| what | method | L | batch | measured | limit |\n|---|---|---:|---:|---:|---:|"
PLACES = 90_000
RUNS = (("satcle", 10, 512), ("satcle", 40, 512), ("satclip", 10, 8192), ("satclip", 40, 8192))
IMAGE_TOWER = RandomFeaturesConfig(filters=128, scales=(1, 0.5, 0.25, 0.125))
BANDS, SIDE, TILES = 6, 32, 512
FORWARD_AND_BACKWARD = 3
LOSS_PRODUCTS = 3
"""The similarities, and from their gradient that of each side; those computed again are not counted."""


def table(rounds: int = 3) -> str:
    """Seconds an epoch, share of the SGEMM peak, and what keeping the image tower's outputs saves."""
    torch.set_num_threads(1)
    tiles = torch.randn(TILES, BANDS, SIDE, SIDE, generator=generator(0, "tiles"))
    tower = ImageTower.fit(tiles, IMAGE_TOWER, generator(0, "filters"))
    rows = [HEADER]
    for method, polys, batch in RUNS:
        for what, measured, limit in _measured(method, polys, batch, tower, tiles, rounds):
            rows.append(f"| {what} | {method} | {polys} | {batch} | {measured} | {limit} |")
    return "\n".join(rows)


def _measured(
    method: str, polys: int, batch: int, tower: ImageTower, tiles: Tensor, rounds: int
) -> Iterator[tuple[str, str, str]]:
    module = _module(method, polys, batch)
    optimizer = module.configure_optimizers()[0][0]
    step = partial(_step, module, optimizer, torch.arange(batch))
    peaks = sgemm_runs()
    images = partial(tower, tiles)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are trying to `self.log")  # there is no trainer here to log to
        seconds = interleaved({"step": step, "images": images, **peaks}, rounds)
    peak = 2 * PEAK_SIDE**3 / np.min([seconds[name] for name in peaks], axis=0)
    steps = PLACES // batch
    yield "seconds an epoch", f"{np.median(seconds['step']) * steps:.1f}", "-"
    share = _flops(module, batch) * batch / seconds["step"] / peak
    yield "share of SGEMM peak", f"{np.median(share):.2f}", "≥ 0.35"
    ratio = seconds["step"] / (seconds["step"] + seconds["images"] * batch / TILES)
    yield "kept features / the image tower in each step", f"{np.median(ratio):.2f}", "-"


def _module(method: str, polys: int, batch: int) -> ContrastiveTraining:
    credited = {"credit": "made up", "license": "CC0-1.0"}
    config = Config.model_validate(
        {
            "name": "benchmark",
            "method": method,
            "data": {
                "points": {"count": PLACES},
                "sources": [{"name": "none", "path": "none.tif", "bands": ["none"], **credited}],
            },
            "location_tower": {"encoding": {"kind": "spherical_harmonics", "legendre_polys": polys}},
            "training": {"batch_size": batch, "accelerator": "cpu"},
            "card": {"version": "1", "description": "", "license": "", "limits": ""},
        }
    )
    rng = generator(0, "places")
    lonlat = uniform_places(PLACES, -60, 90, rng)
    features = torch.randn(1, PLACES, 2 * IMAGE_TOWER.filters + 2 * BANDS * len(IMAGE_TOWER.scales), generator=rng)
    rows = torch.arange(PLACES)
    kept = KeptTiles(lonlat, features, torch.zeros(PLACES, 1), rows, rows[:1])
    return ContrastiveTraining(initial_model(config, kept), kept, config, ())


def _step(module: ContrastiveTraining, optimizer: torch.optim.Optimizer, rows: Tensor) -> None:
    optimizer.zero_grad()
    module.training_step(rows, 0).backward()
    optimizer.step()


def _flops(module: ContrastiveTraining, batch: int) -> float:
    """A row's: every matrix that it passes through, forward and backward, and its part of the loss."""
    config, model = module.config, module.model
    nodes = 1 + config.refinement.neighbours
    matrices = {name: p.numel() for name, p in model.named_parameters() if p.ndim == 2}
    location = sum(size for name, size in matrices.items() if name.startswith("location_tower"))
    others = sum(matrices.values()) - location
    towers = FORWARD_AND_BACKWARD * 2 * (nodes * location + others)
    return towers + LOSS_PRODUCTS * 2 * batch * config.location_tower.embedding_dim
