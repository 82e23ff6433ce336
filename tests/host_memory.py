"""A GPU's memory where there is no GPU: sessions run on the CPU, and everything around them as on a GPU."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray


class HostMemory:
    """Stands for `CudaMemory`."""

    device = "cpu"
    index = 0

    def __init__(self) -> None:
        self.allocated: dict[int, NDArray[np.uint8]] = {}
        self.downloaded_bytes = 0

    def allocate(self, size: int) -> int:
        held = np.full(size, 255, np.uint8)  # float32's NaN
        self.allocated[held.ctypes.data] = held
        return held.ctypes.data

    def free(self, address: int) -> None:
        del self.allocated[address]

    def upload(self, address: int, values: NDArray[Any]) -> None:
        ctypes.memmove(address, values.ctypes.data, values.nbytes)

    def download(self, into: NDArray[Any], address: int) -> None:
        self.downloaded_bytes += into.nbytes
        ctypes.memmove(into.ctypes.data, address, into.nbytes)
