"""What waits in the lanes of a model, and the batches that are made of it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from service.bundle import LonLat
from service.embedding.backends.base import Backend, Rows, embed_checked
from service.embedding.timing import Timing
from service.errors import BackendFailed


@dataclass(eq=False)
class Job:
    """One call: its places, the rows as they come in, and how far both have got."""

    lonlat: LonLat
    rows: Rows
    answer: asyncio.Future[Rows]
    queued_at: float
    timing: Timing
    batched_at: float = 0.0
    batched: int = 0
    finished: int = 0

    @property
    def waiting(self) -> int:
        return len(self.lonlat) - self.batched


@dataclass(eq=False)
class Unit:
    """One call of `function`, which takes about as long as embedding so many points."""

    points: int
    function: Callable[[], Any]
    answer: asyncio.Future[Any]
    queued_at: float


Lane = OrderedDict[Job | Unit, None]
"""An ordered set: first and any other leave it at once."""


@dataclass(eq=False)
class Part:
    """The rows of one job, `start` to `stop`, that go into one batch, and why they failed if they did."""

    job: Job
    start: int
    stop: int
    error: BackendFailed | None = None

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def lonlat(self) -> LonLat:
        return self.job.lonlat[self.start : self.stop]


def embed_parts(backend: Backend, parts: Sequence[Part], timed: Callable[[], AbstractContextManager[object]]) -> None:
    """In a worker thread: embed the parts, and where that fails each half of them, so that only culprits fail."""
    parts = [part for part in parts if not part.job.answer.done()]  # whose caller has left meanwhile costs nothing
    if not parts:
        return
    try:
        with timed():
            rows = embed_checked(backend, _concatenate(parts))
    except BackendFailed as error:
        if len(parts) == 1:
            parts[0].error = error
        else:
            embed_parts(backend, parts[: len(parts) // 2], timed)
            embed_parts(backend, parts[len(parts) // 2 :], timed)
        return
    start = 0
    for part in parts:
        part.job.rows[part.start : part.stop] = rows[start : start + len(part)]
        start += len(part)


def _concatenate(parts: Sequence[Part]) -> LonLat:
    if len(parts) == 1:
        return parts[0].lonlat
    return LonLat.concatenate([part.lonlat for part in parts])
