"""A long piece of work as many units in the batcher's bulk lane, few of them under way at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import TypeVar

from service.embedding.batcher import Batcher

SPARE_UNITS = 2
"""Units that wait beside those that run, so that no worker idles."""

T = TypeVar("T")
Call = tuple[int, Callable[[], T]]
"""A unit of work, and of about how many points."""


async def in_order(
    batcher: Batcher, calls: Iterable[Call[T]], deadline: float, *, admitted: bool = False
) -> AsyncGenerator[T, None]:
    """What the calls return, in their order; each waits for the one so many before it to be taken.

    They are refused where the queue has no room for them, unless they go on with what was `admitted` already.
    """
    under_way = batcher.limits.threads + SPARE_UNITS
    room = min(under_way * batcher.limits.batch_points, batcher.limits.queue_points)
    waiting: deque[asyncio.Task[T]] = deque()
    with batcher.reserved(room, admitted=admitted):
        try:
            for points, function in calls:
                waiting.append(asyncio.create_task(batcher.run_reserved(points, function, deadline)))
                if len(waiting) == under_way:
                    yield await waiting.popleft()
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
