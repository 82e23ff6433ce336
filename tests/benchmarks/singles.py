"""Single places at a concurrency of 32, micro-batched or not, at L = 40.

Not: SATCLE_MAX_BATCH_POINTS=1, so that each place is a batch. First through HTTP, by 32 connections to `satcle serve`,
which send the next request as soon as they have the answer; then by 32 callers of the batcher alone. Each figure is
the time for the same number of places, micro-batched over not, the median over interleaved rounds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import uvloop

from service.bundle import Bundle, LonLat
from service.embedding.backends.onnx import OnnxBackend
from service.embedding.batcher import Batcher, BatchLimits
from service.metrics import Metrics
from tests.benchmarks.client import EMBEDDINGS, OCTET_STREAM, content_length, request
from tests.benchmarks.compute import interleaved
from tests.benchmarks.models import bundle_of
from tests.benchmarks.processes import SERVE, Address, running
from trainer.snap import uniform_on_sphere

HEADER = "| single places at concurrency 32, micro-batched / not | L | measured | limit |\n|---|---:|---:|---:|"
CONCURRENCY = 32
EACH = 20
ROUNDS = 20
BATCH_POINTS = {"micro-batched": 512, "not": 1}
Run = Callable[[], object]


def table() -> str:
    """Over HTTP, and of the batcher alone, which the limit of encoding.md is held against."""
    with TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        bundle = bundle_of(40, Path(folder))
        with _through_http(bundle, runner) as runs:
            http = _ratio(runs)
        with _through_batcher(bundle, runner) as runs:
            batcher = _ratio(runs)
    return (
        f"{HEADER}\n| batcher and model | 40 | {batcher:.2f} | ≤ 0.40 |\n| whole requests | 40 | {http:.2f} | ≤ 0.40 |"
    )


def _ratio(runs: dict[str, Run]) -> float:
    seconds = interleaved(runs, ROUNDS)
    return float(np.median(seconds["micro-batched"] / seconds["not"]))


@contextmanager
def _through_http(bundle: Bundle, runner: asyncio.Runner) -> Iterator[dict[str, Run]]:
    """One worker thread, as in the batcher's row."""
    with ExitStack() as stack:
        runs: dict[str, Run] = {}
        for name, points in BATCH_POINTS.items():
            environment = {"SATCLE_MAX_BATCH_POINTS": str(points), "SATCLE_WORKER_THREADS": "1"}
            address = stack.enter_context(running(*SERVE, "--bundles", bundle.path, **environment))
            callers = runner.run(_connect(address))
            stack.callback(_disconnect, callers)
            runs[name] = partial(_all_at_once, runner, [caller.ask for caller in callers])
        yield runs


@contextmanager
def _through_batcher(bundle: Bundle, runner: asyncio.Runner) -> Iterator[dict[str, Run]]:
    backend = OnnxBackend(bundle, "cpu")
    batchers = {name: Batcher(backend, BatchLimits(n, 10_000, 1), Metrics(), name) for name, n in BATCH_POINTS.items()}
    places = [LonLat.from_degrees(place[None]) for place in uniform_on_sphere(CONCURRENCY, seed=0)]
    yield {
        name: partial(_all_at_once, runner, [partial(_embed, batcher, place) for place in places])
        for name, batcher in batchers.items()
    }
    for batcher in batchers.values():
        runner.run(batcher.close())


async def _embed(batcher: Batcher, place: LonLat) -> None:
    await batcher.embed(place, asyncio.get_running_loop().time() + 60)


def _all_at_once(runner: asyncio.Runner, callers: list[Callable[[], Coroutine[object, object, None]]]) -> None:
    async def repeat(call: Callable[[], Coroutine[object, object, None]]) -> None:
        for _ in range(EACH):
            await call()

    async def together() -> None:
        await asyncio.gather(*map(repeat, callers))

    runner.run(together())


class _Caller:
    """One place, asked for again and again on one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, place: bytes) -> None:
        self._reader = reader
        self.writer = writer
        self._request = request(place, OCTET_STREAM, OCTET_STREAM, f"{EMBEDDINGS}?exact=true")

    async def ask(self) -> None:
        self.writer.write(self._request)
        length = content_length(await self._reader.readuntil(b"\r\n\r\n"))
        await self._reader.readexactly(length or 0)


async def _connect(address: Address) -> list[_Caller]:
    places = uniform_on_sphere(CONCURRENCY, seed=0).astype("<f8")
    return [_Caller(*await asyncio.open_connection(*address), place.tobytes()) for place in places]


def _disconnect(callers: list[_Caller]) -> None:
    for caller in callers:
        caller.writer.transport.abort()
