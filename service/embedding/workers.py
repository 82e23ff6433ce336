"""Threads that run one call after another for the event loop."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread, get_native_id
from typing import TypeVar

T = TypeVar("T")


class Workers:
    """Daemon threads: one that hangs holds up neither `close` nor, as an executor's would, the end of the process.

    Each adds `niceness` to its own, so that where all cores compute whoever is less nice still has its turn at once.
    """

    def __init__(self, threads: int, name: str, niceness: int = 0) -> None:
        self._niceness = niceness
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = [Thread(target=self._work, name=f"{name}-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def run(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Call `function` in the first thread that is free; where the result is given up, it is dropped."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        self._calls.put(partial(_call, function, result, loop))
        return result

    def close(self) -> None:
        """End each thread after what it runs; do not wait for that."""
        for _ in self._threads:
            self._calls.put(None)

    def _work(self) -> None:
        if sys.platform == "linux":  # where a thread has a priority of its own
            thread = get_native_id()
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + self._niceness)
        while call := self._calls.get():
            call()
            del call  # and with it all that it holds, while this thread waits


def _call(function: Callable[[], T], result: asyncio.Future[T], loop: asyncio.AbstractEventLoop) -> None:
    if result.cancelled():
        return
    try:
        settle = partial(result.set_result, function())
    except BaseException as error:  # whatever it is, whoever waits must learn of it
        settle = partial(result.set_exception, error)
    with suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(_settle, result, settle)


def _settle(result: asyncio.Future[T], settle: Callable[[], None]) -> None:
    if not result.done():
        settle()
