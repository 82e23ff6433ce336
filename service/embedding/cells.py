"""H3 cells as uint64 arrays. The only module that imports h3, and the only one where (lat, lng) is spoken."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import repeat

import h3.api.basic_int as h3
import numpy as np
from h3._cy import cell_to_latlng, latlng_to_cell  # as in h3.api, without a layer of Python that costs a third
from numpy.typing import NDArray

from service.bundle import LonLat

Cells = NDArray[np.uint64]
AT_ONCE = 128
"""H3 holds the interpreter: for about 50 us, then whoever waits for it has a turn."""
HEXADECIMAL = re.compile(r"[0-9a-fA-F]{1,16}")


def cells_of(lonlat: LonLat, resolution: int) -> Cells:
    """The cell at `resolution` (0 to 15) that holds each place, uint64, shape (n,)."""
    cells = np.empty(len(lonlat), np.uint64)
    for start in range(0, len(cells), AT_ONCE):
        lon, lat = lonlat.degrees[start : start + AT_ONCE].T.tolist()
        cells[start : start + AT_ONCE] = list(map(latlng_to_cell, lat, lon, repeat(resolution)))
    return cells


def centres_of(cells: Cells) -> LonLat:
    """The centre of each cell; every cell must be valid."""
    latlng = np.empty((len(cells), 2))
    for start in range(0, len(cells), AT_ONCE):
        piece = slice(start, start + AT_ONCE)
        latlng[piece] = list(map(cell_to_latlng, cells[piece].tolist()))
    return LonLat.from_degrees(latlng[:, ::-1])


def first_invalid(cells: Cells) -> int | None:
    """The row of the first cell that is no H3 cell, or None."""
    return next((row for row, cell in enumerate(cells.tolist()) if not h3.is_valid_cell(cell)), None)


def parse_cell(text: str) -> int | None:
    """The cell written as hexadecimal text (as `8c2a1072b59ffff`), or None where it is not one."""
    if not HEXADECIMAL.fullmatch(text):
        return None
    cell = int(text, 16)
    return cell if h3.is_valid_cell(cell) else None


def cell_strings(cells: Cells) -> Sequence[str]:
    return [f"{cell:x}" for cell in cells.tolist()]


def coarsest_cells() -> Cells:
    """The 122 cells of resolution 0, which cover the sphere."""
    return np.array(h3.get_res0_cells(), np.uint64)


def children_of(cell: int, resolution: int) -> Cells:
    """The cells of a finer resolution that descend from `cell`: each cell descends from one of each coarser."""
    return np.array(h3.cell_to_children(cell, resolution), np.uint64)


def resolution_of(cell: int) -> int:
    return h3.get_resolution(cell)  # type: ignore[no-any-return]


def outline_of(cell: int) -> NDArray[np.float64]:
    """The corners of the cell, counterclockwise, 5 to 10 of them: lon and lat in degrees, (n, 2)."""
    return np.array(h3.cell_to_boundary(cell), np.float64)[:, ::-1]


def number_of_cells(resolution: int) -> int:
    """On the whole sphere."""
    return h3.get_num_cells(resolution)  # type: ignore[no-any-return]
