"""Where there is land: Natural Earth's 1:10m land, as a mask of cells of one minute of arc.

`land.npz` is made from world-atlas 2 (npm), whose licence is ISC and whose data is in the public domain:

    satcle data land-mask service/web/source/node_modules/world-atlas/land-10m.json --out service/geography/land.npz

It says other than the polygons at 0.07 % of places, all of them at a coast. Lakes and the Caspian Sea are land, as
Natural Earth has them; ice shelves are sea.
"""

from __future__ import annotations

from importlib import resources
from typing import IO

import numpy as np
from numpy.typing import NDArray

FILE = "land.npz"


class Land:
    """The mask. Its cells are counted row after row from the north, each row from the west."""

    def __init__(self, shape: tuple[int, int], turns: NDArray[np.int32]) -> None:
        """`turns` are the cells that differ from the one before, in order; before the first there is sea."""
        self._rows, self._columns = shape
        self._turns = turns

    @classmethod
    def read(cls, file: IO[bytes]) -> Land:
        """The mask as `satcle data land-mask` writes it."""
        with np.load(file) as stored:
            rows, columns = stored["shape"].tolist()
            steps = np.ascontiguousarray(stored["planes"].T).view("<u4").reshape(-1)
        return cls((rows, columns), np.cumsum(steps, dtype=np.int64).astype(np.int32))

    def holds(self, degrees: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each place is on land, (n,), of lon and lat (n, 2): lon within ±180, lat within ±90."""
        column = np.minimum((degrees[:, 0] + 180) * (self._columns / 360), self._columns - 1).astype(np.int32)
        row = np.minimum((90 - degrees[:, 1]) * (self._rows / 180), self._rows - 1).astype(np.int32)
        turned = np.searchsorted(self._turns, row * np.int32(self._columns) + column, side="right")
        return np.asarray(turned % 2 == 1)


def read_land() -> Land:
    """The mask that ships with satcle; about 10 ms and 1 MB."""
    with (resources.files(__package__) / FILE).open("rb") as file:
        return Land.read(file)
