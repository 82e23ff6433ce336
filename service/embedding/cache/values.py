"""How a row is written under a key of a store that others may write to as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import compress
from time import time

import numpy as np
from numpy.typing import NDArray

from service.embedding.backends.base import Rows
from service.embedding.cache.base import GOLDEN
from service.embedding.cells import Cells

Words = NDArray[np.uint64]
WORD = np.dtype("<u8")
HALF_WORD = np.uint64(32)


@dataclass
class Values:
    """Keys and values of the rows of one namespace.

    A key is the namespace and the cell. A value is 8 bytes of check and the row, float32, padded to whole words;
    the check depends on namespace, cell and row, so a value that was mixed up, cut or written by another is told.

    Rows that may live `ttl_s` seconds are not given an expiry each, which would cost a command each. Their
    key holds the number of the period instead, and the periods of different cells begin at different times, so
    that they do not end all at once; nobody asks for a past period, and the store evicts what nobody asks for.
    """

    namespace: str
    embedding_dim: int
    ttl_s: int | None = None
    now: Callable[[], float] = time
    _multipliers: Words = field(init=False)
    _seed: np.uint64 = field(init=False)

    def __post_init__(self) -> None:
        words = (self.embedding_dim + 1) // 2
        self._multipliers = np.multiply.accumulate(np.full(words, GOLDEN))
        self._seed = np.frombuffer(blake2b(self.namespace.encode(), digest_size=8).digest(), WORD)[0]

    @property
    def value_bytes(self) -> int:
        return 8 * (1 + len(self._multipliers))

    def keys(self, cells: Cells) -> list[bytes]:
        prefix = self.namespace.encode()
        if self.ttl_s is None:
            return [b"%b:%x" % (prefix, cell) for cell in cells.tolist()]
        return [b"%b:%x:%x" % (prefix, *key) for key in zip(self._periods(cells), cells.tolist(), strict=True)]

    def encode(self, cells: Cells, rows: Rows) -> list[bytes]:
        """The value of each row of shape (n, embedding_dim)."""
        values = np.zeros((len(cells), 1 + len(self._multipliers)), WORD)
        values[:, 1:].view("<f4")[:, : self.embedding_dim] = rows
        values[:, 0] = self._checks(cells, values[:, 1:])
        written, size = values.tobytes(), self.value_bytes
        return [written[start : start + size] for start in range(0, len(written), size)]

    def decode(self, cells: Cells, values: Sequence[object]) -> tuple[Rows, NDArray[np.bool_]]:
        """The rows of the values that are sound, and the mask of which cells they are of.

        Raises ValueError where there is not one value a cell.
        """
        if len(values) != len(cells):
            raise ValueError(f"{len(values)} values for {len(cells)} keys")
        size = self.value_bytes
        whole = [isinstance(value, bytes) and len(value) == size for value in values]
        sound = np.array(whole, np.bool_)
        words = np.frombuffer(b"".join(compress(values, whole)), WORD).reshape(-1, 1 + len(self._multipliers))  # type: ignore[arg-type]
        right = words[:, 0] == self._checks(cells[sound], words[:, 1:])
        sound[sound] = right
        return words[right, 1:].view("<f4")[:, : self.embedding_dim], sound

    def _checks(self, cells: Cells, words: Words) -> Words:
        sums: Words = np.einsum("ij,j->i", words, self._multipliers)
        return sums ^ (cells * GOLDEN) ^ self._seed

    def _periods(self, cells: Cells) -> list[int]:
        assert self.ttl_s is not None
        phases = (cells * GOLDEN >> HALF_WORD) % np.uint64(self.ttl_s)
        return ((np.uint64(self.now()) + phases) // np.uint64(self.ttl_s)).tolist()  # type: ignore[no-any-return]
