"""Single flight: equal work that several callers want at one time is done once, and different work in its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from service.errors import Overloaded

T = TypeVar("T")


@dataclass(eq=False)
class _Work(Generic[T]):
    task: asyncio.Task[T]
    waiting: int = 0


class Shared(Generic[T]):
    """What is being done now, by key, on one event loop. Nothing is kept once it is done.

    `at_once` works are under way at a time, the first begun first: where all shared the processors, all would end
    late, and past a deadline all would be lost. At most `at_most` are under way or wait for their turn.
    """

    def __init__(self, at_once: int, at_most: int) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._at_most = at_most
        self._works: dict[Hashable, _Work[T]] = {}

    async def result(self, key: Hashable, begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the work under `key` gives, or raises; `begin` starts it where nobody has.

        It outlives the caller who began it, and is cancelled when the last of those who wait is. Raises Overloaded
        where there is too much to do already.
        """
        work = self._works.get(key)
        if work is None:
            if len(self._works) >= self._at_most:
                raise Overloaded(f"{len(self._works)} are under way or wait for their turn: retry later")
            work = self._works[key] = _Work(asyncio.ensure_future(self._in_turn(begin)))
        work.waiting += 1
        try:
            return await asyncio.shield(work.task)
        finally:
            work.waiting -= 1
            if not work.waiting:
                work.task.cancel()
            if (work.task.done() or not work.waiting) and self._works.get(key) is work:
                del self._works[key]

    async def _in_turn(self, begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async with self._turns:
            return await begin()
