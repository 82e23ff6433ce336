"""Which continent a place belongs to, by outlines that run through the sea and cut the land only where continents meet.

Those lines are Suez, Panama and Colombia's border, the 141st meridian on New Guinea, and from the Urals by the Ural
river, the crest of the Caucasus and the Bosporus. Right to some tens of kilometres there; every place of land or coast
elsewhere is on its own side. Hawaii is Oceania's, Greenland North America's.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.data.polygons import Areas, read_areas

OUTLINES = "continents.geojson"
FEW_SHOT = ("North America", "Africa", "Oceania")
"""Those of the paper's transfer study (SatCLE, table 1)."""


def continents(lonlat: NDArray[np.float64]) -> NDArray[np.str_]:
    """(n, 2) degrees → (n,) names, empty on the open ocean."""
    areas = _outlines()
    numbers = areas.raster.pixels(torch.from_numpy(lonlat))[:, 0].tolist()
    return np.array([areas.labels.get(number, "") for number in numbers])


@cache
def _outlines() -> Areas:
    with resources.as_file(resources.files("trainer.evaluation") / OUTLINES) as path:
        return read_areas(Path(path), "name")
