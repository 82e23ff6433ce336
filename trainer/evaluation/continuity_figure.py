"""How continuous encoders are, side by side: distributions as curves, quantiles as CSV and as Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from trainer.errors import EvaluationError
from trainer.evaluation.continuity import ON_LAND, Change
from trainer.evaluation.drawing import figure

STEP_KM = 1.0
"""The step whose distributions are drawn and tabled."""
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
MEASURES = ("distance", "cosine")
COLOURS = ("#20435c", "#d8a31a", "#a33b2e", "#4d8f6f", "#8a6bb1", "#777777", "#c56aa0", "#5b7fa6")
CURVE = np.linspace(0.001, 1, 1000)
LEAST = 1e-6
"""Where a logarithmic axis ends; what changes less, or not at all, is drawn there."""


def continuity_figure(changes: Sequence[Change], out: Path) -> Path:
    """The distribution of the change over STEP_KM for every kind of starts, and how the change grows with the step.

    Raises EvaluationError.
    """
    kinds, encoders = _names(changes)
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(encoders)}
    with figure(out, 2.5 * (len(kinds) + 1), 2.9) as drawn:
        panels = drawn.subplots(1, len(kinds) + 1)
        shown = [change for change in changes if change.step_km == STEP_KM]
        for axes, kind in zip(panels, kinds, strict=False):
            _distributions(axes, [change for change in shown if change.starts == kind], colours)
            axes.set_title(f"{STEP_KM:g} km, {kind}")
            axes.sharex(panels[0])
        panels[0].set_ylabel("share of steps that change less")
        land = [change for change in changes if change.starts == ON_LAND]
        _growth(panels[-1], land, colours)
        drawn.supxlabel("change, in units of the typical distance of two places on land", fontsize=8)
        drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=min(6, len(encoders)))
    return out


def write_continuity(changes: Sequence[Change], settings: Mapping[str, object], out: Path) -> None:
    """Beside the picture `out`, the same name with .csv and .md. Raises EvaluationError."""
    try:
        out.with_suffix(".csv").write_text(as_csv(changes), encoding="utf-8", newline="")
        out.with_suffix(".md").write_text("\n".join(_markdown(changes, settings)) + "\n", encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"--out {out} cannot be written: {error.strerror}") from error


def as_csv(changes: Sequence[Change]) -> str:
    """A line for each encoder, kind of starts, step and measure: mean, quantiles, largest."""
    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\n")
    heads = [f"{100 * q:g} %" for q in QUANTILES]
    lines.writerow(["encoder", "starts", "step km", "measure", "steps", "mean", *heads, "largest"])
    for change in changes:
        for measure in MEASURES:
            values: NDArray[np.float64] = getattr(change, measure)
            told = [values.mean(), *np.quantile(values, QUANTILES), values.max()]
            where = [change.encoder, change.starts, f"{change.step_km:g}", measure, len(values)]
            lines.writerow([*where, *(f"{value:.6g}" for value in told)])
    return written.getvalue()


def _distributions(axes: Axes, changes: Sequence[Change], colours: Mapping[str, str]) -> None:
    for change in changes:
        values = np.quantile(change.distance, CURVE).clip(LEAST)
        axes.plot(values, CURVE, color=colours[change.encoder], lw=1, label=change.encoder)
    axes.set(xscale="log", ylim=(0, 1))


def _growth(axes: Axes, changes: Sequence[Change], colours: Mapping[str, str]) -> None:
    """The median over the step, with the middle 90 %."""
    for name, colour in colours.items():
        own = sorted((change for change in changes if change.encoder == name), key=lambda change: change.step_km)
        steps = [change.step_km for change in own]
        low, middle, high = np.quantile([change.distance for change in own], (0.05, 0.5, 0.95), axis=1).clip(LEAST)
        axes.plot(steps, middle, color=colour, lw=1)
        axes.fill_between(steps, low, high, color=colour, alpha=0.15, lw=0)
    axes.set(xscale="log", yscale="log", xlabel="step, km", title=f"median and middle 90 %, {ON_LAND}")


def _markdown(changes: Sequence[Change], settings: Mapping[str, object]) -> Iterator[str]:
    yield f"# Change of the embedding over {STEP_KM:g} km\n"
    yield "Distance in units of the root mean square distance of two random places on land; 1 - cosine beside it.\n"
    yield "| encoder | starts | distance: median | 99 % | largest | 1 - cosine: median | 99 % | largest |"
    yield "|---|---|" + "---:|" * 6
    for change in changes:
        if change.step_km == STEP_KM:
            told = [f"{v:.2e}" for m in MEASURES for v in _summary(getattr(change, m))]
            yield f"| {change.encoder} | {change.starts} | {' | '.join(told)} |"
    yield "\n" + "; ".join(f"{name}: {value}" for name, value in settings.items()) + "."


def _summary(values: NDArray[np.float64]) -> tuple[float, float, float]:
    middle, high = np.quantile(values, (0.5, 0.99))
    return float(middle), float(high), float(values.max())


def _names(changes: Sequence[Change]) -> tuple[list[str], list[str]]:
    kinds = dict.fromkeys(change.starts for change in changes)
    return list(kinds), list(dict.fromkeys(change.encoder for change in changes))
