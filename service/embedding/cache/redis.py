"""Rows in Redis. The only module that imports redis.

Whatever Redis does, nobody fails by it: an answer that does not come, comes late or makes no sense is a miss,
counted as an error, and after some in a row Redis is left alone for a while. Reading and writing are judged apart:
a Redis that is full still answers what it holds.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from service.embedding.backends.base import Rows
from service.embedding.cache.base import Unavailable
from service.embedding.cache.breaker import Breaker
from service.embedding.cache.values import Values
from service.embedding.cells import Cells
from service.embedding.pieces import pieces
from service.errors import InvalidSetting
from service.metrics import Metrics

T = TypeVar("T")
Operation = Literal["read", "write"]

CLUSTER = "+cluster"
CONNECTIONS = 16
READ_BYTES = 2**20
"""Taken from the socket at once: an answer of a thousand rows is as large."""
WRITE_ROWS = 256
"""Written by one command; packing it holds the event loop for about half a millisecond."""
BACKLOG_ROWS = 16_384
"""At most so many rows wait to be written; what comes on top is dropped."""
CLOSE_S = 1.0

log = logging.getLogger("satcle")


@dataclass(frozen=True)
class RedisServer:
    """Where Redis is, how long one command may take, and how long Redis is left alone after it failed."""

    url: str
    timeout_s: float = 0.05
    retry_s: float = 5.0

    def connect(self) -> Any:  # noqa: ANN401 - Redis or RedisCluster, whose classes share no base
        """A client, not connected yet; `redis+cluster://` and `rediss+cluster://` are clusters.

        Raises InvalidSetting.
        """
        options: dict[str, Any] = {
            "socket_connect_timeout": self.timeout_s,
            "socket_timeout": self.timeout_s,
            "socket_read_size": READ_BYTES,
            "retry": Retry(NoBackoff(), 0),
            # With notifications, a connection that the server has closed meanwhile is not noticed before it is used.
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        }
        try:
            if CLUSTER in self.url:
                return RedisCluster.from_url(self.url.replace(CLUSTER, "", 1), max_connections=CONNECTIONS, **options)
            pool = BlockingConnectionPool.from_url(
                self.url, max_connections=CONNECTIONS, timeout=self.timeout_s, **options
            )
        except ValueError as error:
            raise InvalidSetting(f"SATCLE_REDIS_URL: {error}") from None
        return Redis.from_pool(pool)


class RedisCache:
    """The rows of one bundle in Redis; used from one event loop."""

    name = "redis"

    def __init__(
        self,
        server: RedisServer,
        values: Values,
        metrics: Metrics,
        model: str,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._server = server
        self._values = values
        self._metrics = metrics
        self._model = model
        self._client = server.connect()
        self._clustered = CLUSTER in server.url
        self._breakers: dict[Operation, Breaker] = {
            "read": Breaker(server.retry_s, clock),
            "write": Breaker(server.retry_s, clock),
        }
        self._backlog: deque[tuple[Cells, Rows]] = deque()
        self._backlog_rows = 0
        self._dropped_rows = 0
        self._writer: asyncio.Task[None] | None = None

    async def find(self, cells: Cells) -> tuple[Rows, NDArray[np.bool_]]:
        rows, found, foreign = await self._attempt("read", self._read, cells)
        if foreign:
            self._count_errors(foreign)
        return rows, found

    async def keep(self, cells: Cells, rows: Rows) -> None:
        """Leave the rows to a task that writes them, unless it is behind already."""
        if self._backlog_rows + len(cells) > BACKLOG_ROWS:
            self._dropped_rows += len(cells)
            return
        self._backlog.append((cells.copy(), rows.copy()))  # views would hold the whole of a large request
        self._backlog_rows += len(cells)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_backlog())

    def state(self) -> dict[str, object]:
        return {
            "breakers": {operation: breaker.state for operation, breaker in self._breakers.items()},
            "backlog_rows": self._backlog_rows,
            "dropped_rows": self._dropped_rows,
        }

    async def shrink(self, capacity_bytes: int) -> None:
        """Its rows are in another process."""

    async def close(self) -> None:
        """Write what waits, within CLOSE_S, and disconnect."""
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=CLOSE_S)
            self._writer.cancel()
        with suppress(Exception):  # a connection that cannot be closed well is closed all the same
            await self._client.aclose()

    async def _read(self, cells: Cells) -> tuple[Rows, NDArray[np.bool_], int]:
        """The rows found, the mask of which, and how many values were none of ours."""
        read = self._client.mget_nonatomic if self._clustered else self._client.mget
        values = await read(self._values.keys(cells))
        rows, found = self._values.decode(cells, values)
        return rows, found, sum(value is not None for value in values) - len(rows)

    async def _write(self, cells: Cells, rows: Rows) -> None:
        values = dict(zip(self._values.keys(cells), self._values.encode(cells, rows), strict=True))
        written = await (self._client.mset_nonatomic if self._clustered else self._client.mset)(values)
        if not np.all(written):
            raise ValueError("the answer to MSET was not OK")

    async def _write_backlog(self) -> None:
        while self._backlog:
            cells, rows = self._backlog[0]
            async for piece in pieces(len(cells), WRITE_ROWS):
                with suppress(Unavailable):
                    await self._attempt("write", self._write, cells[piece], rows[piece])
            self._backlog.popleft()
            self._backlog_rows -= len(cells)

    async def _attempt(
        self, operation: Operation, command: Callable[..., Awaitable[T]], cells: Cells, *rows: Rows
    ) -> T:
        """The command's result, in time and through the breaker; raises Unavailable."""
        breaker = self._breakers[operation]
        if not breaker.allows():
            raise Unavailable(f"redis is left alone: {operation} failed")
        try:
            async with asyncio.timeout(self._server.timeout_s):
                result = await command(cells, *rows)
        except Exception as error:  # garbage can make a client raise anything
            self._count_errors(1)
            self._tell(breaker.failed, operation, error)
            raise Unavailable(str(error)) from error
        self._tell(breaker.succeeded, operation)
        return result

    def _count_errors(self, errors: int) -> None:
        self._metrics.cache_errors.labels(self.name).inc(errors)

    def _tell(self, outcome: Callable[[], None], operation: Operation, error: Exception | None = None) -> None:
        """Tell the breaker, and everyone else where that opens or closes it."""
        breaker = self._breakers[operation]
        before = breaker.state
        outcome()
        if breaker.state == before:
            return
        self._metrics.cache_breaker_open.labels(self._model, operation).set(breaker.state == "open")
        if breaker.state == "closed":
            log.info("redis %s works again", operation)
        elif before == "closed":
            log.warning(
                "redis %s fails (%s): left alone for %s s at a time", operation, type(error).__name__, breaker.delay_s
            )
