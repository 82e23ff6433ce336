"""Against a real redis-server, whatever becomes of it. The breaker's clock is the test's own."""

import asyncio
import logging
import os
from contextlib import asynccontextmanager, closing, suppress

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.embedding.cache import redis as redis_module
from service.embedding.cache.base import Unavailable
from service.embedding.cache.redis import BACKLOG_ROWS, RedisCache, RedisServer
from service.embedding.cache.values import Values
from service.errors import InvalidSetting
from service.metrics import Metrics
from tests.redis_server import RedisServer as Process
from tests.redis_server import free_port

DIM = 4
CELLS = np.arange(1, 1001, dtype=np.uint64) * np.uint64(0x8000)
ROWS = np.random.default_rng(0).normal(size=(1000, DIM)).astype(np.float32)
RETRY_S = 5.0
PATIENT_S = 10.0
HASTY_S = 0.05


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@asynccontextmanager
async def caching(url, timeout_s=PATIENT_S, namespace="satcle:test"):
    """A cache, with the clock of its breakers and its metrics at hand."""
    clock, metrics = Clock(), Metrics()
    cache = RedisCache(RedisServer(url, timeout_s, RETRY_S), Values(namespace, DIM), metrics, "tiny", clock)
    cache.test_clock, cache.test_metrics = clock, metrics
    try:
        yield cache
    finally:
        await cache.close()


async def keep(cache, cells=CELLS, rows=ROWS):
    await cache.keep(cells, rows)
    await cache._writer


async def found(cache, cells=CELLS):
    """The mask of the cells found, whose rows must be right."""
    rows, mask = await cache.find(cells)
    np.testing.assert_array_equal(rows, ROWS[: len(cells)][mask])
    return mask


def measured(cache, sample, **labels):
    families = text_string_to_metric_families(cache.test_metrics.exposition()[0].decode())
    samples = [found for family in families for found in family.samples]
    return sum(s.value for s in samples if s.name == sample and labels.items() <= s.labels.items())


def errors(cache):
    return measured(cache, "satcle_cache_errors_total", tier="redis")


async def until_open(cache, operation="read"):
    """Look up until the breaker lets nothing through any more."""
    for _ in range(10):
        with pytest.raises(Unavailable):
            await cache.find(CELLS[:10])
    assert cache.state()["breakers"][operation] == "open"
    assert measured(cache, "satcle_cache_breaker_open", model="tiny", operation=operation) == 1


async def assert_recovers(cache):
    """After the delay it works again, and everyone is told."""
    cache.test_clock.now += RETRY_S
    await found(cache)
    assert cache.state()["breakers"]["read"] == "closed"
    assert measured(cache, "satcle_cache_breaker_open", model="tiny", operation="read") == 0
    cache.test_clock.now += RETRY_S
    await keep(cache)
    assert (await found(cache)).all()


def test_what_was_kept_is_found_bit_for_bit_and_by_another_process_too(redis):
    async def main():
        async with caching(redis.url) as writer, caching(redis.url) as reader:
            assert not (await found(reader)).any()
            await keep(writer, CELLS[:700], ROWS[:700])
            mask = await found(reader)
            assert mask[:700].all()
            assert not mask[700:].any()
            assert errors(writer) == errors(reader) == 0

    asyncio.run(main())


def test_one_namespace_does_not_see_anothers_rows(redis):
    async def main():
        async with caching(redis.url) as one, caching(redis.url, namespace="satcle:other") as other:
            await keep(one)
            assert not (await found(other)).any()

    asyncio.run(main())


def test_keeping_does_not_wait_for_redis_and_drops_what_it_cannot_hold(redis):
    async def main():
        async with caching(redis.url, HASTY_S) as cache:
            redis.pause()
            for _ in range(BACKLOG_ROWS // len(CELLS) + 5):
                await cache.keep(CELLS, ROWS)
            state = cache.state()
            assert state["backlog_rows"] <= BACKLOG_ROWS
            assert state["backlog_rows"] + state["dropped_rows"] == (BACKLOG_ROWS // len(CELLS) + 5) * len(CELLS)
            assert state["dropped_rows"] >= 5 * len(CELLS)
            await cache._writer  # the breaker opens, so the rest fails at once
            assert cache.state()["backlog_rows"] == 0
            assert cache.state()["breakers"]["write"] == "open"
            redis.resume()

    asyncio.run(main())


def test_closing_writes_what_waits(redis):
    async def main():
        async with caching(redis.url) as cache:
            await cache.keep(CELLS, ROWS)
        async with caching(redis.url) as reader:
            assert (await found(reader)).all()

    asyncio.run(main())


def test_closing_does_not_wait_for_a_redis_that_hangs(redis, monkeypatch):
    monkeypatch.setattr(redis_module, "CLOSE_S", 0.01)

    async def main():
        async with caching(redis.url) as cache:
            redis.pause()
            await cache.keep(CELLS, ROWS)
        redis.resume()

    asyncio.run(main())


def test_killed_and_started_again(redis):
    async def main():
        async with caching(redis.url) as cache:
            await keep(cache)
            redis.kill()
            await until_open(cache)
            failed = errors(cache)
            assert failed == 3  # then nobody asks any more
            redis.start()
            with pytest.raises(Unavailable):
                await cache.find(CELLS)  # not yet
            await assert_recovers(cache)
            assert errors(cache) == failed

    asyncio.run(main())


def test_paused_and_resumed(redis):
    async def main():
        async with caching(redis.url, HASTY_S) as cache:
            redis.pause()
            await until_open(cache)
            redis.resume()
        async with caching(redis.url) as cache:
            await assert_recovers(cache)

    asyncio.run(main())


def test_an_answer_that_came_too_late_is_not_taken_for_the_next(redis):
    async def main():
        async with caching(redis.url, timeout_s=2.0) as cache:
            await keep(cache)
            redis.pause()
            late = asyncio.create_task(cache.find(CELLS[:500]))
            await asyncio.sleep(0)
            late.cancel()
            await asyncio.wait([late])
            redis.resume()
            assert (await found(cache)).all()

    asyncio.run(main())


def test_restarted_between_two_lookups_costs_nothing_but_the_rows(redis):
    async def main():
        async with caching(redis.url) as cache:
            await keep(cache)
            redis.kill()
            await asyncio.to_thread(redis.start)  # the event loop turns meanwhile, and learns of the end
            assert not (await found(cache)).any()
            await keep(cache)
            assert (await found(cache)).all()

    asyncio.run(main())


def test_flushed(redis):
    async def main():
        async with caching(redis.url) as cache:
            await keep(cache)
            assert redis.command("FLUSHALL") == b"+OK\r\n"
            assert not (await found(cache)).any()
            assert errors(cache) == 0

    asyncio.run(main())


def test_full_still_answers_what_it_holds(redis):
    async def main():
        async with caching(redis.url) as cache:
            await keep(cache, CELLS[:500], ROWS[:500])
            redis.command("CONFIG", "SET", "maxmemory", "1")
            await keep(cache)
            assert cache.state()["breakers"] == {"read": "closed", "write": "open"}
            assert (await found(cache)).sum() == 500
            assert errors(cache) == 3
            redis.command("CONFIG", "SET", "maxmemory", "0")
            cache.test_clock.now += RETRY_S
            await keep(cache)
            assert (await found(cache)).all()

    asyncio.run(main())


def test_values_of_others_under_our_keys_are_dropped_counted_and_written_over(redis):
    async def main():
        async with caching(redis.url) as cache:
            await keep(cache)
            keys = cache._values.keys(CELLS)
            size = cache._values.value_bytes
            for key, value in zip(keys, (b"", b"x", b"x" * size, bytes(size), os.urandom(size)), strict=False):
                redis.command("SET", key, value)
            redis.command("COPY", keys[10], keys[11], "REPLACE")
            redis.command("SETRANGE", keys[12], str(size - 1), b"!")
            assert np.flatnonzero(~await found(cache)).tolist() == [0, 1, 2, 3, 4, 11, 12]
            assert errors(cache) == 7
            redis.command("DEL", keys[20])
            redis.command("LPUSH", keys[20], "of another type")
            await keep(cache)
            assert (await found(cache)).all()

    asyncio.run(main())


GARBAGE = {
    "nothing": None,
    "text": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "no protocol": b"\x00\xff\x13garbage\r\n" * 50,
    "an error": b"-LOADING Redis is loading the dataset in memory\r\n" * 20,
    "a number": b":5\r\n" * 20,
    "too few": b"*1\r\n$-1\r\n" * 20,
    "too much to come": b"*1000\r\n",
    "maps": b"%1\r\n+a\r\n+b\r\n" * 20,
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
def test_a_server_that_answers_garbage_is_missed_and_left_alone(answer):
    async def serve(reader, writer):
        with closing(writer), suppress(ConnectionError):
            while await reader.read(65536):
                if answer is not None:
                    writer.write(answer)

    async def main():
        port = free_port()
        async with (
            await asyncio.start_server(serve, "127.0.0.1", port),
            caching(f"redis://127.0.0.1:{port}", HASTY_S) as cache,
        ):
            await until_open(cache)
            await keep(cache)
            assert cache.state()["breakers"] == {"read": "open", "write": "open"}
            assert errors(cache) == 6

    asyncio.run(main())


def test_a_server_that_is_not_there_at_all():
    async def main():
        async with caching(f"redis://127.0.0.1:{free_port()}") as cache:
            await until_open(cache)
            await keep(cache)

    asyncio.run(main())


def test_many_lookups_at_once_all_find_their_own(redis):
    async def main():
        async with caching(redis.url) as cache:
            await keep(cache)
            answers = await asyncio.gather(*(cache.find(CELLS[n : n + 1]) for n in range(300)))
            for n, (rows, mask) in enumerate(answers):
                assert mask.all()
                np.testing.assert_array_equal(rows[0], ROWS[n])

    asyncio.run(main())


def test_opening_and_closing_are_logged_once_each_and_without_the_password(redis, caplog):
    async def main():
        async with caching(f"redis://:secret@127.0.0.1:{redis.port}") as cache:
            assert not (await found(cache)).any()
            redis.kill()
            await until_open(cache)
            redis.start()
            cache.test_clock.now += RETRY_S
            await found(cache)

    with caplog.at_level(logging.INFO, "satcle"):
        asyncio.run(main())
    lines = [record.getMessage() for record in caplog.records if record.name == "satcle"]
    assert len(lines) == 2
    assert "left alone for 5.0 s" in lines[0]
    assert lines[1] == "redis read works again"
    assert "secret" not in caplog.text


def test_a_cluster_is_read_and_written_slot_by_slot(tmp_path):
    async def main(server):
        assert server.command("CLUSTER", "ADDSLOTS", *map(str, range(16384))) == b"+OK\r\n"
        while b"cluster_state:ok" not in server.command("CLUSTER", "INFO"):
            pass
        async with caching(server.url.replace("redis://", "redis+cluster://")) as cache:
            assert not (await found(cache)).any()
            await keep(cache)
            assert (await found(cache)).all()
            assert errors(cache) == 0

    server = Process("--cluster-enabled", "yes", "--cluster-config-file", str(tmp_path / "nodes.conf"))
    try:
        asyncio.run(main(server))
    finally:
        server.kill()


def test_a_url_that_cannot_be_is_refused_at_start():
    with pytest.raises(InvalidSetting, match="SATCLE_REDIS_URL"):
        RedisServer("redis://host:port/").connect()
