"""Models in bounded memory: real bundles, opened by the service's own opener behind a gate that the test holds."""

import asyncio
import gc
import threading
import weakref
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bundle import LonLat
from service.embedding import residents as residents_module
from service.embedding.backends.fake import FakeBackend
from service.embedding.model import Opener, memory_of
from service.embedding.residents import Resident, Residents
from service.embedding.timing import Timing
from service.embedding.turns import Turns
from service.errors import BackendFailed, DeadlineExceeded, NotReady
from service.metrics import Metrics
from service.settings import Settings
from tests.service.embedding.test_batcher import FOREVER, measured, next_turn, run

NAMES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def bundles(make_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("residents")
    return {name: make_bundle(folder / name, name=name) for name in NAMES}


class Shelf:
    """Residents of which so many fit, by name; `opened` are the names of those opened, in order."""

    def __init__(self, bundles, fit, backend):
        self.metrics, self.opened = Metrics(), []
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Semaphore(0)
        self.turns = Turns(1)
        settings = Settings(cache_memory_mb=0, max_batch_points=4, max_queue_points=10**6)
        self._opener = Opener(settings, self.metrics, self.turns, backend)
        self.size = memory_of(bundles["a"])
        self.residents = Residents(self._open, fit and fit * self.size, self.metrics)
        self.by_name = {name: Resident(bundle) for name, bundle in bundles.items()}

    def _open(self, bundle):
        self.opened.append(bundle.card.name)
        self.started.release()
        assert self.gate.wait(30)
        return self._opener.open(bundle, 1)

    @property
    def loaded(self):
        return {resident.bundle.card.name for resident in self.residents.loaded}

    @asynccontextmanager
    async def using(self, name, deadline=FOREVER):
        """As `Models.using` does it."""
        resident = self.by_name[name]
        while not resident.is_open:
            await self.residents.load(resident, deadline)
        with self.residents.use(resident) as model:
            yield model

    async def touch(self, *names):
        for name in names:
            async with self.using(name) as model:
                assert model.bundle.card.name == name


@asynccontextmanager
async def shelf(bundles, fit=None, backend=None):
    it = Shelf(bundles, fit, backend or FakeBackend(8))
    try:
        yield it
    finally:
        it.gate.set()
        await it.residents.close()
        it.turns.close()


async def soon(delay):
    return asyncio.get_running_loop().time() + delay


async def until(holds):
    """What ends in another thread is nobody's event."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def test_a_model_is_loaded_when_it_is_first_asked_for_and_stays(bundles):
    async def main():
        async with shelf(bundles) as it:
            await it.touch("a", "b", "a", "b")
            assert it.opened == ["a", "b"]
            assert it.loaded == {"a", "b"}
            assert measured(it.metrics, "satcle_models_loaded") == 2
            assert measured(it.metrics, "satcle_model_loads_total", model="a", result="loaded") == 1

    run(main())


def test_those_who_ask_at_once_have_it_loaded_once(bundles):
    async def main():
        async with shelf(bundles) as it:
            await asyncio.gather(*(it.touch("a") for _ in range(20)))
            assert it.opened == ["a"]

    run(main())


def test_the_event_loop_goes_on_while_a_model_is_loaded(bundles):
    async def main():
        async with shelf(bundles) as it:
            await it.touch("b")
            it.gate.clear()
            waiting = asyncio.create_task(it.touch("a"))
            assert await asyncio.to_thread(it.started.acquire, timeout=30)
            await it.touch("b")
            assert not waiting.done()
            it.gate.set()
            await waiting

    run(main())


def test_who_waits_for_a_load_waits_no_longer_than_the_deadline(bundles):
    async def main():
        async with shelf(bundles) as it:
            it.gate.clear()
            with pytest.raises(DeadlineExceeded, match="before model a was loaded"):
                async with it.using("a", await soon(0.01)):
                    pass
            assert measured(it.metrics, "satcle_rejected_total", reason="deadline") == 1
            it.gate.set()
            await it.touch("a")
            assert it.opened == ["a"]  # what was begun is of use to the next

    run(main())


def test_a_model_that_cannot_be_loaded_fails_those_who_asked_and_is_tried_again(make_bundle, tmp_path):
    bundle = make_bundle(tmp_path / "a", name="a")
    encoder = (bundle.path / "encoder.onnx").read_bytes()

    async def main():
        async with shelf({"a": bundle}) as it:
            it._opener = Opener(it._opener.settings, it.metrics, it.turns, None)
            (bundle.path / "encoder.onnx").write_bytes(b"altered")
            for result in await asyncio.gather(*(it.touch("a") for _ in range(3)), return_exceptions=True):
                assert isinstance(result, BackendFailed)
                assert "model a cannot be loaded" in str(result)
            assert it.opened == ["a"]
            assert measured(it.metrics, "satcle_model_loads_total", model="a", result="failed") == 1
            assert it.residents.fits(bundle)
            (bundle.path / "encoder.onnx").write_bytes(encoder)
            await it.touch("a")

    run(main())


def test_the_least_recently_used_makes_room(bundles):
    async def main():
        async with shelf(bundles, fit=2) as it:
            await it.touch("a", "b", "a", "c")
            assert it.loaded == {"a", "c"}
            await it.touch("b")
            assert it.loaded == {"b", "c"}
            assert measured(it.metrics, "satcle_model_unloads_total") == 2
            assert measured(it.metrics, "satcle_models_loaded") == 2

    run(main())


def test_what_is_in_use_stays_though_it_is_the_least_recently_used(bundles):
    async def main():
        async with shelf(bundles, fit=2) as it:
            async with it.using("a") as model:
                await it.touch("b", "c", "b", "c")
                assert "a" in it.loaded
                await model.probe()
            await it.touch("b", "c")
            assert it.loaded == {"b", "c"}
            with pytest.raises(NotReady):
                await model.probe()

    run(main())


def test_where_all_are_in_use_one_who_wants_another_waits_for_the_first_that_is_not(bundles):
    async def main():
        async with shelf(bundles, fit=1) as it:
            async with it.using("a"):
                waiting = asyncio.create_task(it.touch("b"))
                late = asyncio.create_task(it.touch("a"))
                await next_turn()
                assert it.opened == ["a"]
            await asyncio.gather(waiting, late)
            assert it.opened in (["a", "b"], ["a", "b", "a"])  # `late` may have come before a was asked to leave

    run(main())


def test_who_gives_up_leaves_the_others_what_they_have(bundles, monkeypatch):
    monkeypatch.setattr(residents_module, "PATIENCE_S", 0.005)

    async def main():
        async with shelf(bundles, fit=1) as it, it.using("a"):
            with pytest.raises(DeadlineExceeded):
                async with it.using("b", await soon(0.05)):
                    pass
            await it.touch("a")
            assert it.opened == ["a"]

    run(main())


def test_a_model_that_never_rests_does_not_keep_others_out(bundles):
    """Its users overlap, so that there is always one."""

    async def main():
        async with shelf(bundles, fit=1) as it:
            stopping = asyncio.Event()

            async def overlap():
                while not stopping.is_set():
                    async with it.using("a"):
                        await asyncio.sleep(0.002)

            users = [asyncio.create_task(overlap()) for _ in range(4)]
            await until(lambda: it.loaded == {"a"})
            await it.touch("b", "c")
            stopping.set()
            await asyncio.gather(*users)
            assert {"b", "c"} <= set(it.opened)

    run(main())


def test_one_that_does_not_rest_in_time_is_left_alone_for_another(bundles, monkeypatch):
    monkeypatch.setattr(residents_module, "PATIENCE_S", 0.005)

    async def main():
        async with shelf(bundles, fit=2) as it, it.using("a"):
            stopping = asyncio.Event()

            async def overlap():
                while not stopping.is_set():
                    async with it.using("b"):
                        await asyncio.sleep(0.001)

            users = [asyncio.create_task(overlap()) for _ in range(3)]
            await until(lambda: it.loaded == {"a", "b"})
            await it.touch("c")
            assert it.loaded == {"a", "c"}
            stopping.set()
            await asyncio.gather(*users)

    run(main())


def test_one_that_is_retired_ends_with_its_last_user(bundles):
    async def main():
        async with shelf(bundles) as it:
            async with it.using("a") as model, it.using("a"):
                it.residents.retire(it.by_name["a"])
                await model.probe()
                assert it.loaded == {"a"}
            await until(lambda: not it.loaded)
            with pytest.raises(NotReady):
                await model.probe()
            await it.touch("b")
            it.residents.retire(it.by_name["b"])
            await until(lambda: not it.loaded)

    run(main())


def test_one_that_is_retired_while_it_is_loaded_does_not_stay(bundles):
    async def main():
        async with shelf(bundles) as it:
            it.gate.clear()
            resident = it.by_name["a"]
            waiting = asyncio.create_task(it.residents.load(resident, FOREVER))
            assert await asyncio.to_thread(it.started.acquire, timeout=30)
            it.residents.retire(resident)
            it.gate.set()
            await waiting
            await until(lambda: not it.loaded)
            assert it.residents.fits(resident.bundle)

    run(main())


def test_what_is_unloaded_is_freed_without_the_garbage_collector(bundles):
    """What a process has loaded when it begins to serve is frozen: no collector would look at it again."""

    async def main():
        async with shelf(bundles, fit=1) as it:
            it._opener = Opener(it._opener.settings, it.metrics, it.turns, None)
            gc.collect()
            gc.disable()
            try:
                async with it.using("a") as model:
                    lonlat = LonLat.from_degrees([[n, n] for n in range(9)])
                    await model.embedder.embed(lonlat, exact=False, deadline=FOREVER, timing=Timing())
                    session = weakref.ref(model.backend)
                del model
                await it.touch("b")
                await until(lambda: session() is None)  # the worker may be about to let go of it
            finally:
                gc.enable()

    run(main())


ASKED = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=25)


@given(asked=ASKED, fit=st.integers(1, 4))
def test_whoever_asks_for_whatever_is_served_and_the_bound_holds(bundles, asked, fit):
    async def main():
        async with shelf(bundles, fit=fit) as it:

            async def ask(name, turns):
                async with it.using(name) as model:
                    for _ in range(turns):
                        assert it.by_name[name].model is model
                        assert len(it.loaded) <= fit
                        await next_turn()
                    await model.probe()

            calls = []
            for name, turns, before in asked:
                for _ in range(before):
                    await next_turn()
                calls.append(asyncio.create_task(ask(name, turns)))
            await asyncio.gather(*calls)
            assert set(it.opened) == {name for name, *_ in asked}
            if fit >= len(set(it.opened)):
                assert len(it.opened) == len(set(it.opened))
            assert measured(it.metrics, "satcle_models_loaded") == len(it.loaded) <= fit

    run(main())


def test_who_is_kept_waiting_for_a_model_again_and_again_has_it_in_the_end(bundles, monkeypatch):
    monkeypatch.setattr(residents_module, "PATIENCE_S", 0.01)

    async def main():
        async with shelf(bundles, fit=1) as it:
            a = it.by_name["a"]
            async with it.using("a"):
                other = asyncio.create_task(it.touch("b"))
                await until(lambda: a.leaving)
                again = asyncio.create_task(it.touch("a"))
                await until(lambda: a.loading is not None)
                first = a.loading
                await until(lambda: a.loading not in (None, first))
            async with asyncio.timeout(30):
                await asyncio.gather(other, again)

    run(main())
