"""Thirty seconds of five times what the service can do: what it answers, what it holds, and how it is afterwards.

`satcle serve` with the queue of tests/load and its cache off. Its capacity is measured first. Then requests of mixed
sizes are sent when they are due, answered or not, and every 200 is compared with the model. Before and after, single
places are asked for one after another.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from tests.load.client import Address
from tests.load.conftest import Places, known_places, serving
from tests.load.open_loop import SETTINGS, TIMES_CAPACITY, overload, peak_bytes, points_per_second

HEADER = "| 5 times capacity for 30 s | measured |\n|---|---:|"
SECONDS = 30.0
SINGLES = 500


def table() -> str:
    """Answers by status, peak memory, and latencies of a single place before and after."""
    with serving(**SETTINGS) as service:
        return asyncio.run(_rows(service.address, service.pid, known_places()))


async def _rows(address: Address, pid: int, places: Places) -> str:
    capacity = await points_per_second(address, places)
    before, peak_before = await _latencies(address, places), peak_bytes(pid)
    statuses = Counter(await overload(address, places, TIMES_CAPACITY * capacity, SECONDS))
    after, peak = await _latencies(address, places), peak_bytes(pid)
    queued = await address.metric("satcle_queue_points")
    return "\n".join(
        [
            HEADER,
            f"| capacity, points/s | {capacity:,.0f} |",
            f"| requests sent | {statuses.total():,} |",
            *(f"| answered {status} | {count:,} |" for status, count in sorted(statuses.items())),
            f"| peak memory before, after, MB | {peak_before / 1e6:.0f}, {peak / 1e6:.0f} |",
            f"| a single place before, p50 and p99 ms | {before[0]:.1f}, {before[1]:.1f} |",
            f"| a single place after, p50 and p99 ms | {after[0]:.1f}, {after[1]:.1f} |",
            f"| places in the queue after | {queued:.0f} |",
        ]
    )


async def _latencies(address: Address, places: Places) -> NDArray[np.float64]:
    seconds = []
    async with address.connection() as connection:
        for place in places.degrees[:SINGLES]:
            start = perf_counter()
            answer = await connection.embed(place[None])
            seconds.append(perf_counter() - start)
            if answer.status != 200:
                raise RuntimeError(f"a single place was answered {answer.status}")
    return np.percentile(np.array(seconds) * 1000, [50, 99])
