"""Which models are in memory: each is loaded when it is first asked for, and the least recently used make room.

Models are loaded one at a time, off the event loop, in the order in which they are asked for. What is in use is never
unloaded. Where all are in use and one that is not loaded is wanted, one of them takes no new users for a while, who
wait with the others until it is loaded again; so each has its time, however busy the others are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from service.bundle import Bundle
from service.bundle.manifest import MANIFEST
from service.embedding.freed_memory import give_back_freed_memory
from service.embedding.model import Model, memory_of
from service.errors import BackendFailed, DeadlineExceeded
from service.metrics import Metrics

PATIENCE_S = 0.5
"""How long a model in use is kept from new users so that it makes room; then another one is."""


@dataclass(eq=False)
class Resident:
    """A bundle that is served: loaded, or to be loaded when it is asked for."""

    bundle: Bundle
    model: Model | None = None
    users: int = 0
    waiting: int = 0
    """Of those who wait until it is loaded."""
    loading: asyncio.Future[None] | None = None
    leaving: bool = False
    """Takes no new users, since it is to make room."""
    retired: bool = False
    """No longer served; unloaded once its last user is done."""
    lasting: bool = False
    """Never makes room: its files are no longer what they were, and it could not be loaded again."""
    used_at: int = 0
    loaded_at: int = 0
    created: int = field(init=False)
    """When its bundle was written, in seconds since 1970; 0 where it is gone already."""

    def __post_init__(self) -> None:
        try:
            self.created = int((self.bundle.path / MANIFEST).stat().st_mtime)
        except OSError:
            self.created = 0

    @property
    def is_open(self) -> bool:
        """Whether it may be used now."""
        return self.model is not None and not self.leaving


class Residents:
    """The loaded models take at most `bound` bytes together (None: whatever they take). On one event loop, no lock."""

    def __init__(self, open_model: Callable[[Bundle], Model], bound: int | None, metrics: Metrics) -> None:
        self._open_model = open_model
        self._bound = bound
        self._metrics = metrics
        self._held = 0
        self._loaded: list[Resident] = []
        self._clock = count(1)
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def loaded(self) -> list[Resident]:
        return list(self._loaded)

    def fits(self, bundle: Bundle) -> bool:
        """Whether there is room for its model as it is."""
        return self._bound is None or self._held + memory_of(bundle) <= self._bound

    def fits_alone(self, bundle: Bundle) -> bool:
        return self._bound is None or memory_of(bundle) <= self._bound

    def load_at_start(self, resident: Resident) -> None:
        """Blocks. Raises what `Opener.open` raises."""
        self._held += memory_of(resident.bundle)
        self._count_in(resident, self._open_model(resident.bundle))

    @contextmanager
    def use(self, resident: Resident) -> Iterator[Model]:
        """Keep an open model while it is used."""
        resident.used_at = next(self._clock)
        with self.keep(resident) as model:
            yield model

    @contextmanager
    def keep(self, resident: Resident) -> Iterator[Model]:
        """The same without being a use of it."""
        assert resident.model is not None
        resident.users += 1
        try:
            yield resident.model
        finally:
            resident.users -= 1
            if not resident.users:
                self._changed.set()
                if resident.retired:
                    self._start(self._unload(resident))

    async def load(self, resident: Resident, deadline: float | None) -> None:
        """Wait until it may be used, or is retired; whoever has waited may use it before the next is loaded.

        Raises DeadlineExceeded, or BackendFailed where it cannot be loaded.
        """
        if resident.loading is None:
            resident.loading = asyncio.get_running_loop().create_future()
            self._start(self._load(resident, resident.loading))
        resident.waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.shield(resident.loading)
        except TimeoutError:
            self._metrics.rejected.labels("deadline").inc()
            raise DeadlineExceeded(f"the deadline passed before model {resident.bundle.card.name} was loaded") from None
        finally:
            resident.waiting -= 1
            self._changed.set()

    def retire(self, resident: Resident) -> None:
        """Unload it once its last user is done."""
        resident.retired = True
        self._changed.set()
        if resident.model is not None and not resident.users:
            self._start(self._unload(resident))

    async def close(self) -> None:
        """Unload all, in use or not."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for resident in self.loaded:
            if resident.model is not None:
                await resident.model.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _load(self, resident: Resident, loading: asyncio.Future[None]) -> None:
        try:
            async with self._turn:
                if loading.done():  # it stayed open after all; who has come since waits for a load of their own
                    return
                if resident.model is None and await self._made_room(resident):
                    await self._open(resident)
                _settle(resident, loading)
                while resident.waiting:
                    self._changed.clear()
                    await self._changed.wait()
            if resident.retired:
                await self._unload(resident)
        except Exception as error:
            _settle(resident, loading, error)

    async def _made_room(self, resident: Resident) -> bool:
        """True once there is room for it; False once it is not wanted any more."""
        loop = asyncio.get_running_loop()
        asked: Resident | None = None
        until = loop.time()
        while resident.waiting and not resident.retired and not self.fits(resident.bundle):
            served = [other for other in self._loaded if not (other.retired or other.lasting)]
            if idle := [other for other in served if not other.users]:
                await self._unload(min(idle, key=lambda other: other.used_at))
                continue
            if loop.time() >= until:
                self._reopen(asked)
                asked = min(served, key=lambda other: other.loaded_at, default=None)
                until = loop.time() + PATIENCE_S
                if asked:
                    asked.leaving = True
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._changed.wait()
        self._reopen(asked)
        return resident.waiting > 0 and not resident.retired

    def _reopen(self, asked: Resident | None) -> None:
        """Let it be used again, by those who wait for that too; another is asked before it is asked again."""
        if asked and asked.model:
            asked.leaving = False
            asked.loaded_at = next(self._clock)
            if asked.loading:
                _settle(asked, asked.loading)

    async def _open(self, resident: Resident) -> None:
        name, need = resident.bundle.card.name, memory_of(resident.bundle)
        self._held += need
        try:
            model = await asyncio.to_thread(self._open_model, resident.bundle)
            await model.warm_up()
        except BaseException as error:
            self._held -= need
            self._metrics.model_loads.labels(name, "failed").inc()
            if isinstance(error, Exception):
                raise BackendFailed(f"model {name} cannot be loaded: {error}") from error
            raise
        self._count_in(resident, model)

    def _count_in(self, resident: Resident, model: Model) -> None:
        resident.model = model
        resident.loaded_at = resident.used_at = next(self._clock)
        self._loaded.append(resident)
        self._metrics.model_loads.labels(model.bundle.card.name, "loaded").inc()
        self._metrics.models_loaded.inc()

    async def _unload(self, resident: Resident) -> None:
        model = resident.model
        if model is None or resident.users:
            return
        resident.model, resident.leaving = None, False
        self._loaded.remove(resident)
        await model.close()
        del model
        await asyncio.to_thread(give_back_freed_memory)
        self._held -= memory_of(resident.bundle)
        self._metrics.model_unloads.inc()
        self._metrics.models_loaded.dec()
        self._changed.set()


def _settle(resident: Resident, loading: asyncio.Future[None], error: Exception | None = None) -> None:
    """Tell those who wait for the load."""
    if resident.loading is loading:
        resident.loading = None
    if loading.done():
        return
    if error is None:
        loading.set_result(None)
    else:
        loading.set_exception(error)
        loading.exception()  # which is no surprise where nobody waits any more
