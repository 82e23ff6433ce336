"""Far more than the service can do: whoever is turned away is told so, and every answer that is given is right."""

import asyncio
from pathlib import Path
from time import perf_counter

import numpy as np

from tests.load.client import rows_of
from tests.redis_server import HANG_S

SIZES = (1, 1, 20, 500, 1000, 1000)
QUEUE_POINTS = 4000
TIMES_CAPACITY = 5
SECONDS = 2.0
SETTINGS = {
    "SATCLE_CACHE_MEMORY_MB": "0",
    "SATCLE_MAX_QUEUE_POINTS": str(QUEUE_POINTS),
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


async def overload(address, places, rate):
    """Requests of mixed sizes, sent when they are due whether others are answered or not."""
    rng = np.random.default_rng(0)
    loop = asyncio.get_running_loop()
    start, due, tasks = loop.time(), 0.0, []
    while due < SECONDS:
        size = rng.choice(SIZES)
        chosen = rng.integers(0, len(places.rows), size)
        tasks.append(asyncio.create_task(send(address, places, chosen, rng.choice([20, 200, 2000]))))
        due += size / rate
        await asyncio.sleep(max(0.0, start + due - loop.time()))
    return await asyncio.gather(*tasks)


def peak_bytes(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def test_under_overload_only_200_429_and_504_and_every_200_is_right(serve, places):
    async def main(service):
        address = service.address
        async with asyncio.timeout(2 * HANG_S):
            capacity = await points_per_second(address, places)
            statuses = await overload(address, places, TIMES_CAPACITY * capacity)
            assert set(statuses) <= {200, 429, 504}
            assert {200, 429} <= set(statuses)
            assert await address.metric("satcle_queue_points") == 0
            assert await send(address, places, np.arange(1000), 30_000) == 200
        assert peak_bytes(service.pid) < 2**30
        print(f"{capacity:.0f} points/s; {len(statuses)} requests; " + str({s: statuses.count(s) for s in {*statuses}}))

    with serve(**SETTINGS) as service:
        asyncio.run(main(service))


def test_clients_that_vanish_leave_nothing_behind(serve, places):
    async def main(address):
        async def vanish():
            async with address.connection() as connection:
                asking = asyncio.create_task(connection.embed(places.degrees[:1500]))
                await asyncio.sleep(0)
                asking.cancel()

        async with asyncio.timeout(HANG_S):
            await asyncio.gather(*(vanish() for _ in range(50)))
            while await address.metric("satcle_queue_points"):
                pass
            assert await send(address, places, np.arange(1000), 30_000) == 200

    with serve(**SETTINGS) as service:
        asyncio.run(main(service.address))
