"""A backend that raises, hangs or returns NaN, over real sockets: the right status, and the others go on."""

import asyncio
import threading

import numpy as np
import pytest

from service.embedding.backends.fake import FakeBackend
from tests.load.client import rows_of
from tests.redis_server import HANG_S

DIM = 256
POISONED, ALSO_POISONED = np.array([[10.0, 80.0]]), np.array([[11.0, 80.0]])
HEALTHY = np.array([[n / 2, -20.0] for n in range(40)])


class Faulty(FakeBackend):
    """Does as it is told with places in the far north, and embeds all others."""

    def __init__(self, fault):
        super().__init__(DIM)
        self.fault = fault

    def embed(self, lonlat):
        rows = super().embed(lonlat)
        poisoned = lonlat.degrees[:, 1] > 70
        return self.fault(rows, poisoned) if poisoned.any() else rows


def raises(rows, poisoned):
    raise RuntimeError("a poisoned place")


def not_finite(rows, poisoned):
    return np.where(poisoned[:, None], np.float32("nan"), rows)


@pytest.mark.parametrize("fault", [raises, not_finite])
def test_of_many_callers_only_those_of_poisoned_places_fail(serve_backend, fault):
    async def main(address):
        async def ask(degrees):
            async with address.connection() as connection:
                return await connection.embed(degrees)

        async with asyncio.timeout(HANG_S):
            answers = await asyncio.gather(*map(ask, np.split(HEALTHY, 40)), *(ask(POISONED) for _ in range(3)))
            assert [answer.status for answer in answers] == [200] * 40 + [503] * 3
            for answer in answers[:40]:
                assert np.isfinite(rows_of(answer)).all()
            assert (await ask(POISONED)).status == 503  # and it was not cached
            assert (await address.get("/readyz")).status == 200
            assert await address.metric("satcle_queue_points") == 0

    with serve_backend(Faulty(fault)) as address:
        asyncio.run(main(address))


def test_a_backend_that_hangs_costs_its_callers_their_deadline_and_the_service_its_readiness(
    serve_backend, monkeypatch
):
    monkeypatch.setattr("service.embedding.batcher.PROBE_S", 0.2)
    monkeypatch.setattr("service.embedding.batcher.CLOSE_S", 0.2)
    gate = threading.Event()

    def hangs(rows, poisoned):
        gate.wait(HANG_S)
        return rows

    async def main(address):
        async def ask(degrees):
            async with address.connection() as connection:
                return await connection.embed(degrees, x_deadline_ms="300")

        async with asyncio.timeout(HANG_S):
            assert (await ask(POISONED)).status == 504
            assert (await ask(ALSO_POISONED)).status == 504
            assert (await ask(HEALTHY)).status == 504
            assert (await address.get("/livez")).status == 200
            assert (await address.get("/readyz")).status == 503
            assert await address.metric("satcle_queue_points") == 0

    with serve_backend(Faulty(hangs), worker_threads=1) as address:
        asyncio.run(main(address))
    gate.set()
