"""OneHot: the UTM zone of a place (SatCLE §4.1.3, after GPS2Vec). The probe learns all there is to learn."""

from __future__ import annotations

from trainer.baselines.baseline import Baseline, of_module
from trainer.models.encodings.utm import UtmOneHot


def onehot() -> Baseline:
    return of_module("onehot", "the UTM zone, one-hot, the encoding alone; nothing is learned", UtmOneHot())
