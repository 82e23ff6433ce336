"""Many callers, one backend: calls become batches, bounded in points, without a timer.

Whatever waits while the backend is busy goes into the next batch, so batches grow with the load and a
lone call never waits for company. What waits is in two lanes (`Lanes`), and has its turn among that of other models
(`Turns`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import TypeVar

import numpy as np

from service.bundle import LonLat
from service.embedding.backends.base import Backend, Rows
from service.embedding.jobs import Job, Part, Unit, embed_parts
from service.embedding.lanes import Lanes, Queued
from service.embedding.timing import Stage, Timing
from service.embedding.turns import Turn, Turns
from service.embedding.worth import Recent
from service.errors import BackendFailed, DeadlineExceeded, NotReady, Overloaded, ServiceError
from service.metrics import Metrics

CLOSE_S = 5.0
PROBE_S = 5.0
MAX_RETRY_AFTER_S = 60

T = TypeVar("T")


@dataclass
class BatchLimits:
    """`threads` batches of at most `batch_points` run at once; at most `queue_points` wait.

    A batch that runs longer than `hung_s` is held to hang.
    """

    batch_points: int
    queue_points: int
    threads: int
    hung_s: float = 30.0


@dataclass(eq=False)
class Batcher:
    """Coalesces calls into batches. Everything but the backend runs on the event loop, so there is no lock.

    `turns` are those of all models that share the workers; None: this one has workers of its own.
    """

    backend: Backend
    limits: BatchLimits
    metrics: Metrics
    model: str
    turns: Turns | None = None
    spent: Recent = field(default_factory=Recent)
    """Rows embedded, and the seconds of a worker's time that they took."""
    _running: list[Turn] = field(default_factory=list)
    _closed: bool = False

    def __post_init__(self) -> None:
        self._queued = Queued(self.metrics)
        self._lanes = Lanes(self.limits.batch_points, self._queued)
        self._turns = self.turns or Turns(self.limits.threads)

    @property
    def queued_points(self) -> int:
        """That wait, or hold room for what is to come."""
        return self._queued.points

    async def embed(self, lonlat: LonLat, deadline: float, timing: Timing | None = None) -> Rows:
        """The rows of `lonlat`, shape (n, embedding_dim), by `deadline` in the event loop's time.

        `timing` is told when the call was queued, batched and embedded.
        Raises Overloaded, DeadlineExceeded, BackendFailed or NotReady. A caller that is cancelled
        leaves the queue at once and costs no compute beyond the batch already running.
        """
        if len(lonlat) == 0:
            return np.empty((0, self.backend.embedding_dim), np.float32)
        if deadline <= asyncio.get_running_loop().time():
            raise self.too_late()
        self._admit(len(lonlat))
        job = self._enqueue(lonlat, timing or Timing())
        with self._counting_the_gone():
            return await self._answer(job, job.answer, deadline)

    @contextmanager
    def reserved(self, points: int, *, admitted: bool = False) -> Iterator[None]:
        """Hold room in the queue for so many points while `run_reserved` is called for units of it, again and again.

        Raises Overloaded or NotReady: what is begun is not refused halfway. So what was `admitted` when it began is
        counted, but not refused.
        """
        if not admitted:
            self._admit(points)
        self._queued.add(points)
        try:
            with self._counting_the_gone():
                yield
        finally:
            self._queued.add(-points)

    async def run(self, points: int, function: Callable[[], T], deadline: float) -> T:
        """What `function` returns, called in a worker in a turn of the bulk lane; it takes as long as `points` points.

        It should take about as long as a batch does, so that others have their turn. Raises Overloaded,
        DeadlineExceeded, NotReady, or BackendFailed where it raised; a caller that is cancelled leaves the queue.
        """
        with self.reserved(points):
            return await self.run_reserved(points, function, deadline)

    async def run_reserved(self, points: int, function: Callable[[], T], deadline: float) -> T:
        """`run`, within room that the caller has reserved."""
        loop = asyncio.get_running_loop()
        if self._closed:
            raise NotReady("the service is shutting down")
        if deadline <= loop.time():
            raise self.too_late()
        answer: asyncio.Future[T] = loop.create_future()
        unit = Unit(points, function, answer, perf_counter())
        self._lanes.join(unit)
        self._turns.wait(self)
        return await self._answer(unit, answer, deadline)

    async def probe(self, lonlat: LonLat) -> None:
        """Embed the places of one batch, first of all that wait, however many. Raises BackendFailed or NotReady."""
        if self._closed:
            raise NotReady("the service is shutting down")
        if hung := self._turns.hanging(self.limits.hung_s):
            raise BackendFailed(f"{hung} of {self.limits.threads} workers hang in the model: restart the service")
        job = self._enqueue(lonlat, Timing(), first=True)
        try:
            async with asyncio.timeout(PROBE_S):
                await job.answer
        except TimeoutError:
            raise BackendFailed(f"no worker embedded a place within {PROBE_S} s") from None
        finally:
            self._lanes.leave(job)

    async def close(self) -> None:
        """Refuse new calls, fail those that wait, and give running batches CLOSE_S to end."""
        self._closed = True
        for job in self._lanes:
            self._fail(job, NotReady("the service is shutting down"))
        if self._running:
            await asyncio.wait([turn.done for turn in self._running], timeout=CLOSE_S)
        for turn in self._running:
            for job in turn.jobs:
                self._fail(job, NotReady("the service shut down before the model answered"))
        if self.turns is None:
            self._turns.close()

    def __len__(self) -> int:
        """How many calls wait."""
        return len(self._lanes)

    def next_turn(self, *, interactive_only: bool) -> Turn | None:
        """Take the batch or unit that is next, for a worker that is free."""
        taken = self._lanes.next(interactive_only=interactive_only)
        if taken is None:
            return None
        what, bulk = taken
        turn = self._unit_turn(what) if isinstance(what, Unit) else self._batch_turn(what, bulk)
        self._running.append(turn)
        self.metrics.batch_points.observe(turn.points)
        return turn

    def too_late(self) -> DeadlineExceeded:
        """The error of a call whose deadline has passed, counted."""
        self.metrics.rejected.labels("deadline").inc()
        return DeadlineExceeded("the deadline passed before the embeddings were ready")

    def overloaded(self, held: int, more: int) -> Overloaded:
        """The error of a call of `more` points that do not fit where `held` are already, counted."""
        self.metrics.rejected.labels("queue_full").inc()
        return Overloaded(
            f"the queue holds {held} of at most {self.limits.queue_points} points; "
            f"{more} more do not fit: retry later, or raise SATCLE_MAX_QUEUE_POINTS",
            self._seconds_for(held),
        )

    async def _answer(self, job: Job | Unit, answer: asyncio.Future[T], deadline: float) -> T:
        try:
            async with asyncio.timeout_at(deadline):
                return await answer
        except TimeoutError:
            raise self.too_late() from None
        finally:
            self._lanes.leave(job)

    @contextmanager
    def _counting_the_gone(self) -> Iterator[None]:
        try:
            yield
        except asyncio.CancelledError:
            self.metrics.rejected.labels("client_gone").inc()
            raise

    def _admit(self, points: int) -> None:
        if self._closed:
            self.metrics.rejected.labels("draining").inc()
            raise NotReady("the service is shutting down")
        if self.queued_points + points > self.limits.queue_points:
            raise self.overloaded(self.queued_points, points)

    def _enqueue(self, lonlat: LonLat, timing: Timing, *, first: bool = False) -> Job:
        rows = np.empty((len(lonlat), self.backend.embedding_dim), np.float32)
        answer: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        job = Job(lonlat, rows, answer, perf_counter(), timing)
        self._lanes.join(job, first=first)
        self._turns.wait(self)
        return job

    def _seconds_for(self, points: int) -> int:
        """How long so many points take at the recent rate, in whole seconds."""
        seconds = points * (self.spent.seconds_per_row or 0.0) / self.limits.threads
        return min(max(1, math.ceil(seconds)), MAX_RETRY_AFTER_S)

    def _fail(self, job: Job | Unit, error: Exception) -> None:
        self._lanes.leave(job)
        if not job.answer.done():
            job.answer.set_exception(error)

    def _batch_turn(self, parts: list[Part], bulk: bool) -> Turn:
        now = perf_counter()
        for part in parts:
            if part.start == 0:
                self.metrics.queue_wait.observe(now - part.job.queued_at)
        inference = self.metrics.inference.labels(self.model, self.backend.provider)
        function = partial(embed_parts, self.backend, parts, inference.time)
        finish = partial(self._finish, parts)
        return Turn(sum(map(len, parts)), bulk, [part.job for part in parts], function, finish)

    def _unit_turn(self, unit: Unit) -> Turn:
        self.metrics.queue_wait.observe(perf_counter() - unit.queued_at)
        return Turn(unit.points, True, [unit], partial(self._call, unit), partial(self._finish_unit, unit))

    def _call(self, unit: Unit) -> object:
        """In a worker thread: call the unit's function, unless its caller has left meanwhile."""
        if unit.answer.done():
            return None
        with self.metrics.inference.labels(self.model, self.backend.provider).time():
            return unit.function()

    def _finish(self, parts: list[Part], turn: Turn) -> None:
        self._running.remove(turn)
        self.spent.add(turn.points, perf_counter() - turn.started_at)
        broken = turn.done.exception()
        for part in parts:
            job = part.job
            job.finished += len(part)
            if broken is not None:
                self._fail(job, BackendFailed(f"a batch broke: {broken!r}"))
            elif part.error is not None:
                self._fail(job, part.error)
            elif job.finished == len(job.lonlat) and not job.answer.done():
                job.timing.stages.append(Stage("inference", job.batched_at, perf_counter()))
                job.answer.set_result(job.rows)

    def _finish_unit(self, unit: Unit, turn: Turn) -> None:
        self._running.remove(turn)
        broken = turn.done.exception()
        if isinstance(broken, ServiceError):
            self._fail(unit, broken)
        elif broken is not None:
            self._fail(unit, BackendFailed(f"the model failed on a unit of {unit.points} points: {broken!r}"))
        elif not unit.answer.done():
            unit.answer.set_result(turn.done.result())
