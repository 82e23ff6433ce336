"""Many callers, one backend: calls become batches, bounded in points, without a timer.

Whatever waits while the backend is busy goes into the next batch, so batches grow with the load and a
lone call never waits for company. There are two lanes. A call that fits a batch is interactive: such calls are
batched together, first come first served, and go first. A larger one is bulk: it takes a batch and rejoins the
end of its lane; there, too, units of other work have their turn, each alone. While bulk keeps the workers busy, one
more worker serves the interactive lane alone, so that a single place waits for no batch of a large call; and bulk has
its turn after BULK_TURN interactive batches.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import TypeVar

import numpy as np

from service.bundle import LonLat
from service.embedding.backends.base import Backend, Rows
from service.embedding.jobs import Job, Lane, Part, Running, Unit, embed_parts
from service.embedding.timing import Stage, Timing
from service.embedding.workers import Workers
from service.embedding.worth import Recent
from service.errors import BackendFailed, DeadlineExceeded, NotReady, Overloaded, ServiceError
from service.metrics import Metrics

BULK_TURN = 4
NICENESS, BULK_NICENESS = 1, 10
"""Of the workers of each lane. The event loop comes first, and bulk last."""
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


@dataclass
class Batcher:
    """Coalesces calls into batches. Everything but the backend runs on the event loop, so there is no lock."""

    backend: Backend
    limits: BatchLimits
    metrics: Metrics
    model: str
    queued_points: int = 0
    spent: Recent = field(default_factory=Recent)
    """Rows embedded, and the seconds of a worker's time that they took."""
    _interactive: Lane = field(default_factory=OrderedDict)
    _bulk: Lane = field(default_factory=OrderedDict)
    _running: list[Running] = field(default_factory=list)
    _passed_bulk: int = 0
    _closed: bool = False

    def __post_init__(self) -> None:
        self._workers = Workers(self.limits.threads, f"satcle-{self.model}", NICENESS)
        self._bulk_workers = Workers(self.limits.threads, f"satcle-{self.model}-bulk", BULK_NICENESS)

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
        self._count_queued(points)
        try:
            with self._counting_the_gone():
                yield
        finally:
            self._count_queued(-points)

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
        self._bulk[unit] = None
        loop.call_soon(self._dispatch)
        return await self._answer(unit, answer, deadline)

    async def probe(self, lonlat: LonLat) -> None:
        """Embed the places of one batch, first of all that wait, however many. Raises BackendFailed or NotReady."""
        if self._closed:
            raise NotReady("the service is shutting down")
        now = perf_counter()
        hung = sum(now - running.started_at > self.limits.hung_s for running in self._running)
        if hung:
            raise BackendFailed(f"{hung} of {self.limits.threads} workers hang in the model: restart the service")
        job = self._enqueue(lonlat, Timing())
        self._interactive.move_to_end(job, last=False)
        try:
            async with asyncio.timeout(PROBE_S):
                await job.answer
        except TimeoutError:
            raise BackendFailed(f"no worker embedded a place within {PROBE_S} s") from None
        finally:
            self._leave(job)

    async def close(self) -> None:
        """Refuse new calls, fail those that wait, and give running batches CLOSE_S to end."""
        self._closed = True
        for job in [*self._interactive, *self._bulk]:
            self._fail(job, NotReady("the service is shutting down"))
        if self._running:
            await asyncio.wait([running.done for running in self._running], timeout=CLOSE_S)
        for running in self._running:
            for job in running.jobs:
                self._fail(job, NotReady("the service shut down before the model answered"))
        self._workers.close()
        self._bulk_workers.close()

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
            self._leave(job)

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

    def _enqueue(self, lonlat: LonLat, timing: Timing) -> Job:
        loop = asyncio.get_running_loop()
        rows = np.empty((len(lonlat), self.backend.embedding_dim), np.float32)
        job = Job(lonlat, rows, loop.create_future(), perf_counter(), timing)
        self._lane_of(job)[job] = None
        self._count_queued(job.waiting)
        loop.call_soon(self._dispatch)  # after every call that this turn of the loop brings
        return job

    def _seconds_for(self, points: int) -> int:
        """How long so many points take at the recent rate, in whole seconds."""
        seconds = points * (self.spent.seconds_per_row or 0.0) / self.limits.threads
        return min(max(1, math.ceil(seconds)), MAX_RETRY_AFTER_S)

    def _lane_of(self, job: Job) -> Lane:
        return self._interactive if len(job.lonlat) <= self.limits.batch_points else self._bulk

    def _leave(self, job: Job | Unit) -> None:
        """Take what still waits of `job` off the queue; harmless where nothing does."""
        if isinstance(job, Unit):
            self._bulk.pop(job, None)
        elif job.waiting:
            del self._lane_of(job)[job]
            self._count_queued(-job.waiting)
            job.batched = len(job.lonlat)

    def _fail(self, job: Job | Unit, error: Exception) -> None:
        self._leave(job)
        if not job.answer.done():
            job.answer.set_exception(error)

    def _count_queued(self, points: int) -> None:
        self.queued_points += points
        self.metrics.queue_points.inc(points)

    def _dispatch(self) -> None:
        while (lane := self._lane_in_turn()) is not None:
            first = next(iter(lane))
            if isinstance(first, Unit):
                del lane[first]
                self._start_unit(first)
            else:
                self._start_batch(list(self._next_parts(lane)), bulk=lane is self._bulk)

    def _start_batch(self, parts: list[Part], *, bulk: bool) -> None:
        inference = self.metrics.inference.labels(self.model, self.backend.provider)
        workers = self._bulk_workers if bulk else self._workers
        done = workers.run(partial(embed_parts, self.backend, parts, inference.time))
        running = Running(sum(map(len, parts)), bulk, perf_counter(), [part.job for part in parts], done)
        self._start(running)
        done.add_done_callback(partial(self._finish, running, parts))

    def _start_unit(self, unit: Unit) -> None:
        now = perf_counter()
        self.metrics.queue_wait.observe(now - unit.queued_at)
        done = self._bulk_workers.run(partial(self._call, unit))
        running = Running(unit.points, True, now, [unit], done)
        self._start(running)
        done.add_done_callback(partial(self._finish_unit, running, unit))

    def _start(self, running: Running) -> None:
        self._running.append(running)
        self.metrics.batch_points.observe(running.points)

    def _lane_in_turn(self) -> Lane | None:
        """The lane that the next batch is of; None where nothing waits that a worker is free for."""
        busy = len(self._running)
        free = busy < self.limits.threads
        if self._bulk and free and not (self._interactive and self._passed_bulk < BULK_TURN):
            self._passed_bulk = 0
            return self._bulk
        express = busy == self.limits.threads and any(running.bulk for running in self._running)
        if self._interactive and (free or express):
            self._passed_bulk += 1
            return self._interactive
        return None

    def _next_parts(self, lane: Lane) -> Iterator[Part]:
        now = perf_counter()
        room = self.limits.batch_points
        while lane and room:
            job = next(iter(lane))
            if isinstance(job, Unit):
                return
            if job.batched == 0:
                job.batched_at = now
                self.metrics.queue_wait.observe(now - job.queued_at)
                job.timing.stages.append(Stage("queue", job.queued_at, now))
            part = Part(job, job.batched, job.batched + min(room, job.waiting))
            room -= len(part)
            job.batched += len(part)
            self._count_queued(-len(part))
            if not job.waiting:
                del lane[job]
            elif lane is self._bulk:
                lane.move_to_end(job)
            yield part

    def _call(self, unit: Unit) -> object:
        """In a worker thread: call the unit's function, unless its caller has left meanwhile."""
        if unit.answer.done():
            return None
        with self.metrics.inference.labels(self.model, self.backend.provider).time():
            return unit.function()

    def _finish(self, running: Running, parts: list[Part], done: asyncio.Future[None]) -> None:
        self._running.remove(running)
        self.spent.add(running.points, perf_counter() - running.started_at)
        broken = done.exception()
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
        self._dispatch()

    def _finish_unit(self, running: Running, unit: Unit, done: asyncio.Future[object]) -> None:
        self._running.remove(running)
        broken = done.exception()
        if isinstance(broken, ServiceError):
            self._fail(unit, broken)
        elif broken is not None:
            self._fail(unit, BackendFailed(f"the model failed on a unit of {unit.points} points: {broken!r}"))
        elif not unit.answer.done():
            unit.answer.set_result(done.result())
        self._dispatch()
