"""Sines and cosines of lon and lat: the least that a learned encoder must beat."""

from __future__ import annotations

from trainer.baselines.baseline import Baseline, of_module
from trainer.models.encodings.plain import wrap


def sincos() -> Baseline:
    return of_module("sincos", "cos and sin of lon and lat; nothing is learned", wrap())
