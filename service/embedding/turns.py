"""The workers, and whose turn it is: they are shared fairly by the queues of all models.

A turn is one batch or one unit. The queues in which something waits have their turns one after the other, so that of
two that always have work each has every other turn, and one alone has all; which of its lanes has a queue's turn is
the queue's own business. While bulk keeps the workers busy, one more worker serves the interactive lanes alone, so
that a single place waits for no batch of a large call.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any, Protocol

from service.embedding.jobs import Job, Unit
from service.embedding.workers import Workers

NICENESS, BULK_NICENESS = 1, 10
"""Of the workers of each lane. The event loop comes first, and bulk last."""


@dataclass(eq=False)
class Turn:
    """A batch or a unit: `function` is what a worker does, and `finish` is told on the event loop when it has."""

    points: int
    bulk: bool
    jobs: Sequence[Job | Unit]
    function: Callable[[], object]
    finish: Callable[[Turn], None]
    started_at: float = 0.0
    done: asyncio.Future[Any] = field(init=False)


class Queue(Protocol):
    """What waits for one model."""

    def next_turn(self, *, interactive_only: bool) -> Turn | None:
        """Take off the queue what is next; None where there is nothing."""
        ...

    def __len__(self) -> int:
        """How many calls wait."""
        ...


class Turns:
    """`threads` turns run at once. Used from the event loop only, so it needs no lock."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._workers = Workers(threads, "satcle", NICENESS)
        self._bulk_workers = Workers(threads, "satcle-bulk", BULK_NICENESS)
        self._waiting: OrderedDict[Queue, None] = OrderedDict()
        self._running: list[Turn] = []

    def wait(self, queue: Queue) -> None:
        """Something waits in the queue; it has its turn after every call that this turn of the loop brings."""
        self._waiting.setdefault(queue)
        asyncio.get_running_loop().call_soon(self.dispatch)

    def dispatch(self) -> None:
        """Give each worker that is free what is next."""
        while (turn := self._next()) is not None:
            turn.started_at = perf_counter()
            self._running.append(turn)
            workers = self._bulk_workers if turn.bulk else self._workers
            turn.done = workers.run(turn.function)
            turn.done.add_done_callback(partial(self._end, turn))

    def hanging(self, hung_s: float) -> int:
        """How many turns have run for longer than that."""
        now = perf_counter()
        return sum(now - turn.started_at > hung_s for turn in self._running)

    def close(self) -> None:
        """End each worker after what it does; do not wait for that."""
        self._workers.close()
        self._bulk_workers.close()

    def _next(self) -> Turn | None:
        busy = len(self._running)
        free = busy < self.threads
        express = busy == self.threads and any(turn.bulk for turn in self._running)
        if not (free or express):
            return None
        for queue in list(self._waiting):
            if not len(queue):
                del self._waiting[queue]
            elif (turn := queue.next_turn(interactive_only=not free)) is not None:
                self._waiting.move_to_end(queue)
                return turn
        return None

    def _end(self, turn: Turn, done: asyncio.Future[Any]) -> None:
        self._running.remove(turn)
        turn.finish(turn)
        self.dispatch()
