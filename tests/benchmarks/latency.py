"""The 99th percentile of a single-place request, alone and while requests of 100,000 places run back to back.

Against `satcle serve` with its defaults: one client sends single places, each at some other place, one every few
milliseconds; in every other phase another process sends the large requests and reads their answers whole. Latencies
of all phases of a kind are taken together; a figure is their 99th percentile beside the other kind's.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from multiprocessing.connection import Connection as Pipe

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.client import JSON, OCTET_STREAM, Connection, json_body, request
from tests.benchmarks.processes import SERVE, Address, running
from trainer.snap import uniform_on_sphere

HEADER = (
    "| 100,000 places | p50, p99 ms alone | p50, p99 ms beside | large requests | p99 beside / alone | limit |"
    "\n|---|---:|---:|---:|---:|---:|"
)
PHASES = 4
SINGLES = 300
EVERY_S = 0.01
LARGE = 100_000
DIFFERENT = 3
"""Large requests of different places, more than the cache holds: each is computed."""


def table() -> str:
    """Single places as octet-stream, beside large requests as octet-stream and as JSON; the limit of the issue."""
    with running(*SERVE) as address, Connection(address) as connection:
        rows = [_row(address, connection, media_type) for media_type in (OCTET_STREAM, JSON)]
    return "\n".join([HEADER, *rows])


def _row(address: Address, connection: Connection, media_type: str) -> str:
    alone, beside, answered = [], [], 0
    with _flood(address, media_type) as flood:
        _latencies(connection, seed=0)
        for phase in range(PHASES):
            alone.append(_latencies(connection, seed=2 * phase + 1))
            flood.send("go")
            beside.append(_latencies(connection, seed=2 * phase + 2))
            flood.send("stop")
            answered += flood.recv()
    median_alone, p99_alone = np.percentile(np.concatenate(alone) * 1000, [50, 99])
    median_beside, p99_beside = np.percentile(np.concatenate(beside) * 1000, [50, 99])
    return (
        f"| {media_type} | {median_alone:.1f}, {p99_alone:.1f} | {median_beside:.1f}, {p99_beside:.1f} | {answered} "
        f"| {p99_beside / p99_alone:.1f} | ≤ 3 |"
    )


def _latencies(connection: Connection, seed: int) -> NDArray[np.float64]:
    """Seconds of each single-place request, sent every EVERY_S, or at once where the one before took longer."""
    seconds = np.empty(SINGLES)
    due = time.perf_counter()
    for index, place in enumerate(uniform_on_sphere(SINGLES, seed).astype("<f8")):
        time.sleep(max(0.0, due - time.perf_counter()))
        start = time.perf_counter()
        connection.exchange(request(place.tobytes()))
        seconds[index] = time.perf_counter() - start
        due = max(due + EVERY_S, start)
    return seconds


@contextmanager
def _flood(address: Address, media_type: str) -> Iterator[Pipe]:
    """A process that is told to go, to stop, and then says how many large requests were answered meanwhile."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_send_large, args=(address, media_type, theirs))
    process.start()
    try:
        ours.recv()
        yield ours
        ours.send("end")
        process.join(60)
    finally:
        process.kill()


def _send_large(address: Address, media_type: str, pipe: Pipe) -> None:
    written = {JSON: json_body, OCTET_STREAM: lambda lonlat: lonlat.astype("<f8").tobytes()}[media_type]
    bodies = (written(uniform_on_sphere(LARGE, seed)) for seed in range(DIFFERENT))
    requests = cycle([request(body, media_type, media_type) for body in bodies])
    pipe.send("ready")
    with Connection(address) as connection:
        while pipe.recv() == "go":
            answered = 0
            while not pipe.poll():
                connection.exchange(next(requests))
                answered += 1
            pipe.recv()
            pipe.send(answered)
