"""Where the time of one request goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter


@dataclass(frozen=True)
class Stage:
    """One stage, from `start` to `end` in `perf_counter`'s seconds."""

    name: str
    start: float
    end: float


@dataclass
class Timing:
    """Seconds spent in each stage of one request, for Server-Timing, and each stage's start and end, for traces."""

    seconds: dict[str, float] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = perf_counter()
        try:
            yield
        finally:
            end = perf_counter()
            self.seconds[name] = self.seconds.get(name, 0.0) + end - start
            self.stages.append(Stage(name, start, end))
