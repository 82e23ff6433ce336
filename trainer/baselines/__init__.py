"""Every row of the papers' tables, one a file, opened by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trainer.baselines.baseline import Baseline as Baseline
from trainer.baselines.gps2vec import gps2vec
from trainer.baselines.mosaiks import mosaiks
from trainer.baselines.onehot import onehot
from trainer.baselines.sincos import sincos
from trainer.baselines.sinusoid import sinusoid
from trainer.baselines.untrained import untrained, untrained_self
from trainer.baselines.weights import geoclip, learned
from trainer.checkpoint import read_checkpoint
from trainer.errors import BaselineError

AS_THEY_ARE: dict[str, Callable[[], Baseline]] = {
    "sincos": sincos,
    "onehot": onehot,
    "sinusoid": sinusoid,
    "gps2vec": gps2vec,
    "geoclip": geoclip,
}
"""Rows that need nothing but their name."""

LEARNED = (
    "csp",
    *(f"satclip-{tower}-l{polys}" for tower in ("rn18", "rn50", "vit16") for polys in (10, 40)),
    "satcle",
    "satcle-no-spac",
    "satcle-no-semc",
)
"""Rows that need a file of weights. Those above take one too, and are then a tower trained over the encoding."""


def baseline_names() -> list[str]:
    """As `open_baseline` takes them; capitals stand for what the user gives."""
    needing = [*(f"{name}=FILE" for name in LEARNED), "mosaiks=CONFIG@IMAGERY"]
    return [*AS_THEY_ARE, "untrained:L10", "untrained:L40", "untrained=FILE.ckpt", *needing]


def open_baseline(asked: str) -> Baseline:
    """The row NAME, NAME=FILE with the weights of a file, untrained:L10[:SEED], untrained=FILE.ckpt for what a run
    was before its first step, or mosaiks=CONFIG@IMAGERY.

    Raises BaselineError where there is none of that name or it needs a file, and what reading the file raises.
    """
    name, _, given = asked.partition("=")
    if name == "mosaiks":
        return mosaiks(given)
    if name == "untrained" and given:
        return untrained_self(read_checkpoint(Path(given)).config)
    if name.startswith("untrained:"):
        return untrained(asked.removeprefix("untrained:"))
    if name not in (*AS_THEY_ARE, *LEARNED):
        raise BaselineError(f"there is no baseline {asked}; there are {', '.join(baseline_names())}")
    if given:
        return learned(name, Path(given))
    if name in LEARNED:
        raise BaselineError(
            f"baseline {name} is learned: say {name}=FILE, with published weights or a checkpoint of satcle pretrain"
        )
    return AS_THEY_ARE[name]()
