"""Arrays in memory of this machine that a device reaches fastest, handed out again and again."""

from __future__ import annotations

import ctypes
import weakref
from collections import defaultdict, deque
from functools import partial
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

KEPT = 8
"""Buffers of one size that are kept for the next array; more are given back."""


class Memory(Protocol):
    """A device's memory, and this machine's beside it; addresses are those of the process."""

    @property
    def device(self) -> str:
        """As ONNX Runtime names it: `cuda`, or `cpu` where there is no other."""
        ...

    @property
    def index(self) -> int:
        """Which of several."""
        ...

    def allocate(self, size: int) -> int:
        """The address of so many bytes of this machine."""
        ...

    def free(self, address: int) -> None: ...

    def upload(self, address: int, values: NDArray[Any]) -> None:
        """Copy contiguous `values` to the device's `address`; done when this returns."""
        ...

    def download(self, into: NDArray[Any], address: int) -> None:
        """Fill contiguous `into` from the device's `address`; done when this returns."""
        ...


class PinnedArrays:
    """To lock memory takes longer than to embed what fits in it, so what nobody holds any more is handed out again."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._free: defaultdict[int, deque[int]] = defaultdict(deque)  # deques: a finalizer may run amid anything
        weakref.finalize(self, _free_all, self._free, memory).atexit = False

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An uninitialised array, whose memory is another's once nobody holds it or a view of it. From any thread."""
        size = prod(shape) * np.dtype(dtype).itemsize
        try:
            address = self._free[size].pop()
        except IndexError:
            address = self._memory.allocate(size)
        buffer = (ctypes.c_byte * size).from_address(address)
        weakref.finalize(buffer, partial(self._give_back, size, address)).atexit = False
        array: NDArray[Any] = np.frombuffer(memoryview(buffer), np.dtype(dtype))
        return array.reshape(shape)

    def _give_back(self, size: int, address: int) -> None:
        if len(self._free[size]) < KEPT:
            self._free[size].append(address)
        else:
            self._memory.free(address)


def _free_all(free: dict[int, deque[int]], memory: Memory) -> None:
    for addresses in free.values():
        while addresses:
            memory.free(addresses.pop())
