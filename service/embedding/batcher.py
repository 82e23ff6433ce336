"""Many callers, one backend: calls become batches, bounded in points, without a timer.

Whatever waits while the backend is busy goes into the next batch, so batches grow with the load and a
lone call never waits for company. A job larger than a batch takes a batch and rejoins the end of the
queue, so that small jobs pass between its parts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

import numpy as np

from service.bundle import LonLat
from service.embedding.backends.base import Backend, Rows, embed_checked
from service.embedding.timing import Stage, Timing
from service.errors import BackendFailed, DeadlineExceeded, NotReady, Overloaded
from service.metrics import Metrics


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


@dataclass(frozen=True)
class _Part:
    """The rows of one job that go into one batch."""

    job: _Job
    rows: slice

    @property
    def lonlat(self) -> LonLat:
        return self.job.lonlat[self.rows]


@dataclass
class BatchLimits:
    """`threads` batches of at most `batch_points` run at once; at most `queue_points` wait."""

    batch_points: int
    queue_points: int
    threads: int


@dataclass
class Batcher:
    """Coalesces calls into batches. Everything but the backend runs on the event loop, so there is no lock."""

    backend: Backend
    limits: BatchLimits
    metrics: Metrics
    model: str
    queued_points: int = 0
    _queue: deque[_Job] = field(default_factory=deque)
    _running: int = 0
    _closed: bool = False

    def __post_init__(self) -> None:
        self._threads = ThreadPoolExecutor(self.limits.threads, thread_name_prefix=f"satcle-{self.model}")

    async def embed(self, lonlat: LonLat, deadline: float, timing: Timing | None = None) -> Rows:
        """The rows of `lonlat`, shape (n, embedding_dim), by `deadline` in the event loop's time.

        `timing` is told when the call was queued, batched and embedded.
        Raises Overloaded, DeadlineExceeded, BackendFailed or NotReady. A caller that is cancelled
        leaves the queue at once and costs no compute beyond the batch already running.
        """
        if len(lonlat) == 0:
            return np.empty((0, self.backend.embedding_dim), np.float32)
        if deadline <= asyncio.get_running_loop().time():
            raise self._too_late()
        job = self._enqueue(lonlat, timing or Timing())
        try:
            async with asyncio.timeout_at(deadline):
                return await job.answer
        except TimeoutError:
            raise self._too_late() from None
        except asyncio.CancelledError:
            self.metrics.rejected.labels("client_gone").inc()
            raise
        finally:
            self._leave(job)

    async def close(self) -> None:
        """Refuse new calls, fail those that wait, and let running batches end."""
        self._closed = True
        for job in list(self._queue):
            self._fail(job, NotReady("the service is shutting down"))
        await asyncio.to_thread(self._threads.shutdown)

    def _enqueue(self, lonlat: LonLat, timing: Timing) -> _Job:
        if self._closed:
            self.metrics.rejected.labels("draining").inc()
            raise NotReady("the service is shutting down")
        if self.queued_points + len(lonlat) > self.limits.queue_points:
            self.metrics.rejected.labels("queue_full").inc()
            raise Overloaded(
                f"the queue holds {self.queued_points} of at most {self.limits.queue_points} points; "
                f"{len(lonlat)} more do not fit: retry later, or raise SATCLE_MAX_QUEUE_POINTS"
            )
        loop = asyncio.get_running_loop()
        rows = np.empty((len(lonlat), self.backend.embedding_dim), np.float32)
        job = _Job(lonlat, rows, loop.create_future(), perf_counter(), timing)
        self._queue.append(job)
        self._count_queued(job.waiting)
        loop.call_soon(self._dispatch)  # after every call that this turn of the loop brings
        return job

    def _too_late(self) -> DeadlineExceeded:
        self.metrics.rejected.labels("deadline").inc()
        return DeadlineExceeded("the deadline passed before the embeddings were ready")

    def _leave(self, job: _Job) -> None:
        """Take what still waits of `job` off the queue; harmless where nothing does."""
        if job.waiting:
            self._queue.remove(job)
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
        while self._queue and self._running < self.limits.threads:
            batch = list(self._next_batch())
            running = asyncio.get_running_loop().run_in_executor(self._threads, self._run, batch)
            self._running += 1
            running.add_done_callback(partial(self._finish, batch))

    def _next_batch(self) -> Iterator[_Part]:
        now = perf_counter()
        room = self.limits.batch_points
        self.metrics.batch_points.observe(min(room, self.queued_points))
        while self._queue and room:
            job = self._queue.popleft()
            if job.batched == 0:
                job.batched_at = now
                self.metrics.queue_wait.observe(now - job.queued_at)
                job.timing.stages.append(Stage("queue", job.queued_at, now))
            part = _Part(job, slice(job.batched, job.batched + min(room, job.waiting)))
            points = part.rows.stop - part.rows.start
            room -= points
            job.batched += points
            self._count_queued(-points)
            if job.waiting:
                self._queue.append(job)
            yield part

    def _run(self, batch: list[_Part]) -> list[BackendFailed | None]:
        """In a worker thread: embed the batch, and if it fails, each part alone, so that only the culprits fail."""
        try:
            with self.metrics.inference.labels(self.model, self.backend.provider).time():
                rows = embed_checked(self.backend, _concatenate(batch))
        except BackendFailed as error:
            return [error] if len(batch) == 1 else [self._run([part])[0] for part in batch]
        start = 0
        for part in batch:
            stop = start + len(part.lonlat)
            part.job.rows[part.rows] = rows[start:stop]
            start = stop
        return [None] * len(batch)

    def _finish(self, batch: list[_Part], running: asyncio.Future[list[BackendFailed | None]]) -> None:
        self._running -= 1
        broken = running.exception()
        errors = running.result() if broken is None else [BackendFailed(f"a batch broke: {broken!r}")] * len(batch)
        for part, error in zip(batch, errors, strict=True):
            job = part.job
            job.finished += part.rows.stop - part.rows.start
            if error is not None:
                self._fail(job, error)
            elif job.finished == len(job.lonlat) and not job.answer.done():
                job.timing.stages.append(Stage("inference", job.batched_at, perf_counter()))
                job.answer.set_result(job.rows)
        self._dispatch()


def _concatenate(batch: list[_Part]) -> LonLat:
    if len(batch) == 1:
        return batch[0].lonlat
    return LonLat(np.concatenate([part.lonlat.degrees for part in batch]))
