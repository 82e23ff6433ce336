"""What the pictures of encoders share: a sober style, maps of the world, and how they are written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.bundle import CoordinateError, LonLat
from trainer.data.land import land
from trainer.errors import EvaluationError

STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "legend.frameon": False,
}
WORLD = (-180.0, -90.0, 180.0, 90.0)
INHABITED = (-180.0, -60.0, 180.0, 84.0)
COAST = "#777777"
COAST_COLUMNS = 1080
Bbox = tuple[float, float, float, float]
Floats = NDArray[np.float64]


@contextmanager
def figure(out: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure of so many inches, written to `out` by its ending. Raises EvaluationError where it cannot be."""
    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(width, height), dpi=200, layout="constrained")
        yield drawn
        try:
            drawn.savefig(out)
        except (OSError, ValueError) as error:
            raise EvaluationError(f"--out {out} cannot be written: {' '.join(str(error).split())}") from error


def map_axes(axes: Axes, box: Bbox, title: str = "") -> None:
    """Plate carrée with coasts and sparse degrees."""
    west, south, east, north = box
    places, shape = grid(box, COAST_COLUMNS)
    on_land = land().has_data(torch.from_numpy(places)).numpy().reshape(shape)
    lonlat = places.reshape(*shape, 2)
    axes.contour(lonlat[0, :, 0], lonlat[:, 0, 1], on_land, levels=[0.5], colors=COAST, linewidths=0.3)
    axes.set_xlim(west, east)
    axes.set_ylim(south, north)
    axes.set_aspect("equal")
    axes.spines[["top", "right"]].set_visible(True)
    axes.xaxis.set_major_formatter("{x:g}°")
    axes.yaxis.set_major_formatter("{x:g}°")
    axes.locator_params(nbins=5, steps=[1, 1.5, 3, 5, 6, 9, 10])
    axes.set_title(title)


def grid(box: Bbox, columns: int) -> tuple[Floats, tuple[int, int]]:
    """The pixel centres of a map, row 0 north: (rows · columns, 2) degrees, and (rows, columns)."""
    west, south, east, north = box
    step = (east - west) / columns
    rows = max(1, round((north - south) / step))
    lon = west + (np.arange(columns) + 0.5) * step
    lat = north - (np.arange(rows) + 0.5) * (north - south) / rows
    return np.stack(np.meshgrid(lon, lat), axis=-1).reshape(-1, 2), (rows, columns)


def extent(box: Bbox) -> tuple[float, float, float, float]:
    """As imshow takes it."""
    west, south, east, north = box
    return west, east, south, north


def read_numbers(asked: str, option: str, names: tuple[str, ...]) -> tuple[float, ...]:
    """ "116.4,39.9" → (116.4, 39.9). Raises EvaluationError."""
    try:
        numbers = tuple(float(part) for part in asked.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != len(names) or not np.isfinite(numbers).all():
        raise EvaluationError(f"{option} {asked}: give {','.join(names)} in degrees")
    return numbers


def read_place(asked: str, option: str) -> tuple[float, float]:
    """lon, lat. Raises EvaluationError where they are no place."""
    try:
        place = LonLat.from_degrees([read_numbers(asked, option, ("LON", "LAT"))]).degrees[0]
    except CoordinateError as error:
        raise EvaluationError(f"{option} {asked}: {error.problems[0].message}") from error
    return float(place[0]), float(place[1])


def read_box(asked: str) -> Bbox:
    """Raises EvaluationError unless it is W,S,E,N in that order of size."""
    west, south, east, north = read_numbers(asked, "--bbox", ("W", "S", "E", "N"))
    if not (west < east and south < north and south >= -90 and north <= 90):
        raise EvaluationError(f"--bbox {asked}: west is below east, and south below north, within ±90")
    return west, south, east, north
