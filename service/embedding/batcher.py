"""Many callers, one backend: calls become batches, bounded in points, without a timer.

Whatever waits while the backend is busy goes into the next batch, so batches grow with the load and a
lone call never waits for company. There are two lanes. A call that fits a batch is interactive: such calls are
batched together, first come first served, and go first. A larger one is bulk: it takes a batch and rejoins the
end of its lane. While bulk batches keep the workers busy, one more worker serves the interactive lane alone, so
that a single place waits for no batch of a large call; and bulk has its turn after BULK_TURN interactive batches.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

import numpy as np

from service.bundle import LonLat
from service.embedding.backends.base import Backend, Rows, embed_checked
from service.embedding.timing import Stage, Timing
from service.embedding.workers import Workers
from service.embedding.worth import Recent
from service.errors import BackendFailed, DeadlineExceeded, NotReady, Overloaded
from service.metrics import Metrics

BULK_TURN = 4
NICENESS, BULK_NICENESS = 1, 10
"""Of the workers of each lane. The event loop comes first, and bulk last."""
CLOSE_S = 5.0
PROBE_S = 5.0
MAX_RETRY_AFTER_S = 60


@dataclass(eq=False)
class _Job:
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


_Lane = OrderedDict[_Job, None]
"""An ordered set: first and any other job leave it at once."""


@dataclass(eq=False)
class _Part:
    """The rows of one job, `start` to `stop`, that go into one batch, and why they failed if they did."""

    job: _Job
    start: int
    stop: int
    error: BackendFailed | None = None

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def lonlat(self) -> LonLat:
        return self.job.lonlat[self.start : self.stop]


@dataclass(eq=False)
class _Batch:
    parts: list[_Part]
    bulk: bool
    started_at: float
    done: asyncio.Future[None]

    @property
    def points(self) -> int:
        return sum(map(len, self.parts))


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
    _interactive: _Lane = field(default_factory=OrderedDict)
    _bulk: _Lane = field(default_factory=OrderedDict)
    _running: list[_Batch] = field(default_factory=list)
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
        try:
            async with asyncio.timeout_at(deadline):
                return await job.answer
        except TimeoutError:
            raise self.too_late() from None
        except asyncio.CancelledError:
            self.metrics.rejected.labels("client_gone").inc()
            raise
        finally:
            self._leave(job)

    async def probe(self, lonlat: LonLat) -> None:
        """Embed the places of one batch, first of all that wait, however many. Raises BackendFailed or NotReady."""
        if self._closed:
            raise NotReady("the service is shutting down")
        now = perf_counter()
        hung = sum(now - batch.started_at > self.limits.hung_s for batch in self._running)
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
            await asyncio.wait([batch.done for batch in self._running], timeout=CLOSE_S)
        for batch in self._running:
            for part in batch.parts:
                self._fail(part.job, NotReady("the service shut down before the model answered"))
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

    def _admit(self, points: int) -> None:
        if self._closed:
            self.metrics.rejected.labels("draining").inc()
            raise NotReady("the service is shutting down")
        if self.queued_points + points > self.limits.queue_points:
            raise self.overloaded(self.queued_points, points)

    def _enqueue(self, lonlat: LonLat, timing: Timing) -> _Job:
        loop = asyncio.get_running_loop()
        rows = np.empty((len(lonlat), self.backend.embedding_dim), np.float32)
        job = _Job(lonlat, rows, loop.create_future(), perf_counter(), timing)
        self._lane_of(job)[job] = None
        self._count_queued(job.waiting)
        loop.call_soon(self._dispatch)  # after every call that this turn of the loop brings
        return job

    def _seconds_for(self, points: int) -> int:
        """How long so many points take at the recent rate, in whole seconds."""
        seconds = points * (self.spent.seconds_per_row or 0.0) / self.limits.threads
        return min(max(1, math.ceil(seconds)), MAX_RETRY_AFTER_S)

    def _lane_of(self, job: _Job) -> _Lane:
        return self._interactive if len(job.lonlat) <= self.limits.batch_points else self._bulk

    def _leave(self, job: _Job) -> None:
        """Take what still waits of `job` off the queue; harmless where nothing does."""
        if job.waiting:
            del self._lane_of(job)[job]
            self._count_queued(-job.waiting)
            job.batched = len(job.lonlat)

    def _fail(self, job: _Job, error: Exception) -> None:
        self._leave(job)
        if not job.answer.done():
            job.answer.set_exception(error)

    def _count_queued(self, points: int) -> None:
        self.queued_points += points
        self.metrics.queue_points.inc(points)

    def _dispatch(self) -> None:
        while (lane := self._lane_in_turn()) is not None:
            parts = list(self._next_parts(lane))
            bulk = lane is self._bulk
            done = (self._bulk_workers if bulk else self._workers).run(partial(self._run, parts))
            batch = _Batch(parts, bulk, perf_counter(), done)
            self._running.append(batch)
            self.metrics.batch_points.observe(batch.points)
            done.add_done_callback(partial(self._finish, batch))

    def _lane_in_turn(self) -> _Lane | None:
        """The lane that the next batch is of; None where nothing waits that a worker is free for."""
        busy = len(self._running)
        free = busy < self.limits.threads
        if self._bulk and free and not (self._interactive and self._passed_bulk < BULK_TURN):
            self._passed_bulk = 0
            return self._bulk
        express = busy == self.limits.threads and any(batch.bulk for batch in self._running)
        if self._interactive and (free or express):
            self._passed_bulk += 1
            return self._interactive
        return None

    def _next_parts(self, lane: _Lane) -> Iterator[_Part]:
        now = perf_counter()
        room = self.limits.batch_points
        while lane and room:
            job = next(iter(lane))
            if job.batched == 0:
                job.batched_at = now
                self.metrics.queue_wait.observe(now - job.queued_at)
                job.timing.stages.append(Stage("queue", job.queued_at, now))
            part = _Part(job, job.batched, job.batched + min(room, job.waiting))
            room -= len(part)
            job.batched += len(part)
            self._count_queued(-len(part))
            if not job.waiting:
                del lane[job]
            elif lane is self._bulk:
                lane.move_to_end(job)
            yield part

    def _run(self, parts: list[_Part]) -> None:
        """In a worker thread: embed the parts, and where that fails each half of them, so that only culprits fail."""
        parts = [part for part in parts if not part.job.answer.done()]  # whose caller has left meanwhile costs nothing
        if not parts:
            return
        try:
            with self.metrics.inference.labels(self.model, self.backend.provider).time():
                rows = embed_checked(self.backend, _concatenate(parts))
        except BackendFailed as error:
            if len(parts) == 1:
                parts[0].error = error
            else:
                self._run(parts[: len(parts) // 2])
                self._run(parts[len(parts) // 2 :])
            return
        start = 0
        for part in parts:
            part.job.rows[part.start : part.stop] = rows[start : start + len(part)]
            start += len(part)

    def _finish(self, batch: _Batch, done: asyncio.Future[None]) -> None:
        self._running.remove(batch)
        self.spent.add(batch.points, perf_counter() - batch.started_at)
        broken = done.exception()
        for part in batch.parts:
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


def _concatenate(parts: list[_Part]) -> LonLat:
    if len(parts) == 1:
        return parts[0].lonlat
    return LonLat(np.concatenate([part.lonlat.degrees for part in parts]))
