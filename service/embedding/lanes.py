"""What waits for one model, in two lanes, and which of them has the model's turn.

A call that fits a batch is interactive: such calls are batched together, first come first served, and go first. A
larger one is bulk: it takes a batch and rejoins the end of its lane; there, too, units of other work have their turn,
each alone. Bulk has its turn after BULK_TURN interactive batches.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

from service.embedding.jobs import Job, Lane, Part, Unit
from service.embedding.timing import Stage
from service.metrics import Metrics

BULK_TURN = 4


@dataclass
class Queued:
    """How many points wait, as the metrics have it too."""

    metrics: Metrics
    points: int = 0

    def add(self, points: int) -> None:
        self.points += points
        self.metrics.queue_points.inc(points)


class Lanes:
    """At most `batch_points` go into one batch; the points of jobs are `queued` while they wait."""

    def __init__(self, batch_points: int, queued: Queued) -> None:
        self._batch_points = batch_points
        self._queued = queued
        self._interactive: Lane = OrderedDict()
        self._bulk: Lane = OrderedDict()
        self._passed_bulk = 0

    def __len__(self) -> int:
        return len(self._interactive) + len(self._bulk)

    def __iter__(self) -> Iterator[Job | Unit]:
        yield from [*self._interactive, *self._bulk]

    def join(self, job: Job | Unit, *, first: bool = False) -> None:
        """At the end of its lane, or `first` of it."""
        lane = self._lane_of(job)
        lane[job] = None
        if first:
            lane.move_to_end(job, last=False)
        if isinstance(job, Job):
            self._queued.add(job.waiting)

    def leave(self, job: Job | Unit) -> None:
        """Take off what still waits of `job`; harmless where nothing does."""
        if isinstance(job, Unit):
            self._bulk.pop(job, None)
        elif job.waiting:
            del self._lane_of(job)[job]
            self._queued.add(-job.waiting)
            job.batched = len(job.lonlat)

    def next(self, *, interactive_only: bool) -> tuple[list[Part] | Unit, bool] | None:
        """Take off a batch, or a unit, and whether it is bulk; None where nothing waits."""
        lane = self._lane_in_turn(interactive_only)
        if lane is None:
            return None
        first = next(iter(lane))
        if isinstance(first, Unit):
            del lane[first]
            return first, True
        return list(self._next_parts(lane)), lane is self._bulk

    def _lane_of(self, job: Job | Unit) -> Lane:
        fits = isinstance(job, Job) and len(job.lonlat) <= self._batch_points
        return self._interactive if fits else self._bulk

    def _lane_in_turn(self, interactive_only: bool) -> Lane | None:
        passes = self._interactive and self._passed_bulk < BULK_TURN
        if self._bulk and not interactive_only and not passes:
            self._passed_bulk = 0
            return self._bulk
        if self._interactive:
            self._passed_bulk += 1
            return self._interactive
        return None

    def _next_parts(self, lane: Lane) -> Iterator[Part]:
        now = perf_counter()
        room = self._batch_points
        while lane and room:
            job = next(iter(lane))
            if isinstance(job, Unit):
                return
            if job.batched == 0:
                job.batched_at = now
                job.timing.stages.append(Stage("queue", job.queued_at, now))
            part = Part(job, job.batched, job.batched + min(room, job.waiting))
            room -= len(part)
            job.batched += len(part)
            self._queued.add(-len(part))
            if not job.waiting:
                del lane[job]
            elif lane is self._bulk:
                lane.move_to_end(job)
            yield part
