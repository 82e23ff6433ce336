"""Redis fails in the middle of the load: not one answer fails or is wrong, and the cache recovers by itself."""

import asyncio
from contextlib import closing, suppress

import numpy as np
import pytest

from tests.load.client import rows_of
from tests.redis_server import HANG_S, free_port

CONNECTIONS = 6
REQUESTS = 90
SIZES = (1, 1, 3, 40, 700)
# Redis is given time enough that only a fault, not a machine at work on other things, makes it late
WITHOUT_MEMORY = {"SATCLE_CACHE_MEMORY_MB": "0", "SATCLE_REDIS_RETRY_S": "0.1", "SATCLE_REDIS_TIMEOUT_MS": "1000"}

OVERWRITE = "for _, key in ipairs(redis.call('keys', '*')) do redis.call('set', key, string.rep('x', 1032)) end"

FAULTS = {
    "killed": (lambda redis: redis.kill(), lambda redis: redis.start()),
    "paused": (lambda redis: redis.pause(), lambda redis: redis.resume()),
    "full": (
        lambda redis: (redis.command("FLUSHALL"), redis.command("CONFIG", "SET", "maxmemory", "1")),
        lambda redis: redis.command("CONFIG", "SET", "maxmemory", "0"),
    ),
}


class Load:
    """Requests over a few connections, each answer checked, until `enough` are answered and `done` holds."""

    def __init__(self, address, places):
        self.address, self.places = address, places
        self._rng = np.random.default_rng(0)

    async def run(self, done=None):
        self.answered = 0
        self._over = False
        workers = [asyncio.create_task(self._work()) for _ in range(CONNECTIONS)]
        try:
            async with asyncio.timeout(HANG_S):
                while self.answered < REQUESTS or (done and not await done()):
                    failed, _ = await asyncio.wait(workers, timeout=0.01, return_when=asyncio.FIRST_COMPLETED)
                    for worker in failed:
                        await worker
        finally:
            self._over = True
            await asyncio.gather(*workers)

    async def _work(self):
        async with self.address.connection() as connection:
            while not self._over:
                size = self._rng.choice(SIZES)
                chosen = self._rng.integers(0, len(self.places.rows), size)
                answer = await connection.embed(self.places.degrees[chosen])
                assert answer.status == 200, answer.body[:500]
                assert np.abs(rows_of(answer) - self.places.rows[chosen]).max() <= 1e-6
                self.answered += 1


async def tier_of(address):
    ((tier,),) = [model["cache"] for model in (await address.info())["models"]]
    assert tier["tier"] == "redis"
    return tier


@pytest.mark.parametrize(("fault", "lift"), FAULTS.values(), ids=FAULTS)
def test_every_answer_is_right_and_the_breaker_opens_and_closes(serve, redis, places, fault, lift):
    async def main(address):
        async def one_is_open():
            return "open" in (await tier_of(address))["breakers"].values()

        async def recovered():
            tier = await tier_of(address)
            return set(tier["breakers"].values()) == {"closed"} and await hits() > hits_before

        def hits():
            return address.metric('satcle_cache_hits_total{tier="redis"}')

        load = Load(address, places)
        await load.run()
        assert await address.metric('satcle_cache_errors_total{tier="redis"}') == 0
        fault(redis)
        await load.run(one_is_open)
        assert await address.metric('satcle_cache_errors_total{tier="redis"}') >= 3
        lift(redis)
        hits_before = await hits()
        await load.run(recovered)
        assert await address.metric("satcle_queue_points") == 0

    with serve(SATCLE_REDIS_URL=redis.url, **WITHOUT_MEMORY) as service:
        asyncio.run(main(service.address))


@pytest.mark.parametrize("script", ["redis.call('flushall')", OVERWRITE], ids=["flushed", "overwritten"])
def test_rows_that_vanish_or_are_overwritten_are_computed_again(serve, redis, places, script):
    async def main(address):
        def errors():
            return address.metric('satcle_cache_errors_total{tier="redis"}')

        async def noticed():
            return running.done() and (script != OVERWRITE or await errors() > 0)

        load = Load(address, places)
        await load.run()
        running = asyncio.create_task(asyncio.to_thread(redis.command, "EVAL", script, "0"))
        await load.run(noticed)
        assert script == OVERWRITE or await errors() == 0
        assert (await tier_of(address))["breakers"] == {"read": "closed", "write": "closed"}

    with serve(SATCLE_REDIS_URL=redis.url, **WITHOUT_MEMORY) as service:
        asyncio.run(main(service.address))


@pytest.mark.parametrize("garbage", [None, b"\x00garbage\r\n" * 100], ids=["nothing", "garbage"])
def test_something_else_answers_where_redis_should(serve, places, garbage):
    async def main(address, port):
        async def pretend(reader, writer):
            with closing(writer), suppress(ConnectionError):
                while await reader.read(65536):
                    if garbage:
                        writer.write(garbage)

        async def both_have_opened():
            return "closed" not in (await tier_of(address))["breakers"].values()

        async with await asyncio.start_server(pretend, "127.0.0.1", port):
            await Load(address, places).run(both_have_opened)
            assert (await tier_of(address))["pays"] is not True

    port = free_port()
    with serve(SATCLE_REDIS_URL=f"redis://127.0.0.1:{port}", **WITHOUT_MEMORY) as service:
        asyncio.run(main(service.address, port))
