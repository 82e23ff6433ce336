"""The location tower before its first step: what a trained one must beat to have learnt anything."""

from __future__ import annotations

import re

import torch

from trainer.baselines.baseline import Baseline, of_module
from trainer.config import Config
from trainer.errors import BaselineError
from trainer.models.encodings.spherical_harmonics import MAX_LEGENDRE_POLYS
from trainer.models.location_tower import harmonics_tower
from trainer.models.two_tower import untrained as untrained_model
from trainer.seeding import generator


def untrained(asked: str) -> Baseline:
    """`asked` is L10, or L10:3 for the weights that seed 3 draws. Raises BaselineError where it is neither."""
    found = re.fullmatch(r"[lL](\d+)(?::(\d+))?", asked)
    legendre_polys = int(found[1]) if found else 0
    if not found or not 1 <= legendre_polys <= MAX_LEGENDRE_POLYS:
        raise BaselineError(
            f"baseline untrained:{asked}: say untrained:L10 or untrained:L10:SEED, L from 1 to {MAX_LEGENDRE_POLYS}"
        )
    seed = int(found[2] or 0)
    with torch.random.fork_rng(devices=()):
        torch.default_generator.set_state(generator(seed, "location tower").get_state())
        tower = harmonics_tower(legendre_polys=legendre_polys)
    note = f"untrained: spherical harmonics L = {legendre_polys} and a SIREN as seed {seed} draws it"
    return of_module(f"untrained:L{legendre_polys}:{seed}", note, tower)


def untrained_self(config: Config) -> Baseline:
    """What a run of `config` would serve before its first step, with the weights that its own seed draws."""
    features = torch.zeros(1), torch.ones(1)  # the image side has no part in what is served
    seed = config.training.seed
    note = f"untrained: the tower of {config.name} as its seed {seed} draws it"
    return of_module(f"untrained:{config.name}", note, untrained_model(config, *features).served)
