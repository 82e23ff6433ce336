"""Batches on a GPU: padded to few sizes, whose inputs and outputs stay where they are on the device.

A device works for its few shapes without planning, allocating or choosing kernels anew, and may replay a recorded graph
of them. The embeddings are copied once, to page-locked memory of this machine, which is what the caller gets.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from threading import Semaphore
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.embedding.backends.base import Rows
from service.embedding.backends.pinned import Memory, PinnedArrays

SMALLEST = 128
"""What a GPU does in no less time for fewer."""


class Bound(Protocol):
    """A session whose input and output, of one batch size, are bound to memory of the device."""

    given: int
    """Address of float64 (size, 2)."""
    made: int
    """Address of float32 (size, embedding_dim)."""

    def run(self) -> None:
        """Compute `made`; done when this returns."""
        ...


Bind = Callable[[int, int], Bound]
"""From a batch size, and a number that no other binding of the session has."""


def sizes_up_to(largest: int) -> list[int]:
    """The batch sizes that are run: powers of two from SMALLEST, and `largest` itself."""
    powers = [SMALLEST << power for power in range(largest.bit_length())]
    return [*(size for size in powers if size < largest), largest]


class PaddedBatches:
    """Embeds batches of any size; many threads call it, of which `at_once` are on the device."""

    def __init__(self, bind: Bind, memory: Memory, embedding_dim: int, largest: int, at_once: int) -> None:
        self._bind = bind
        self._memory = memory
        self._embedding_dim = embedding_dim
        self._sizes = sizes_up_to(largest)
        self._turn = Semaphore(at_once)
        self._at_once = at_once
        self._arrays = PinnedArrays(memory)
        self._idle: defaultdict[int, deque[tuple[Bound, NDArray[np.float64]]]] = defaultdict(deque)
        self._numbers = count(1)

    def embed(self, places: NDArray[np.float64]) -> Rows:
        """float64 (n, 2) → float32 (n, embedding_dim)."""
        largest = self._sizes[-1]
        if len(places) <= largest:
            rows = self._empty(len(places))
            self._embed_batch(places, rows)
            return rows
        rows = np.empty((len(places), self._embedding_dim), np.float32)
        for start in range(0, len(places), largest):
            batch = slice(start, start + largest)
            rows[batch] = self.embed(places[batch])
        return rows

    def warm_up(self) -> None:
        """Run every size, on each of the bindings that may be in use at once."""
        for size in self._sizes:
            held = [self._take(size) for _ in range(self._at_once)]
            for bound, _ in held:
                for _ in range(2):  # where graphs are recorded, the second run is the first that replays
                    bound.run()
            self._idle[size].extend(held)

    def _embed_batch(self, places: NDArray[np.float64], rows: Rows) -> None:
        if len(places) == 0:
            return
        with self._bound(next(size for size in self._sizes if size >= len(places))) as (bound, padded):
            padded[: len(places)] = places
            padded[len(places) :] = 0
            self._memory.upload(bound.given, padded)
            bound.run()
            self._memory.download(rows, bound.made)

    def _empty(self, places: int) -> Rows:
        """Of the memory for a whole batch, so that there are few sizes of that too."""
        size = next(size for size in self._sizes if size >= places)
        rows: NDArray[Any] = self._arrays.empty((size, self._embedding_dim), np.float32)
        return rows[:places]

    @contextmanager
    def _bound(self, size: int) -> Iterator[tuple[Bound, NDArray[np.float64]]]:
        """A binding, and the page-locked array from which its input is copied, for one thread at a time."""
        with self._turn:
            taken = self._take(size)
            try:
                yield taken
            finally:
                self._idle[size].append(taken)

    def _take(self, size: int) -> tuple[Bound, NDArray[np.float64]]:
        try:
            return self._idle[size].pop()
        except IndexError:
            return self._bind(size, next(self._numbers)), self._arrays.empty((size, 2), np.float64)
