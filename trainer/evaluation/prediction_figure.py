"""What an embedding tells of a task, on maps: the truth, the prediction of held-out blocks, and the error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.data.targets import Classes
from trainer.evaluation.drawing import INHABITED, figure, map_axes
from trainer.evaluation.encoders import Encoder, embeddings_of
from trainer.evaluation.probing import fold_figures
from trainer.evaluation.ridge import ridge_predictions
from trainer.evaluation.tasks import Floats, Integers, Task

COLOURS = 20
STRETCH = (0.02, 0.98)


def prediction_figure(encoder: Encoder, task: Task, out: Path) -> Path:
    """Ridge, every place told from blocks of 10° that it is not in (seed 0). Raises EvaluationError."""
    folds = torch.from_numpy(task.folds("blocks", 0))
    predicted = ridge_predictions(torch.from_numpy(embeddings_of(encoder, task.lonlat)), task.columns, folds)
    ((metric, scores),) = fold_figures(task, predicted, folds).items()
    score = f"{encoder.name}: {metric.replace('R2', 'R²')} {np.mean(scores):.3f} on held-out blocks of 10°"
    with figure(out, 7, 8.4) as drawn:
        axes = drawn.subplots(3, 1)
        if isinstance(task.targets, Classes):
            _draw_classes(axes, task, predicted.argmax(dim=1).numpy())
        else:
            _draw_numbers(drawn, axes, task, predicted[:, 0].numpy())
        for each, title in zip(axes, (f"{task.name}: truth", score, "error"), strict=True):
            map_axes(each, INHABITED, title)
    return out


def _draw_numbers(drawn: Figure, axes: list[Axes], task: Task, predicted: Floats) -> None:
    """Truth and prediction on one scale, that of the truth; the error on one that is even about 0."""
    truth = task.targets.values
    low, high = np.quantile(truth, STRETCH)
    error = predicted - truth
    most = float(np.quantile(np.abs(error), STRETCH[1])) or 1.0
    shown = ((truth, low, high, "viridis"), (predicted, low, high, "viridis"), (error, -most, most, "RdBu_r"))
    for each, (values, least, greatest, colours) in zip(axes, shown, strict=True):
        dots = each.scatter(
            task.lonlat[:, 0], task.lonlat[:, 1], c=values, s=1.5, lw=0, cmap=colours, vmin=least, vmax=greatest
        )
        drawn.colorbar(dots, ax=each, shrink=0.8, aspect=25, extend="both")


def _draw_classes(axes: list[Axes], task: Task, predicted: Integers) -> None:
    """Classes share twenty colours; of the error only what is wrong is shown, in red."""
    truth = task.targets.values
    for each, values in zip(axes[:2], (truth, predicted), strict=True):
        each.scatter(
            task.lonlat[:, 0],
            task.lonlat[:, 1],
            c=values % COLOURS,
            s=1.5,
            lw=0,
            cmap="tab20",
            vmin=0,
            vmax=COLOURS - 1,
        )
    for wrong, colour in ((False, "#dddddd"), (True, "#c0392b")):
        rows = (predicted != truth) == wrong
        axes[2].scatter(
            task.lonlat[rows, 0], task.lonlat[rows, 1], color=colour, s=1.5, lw=0, label="wrong" if wrong else "right"
        )
    axes[2].legend(loc="lower left", markerscale=4)
