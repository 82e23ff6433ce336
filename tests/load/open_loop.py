"""More than a service can do, sent whether it answers or not; every answer that it gives is checked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import perf_counter

import numpy as np

from tests.load.client import rows_of

SIZES = (1, 1, 20, 500, 1000, 1000)
TIMES_CAPACITY = 5
SETTINGS = {
    "SATCLE_CACHE_MEMORY_MB": "0",
    "SATCLE_MAX_QUEUE_POINTS": "4000",
    "SATCLE_MAX_POINTS_PER_REQUEST": "2000",
}


async def points_per_second(address, places):
    """As fast as four connections that always ask can have it."""

    async def ask():
        async with address.connection() as connection:
            for _ in range(5):
                assert (await connection.embed(places.degrees[:2000])).status == 200

    await ask()
    start = perf_counter()
    await asyncio.gather(*(ask() for _ in range(2)))
    return 2 * 5 * 2000 / (perf_counter() - start)


async def send(address, places, chosen, deadline_ms):
    async with address.connection() as connection:
        answer = await connection.embed(places.degrees[chosen], x_deadline_ms=str(deadline_ms))
    if answer.status == 200:
        assert np.abs(rows_of(answer) - places.rows[chosen]).max() <= 1e-6
    elif answer.status == 429:
        assert int(answer.headers["retry-after"]) >= 1
    return answer.status


async def overload(address, places, rate, seconds):
    """Requests of mixed sizes, sent when they are due whether others are answered or not."""
    rng = np.random.default_rng(0)
    loop = asyncio.get_running_loop()
    start, due, tasks = loop.time(), 0.0, []
    while due < seconds:
        size = rng.choice(SIZES)
        chosen = rng.integers(0, len(places.rows), size)
        tasks.append(asyncio.create_task(send(address, places, chosen, rng.choice([20, 200, 2000]))))
        due += size / rate
        await asyncio.sleep(max(0.0, start + due - loop.time()))
    return await asyncio.gather(*tasks)


def peak_bytes(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
