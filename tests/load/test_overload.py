"""Far more than the service can do: whoever is turned away is told so, and every answer that is given is right."""

import asyncio

import numpy as np

from tests.load.open_loop import SETTINGS, TIMES_CAPACITY, overload, peak_bytes, points_per_second, send
from tests.redis_server import HANG_S

SECONDS = 5.0


def test_under_overload_only_200_429_and_504_and_every_200_is_right(serve, places):
    async def main(service):
        address = service.address
        async with asyncio.timeout(2 * HANG_S):
            capacity = await points_per_second(address, places)
            statuses, times = [], TIMES_CAPACITY
            while not {200, 429} <= set(statuses):  # again and more, where the machine has become quicker since
                statuses += await overload(address, places, times * capacity, SECONDS)
                assert set(statuses) <= {200, 429, 504}
                times *= 2
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
