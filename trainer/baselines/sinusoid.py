"""Sinusoid: Space2Vec's grid encoding of a place (SatCLE §4.1.3), without the network that Space2Vec learns over it."""

from __future__ import annotations

from trainer.baselines.baseline import Baseline, of_module
from trainer.models.encodings.space2vec import grid

FREQUENCIES, MIN_RADIUS, MAX_RADIUS = 16, 1.0, 360.0
"""The published SatCLIP code's scales, in degrees."""


def sinusoid() -> Baseline:
    note = (
        f"Space2Vec's grid encoding alone, {FREQUENCIES} scales from {MIN_RADIUS:g} to {MAX_RADIUS:g}; nothing learned"
    )
    return of_module("sinusoid", note, grid(FREQUENCIES, MIN_RADIUS, MAX_RADIUS))
