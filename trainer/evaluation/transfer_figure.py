"""Two encoders compared by continent, from a leaderboard with the transfer probe (SatCLE, figure 7)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainer.errors import EvaluationError
from trainer.evaluation.drawing import figure
from trainer.evaluation.leaderboard import LOWER_IS_BETTER
from trainer.evaluation.report import CSV

SHOWN = ("MSE", "accuracy")
GAIN, LOSS = "#d8a31a", "#5b7fa6"


def transfer_figure(folder: Path, encoders: Sequence[str], out: Path) -> Path:
    """By continent and task, how much better the first encoder is than the second, in the metric's own unit.

    Raises EvaluationError where the leaderboard lacks either, or the transfer probe.
    """
    better, worse = _pair(folder, encoders)
    names = [tuple(column.split(" | ")) for column in better if " | transfer | " in column and not column.endswith("±")]
    chosen = [name for name in names if name[3] in SHOWN]
    if not chosen:
        raise EvaluationError(f"{folder} has no transfer figures; make them by satcle evaluate --probes transfer")
    continents = list(dict.fromkeys(name[2] for name in chosen))
    with figure(out, 2.6 * len(continents) + 1.2, 0.32 * len({n[0] for n in chosen}) + 1.4) as drawn:
        for axes, continent in zip(
            drawn.subplots(1, len(continents), squeeze=False, sharey=True)[0], continents, strict=True
        ):
            here = [name for name in chosen if name[2] == continent]
            gains = [_gain(better, worse, name) for name in here]
            axes.barh([f"{n[0]} ({n[3]})" for n in here], gains, color=np.where(np.array(gains) >= 0, GAIN, LOSS))
            axes.axvline(0, color="black", lw=0.6)
            axes.set_title(continent)
        drawn.supxlabel(f"gain of {better['encoder']} over {worse['encoder']} (lower MSE, higher accuracy)", fontsize=8)
    return out


def _pair(folder: Path, encoders: Sequence[str]) -> list[dict[str, str]]:
    try:
        with (folder / CSV).open(encoding="utf-8", newline="") as file:
            rows = {row["encoder"]: row for row in csv.DictReader(file)}
    except (OSError, KeyError) as error:
        raise EvaluationError(f"{folder} holds no {CSV} of satcle evaluate") from error
    wanted = list(encoders) or list(rows)[:2]
    if unknown := [name for name in wanted if name not in rows]:
        raise EvaluationError(f"{folder / CSV} has no row {unknown[0]!r}; it has {', '.join(rows)}")
    if len(wanted) != 2:
        raise EvaluationError(f"name two rows of {folder / CSV} to compare: --encoders A,B")
    return [rows[name] for name in wanted]


def _gain(better: dict[str, str], worse: dict[str, str], name: tuple[str, ...]) -> float:
    column = " | ".join(name)
    difference = float(better[column]) - float(worse[column])
    return -difference if name[3] in LOWER_IS_BETTER else difference
