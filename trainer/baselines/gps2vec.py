"""GPS2Vec's soft encoding of a place within its UTM zone (Yin et al. 2019), without the networks learned over it."""

from __future__ import annotations

from trainer.baselines.baseline import Baseline, of_module
from trainer.models.encodings.utm import UtmSoft


def gps2vec() -> Baseline:
    note = "GPS2Vec's soft UTM encoding alone, zone and 20 x 20 cells; nothing is learned"
    return of_module("gps2vec", note, UtmSoft())
