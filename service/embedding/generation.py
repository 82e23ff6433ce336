"""How often the models were loaded anew, by whichever of the worker processes."""

from __future__ import annotations

from multiprocessing import get_context


class Generation:
    """A number in memory that processes share: 0 until one of them has its models, and one more with each reload."""

    def __init__(self) -> None:
        self._number = get_context("spawn").Value("Q", 0)

    def begin(self) -> None:
        """The models were loaded."""
        with self._number.get_lock():
            self._number.value = max(1, self._number.value)

    @property
    def number(self) -> int:
        """To look at it costs next to nothing."""
        return int(self._number.get_obj().value)

    def advance(self) -> int:
        """The next number, which is nobody else's."""
        with self._number.get_lock():
            self._number.value += 1
            return int(self._number.value)
