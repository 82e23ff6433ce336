"""Several models under load, in processes of their own: reloaded, replaced and unloaded without a request that fails.

Every answer is compared with what that model's bundle says by itself, bit for bit.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import shutil
import signal
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from service.bundle import Bundle, LonLat
from service.embedding.backends.onnx import OnnxBackend
from tests.e2e.conftest import Serve, Served
from tests.service.conftest import write_tiny

KEY = {"x-api-key": "a-good-key"}
CALLERS = 12
A_GOOD_MANY = 150
SIZES = (1, 1, 1, 7, 300, 1500)
PADDING = 250_000
"""With it a tiny model counts as 1.2 MB."""


class Folder:
    """Bundles in a folder, and what each version of each embeds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keys = path.parent / "keys"
        self.keys.write_text("a-good-key\n")
        self._versions: dict[str, list[OnnxBackend]] = {}

    def write(self, name: str, version: int = 1) -> Bundle:
        shift = version + sum(map(ord, name))
        bundle = write_tiny(
            self.path / name, name=name, version=str(version), shift=shift, padding=PADDING, overwrite=True
        )
        self._versions.setdefault(name, []).append(OnnxBackend(bundle))
        return bundle

    def version_of(self, name: str, lonlat: LonLat, rows: NDArray[np.float32]) -> int | None:
        """Of which version of that model these rows are; None where of none."""
        for number, backend in enumerate(self._versions[name], 1):
            if np.array_equal(backend.embed(lonlat), rows):
                return number
        return None


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "all")
    folder.write("a")
    folder.write("b")
    return folder


@contextmanager
def serving(serve: Serve, folder: Folder, *options: str, **environment: str) -> Iterator[Served]:
    settings = {"SATCLE_BUNDLES": str(folder.path), "SATCLE_API_KEYS_FILE": str(folder.keys), **environment}
    with serve(*options, **settings) as served:
        yield served


@dataclass
class Load:
    """Callers that each send the next request when they have the answer to the last."""

    url: str
    folder: Folder
    models: list[str]
    answered: Counter[tuple[str, int | None]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    async def ask(self, client: httpx.AsyncClient, model: str, rng: np.random.Generator) -> int | None:
        """The version that answered."""
        places = rng.uniform([-180, -90], [180, 90], (rng.choice(SIZES), 2))
        answer = await client.post(
            "/v1/embeddings",
            params={"model": model, "exact": "true"},
            content=places.tobytes(),
            headers={**KEY, "content-type": "application/octet-stream", "accept": "application/x-npy"},
        )
        if answer.status_code != 200:
            self.failures.append(f"{model}: {answer.status_code} {answer.text}")
            return None
        rows = np.load(io.BytesIO(answer.content))
        version = self.folder.version_of(model, LonLat.from_degrees(places), rows)
        self.answered[model, version] += 1
        if version is None:
            self.failures.append(f"{model}: rows that are not its own")
        return version

    async def answers(self, more: int) -> None:
        """Until every model has answered so many times more."""
        before = {model: self._total(model) for model in self.models}
        while not self.failures and any(self._total(m) < before[m] + more for m in before):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # and the callers go on

    def _total(self, model: str) -> int:
        return sum(count for (name, _), count in self.answered.items() if name == model)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[httpx.AsyncClient]:
        stopping = asyncio.Event()

        async def call(number: int) -> None:
            rng = np.random.default_rng(number)
            async with httpx.AsyncClient(base_url=self.url, timeout=60) as client:
                while not stopping.is_set():
                    await self.ask(client, self.models[rng.integers(len(self.models))], rng)

        callers = [asyncio.create_task(call(number)) for number in range(CALLERS)]
        async with httpx.AsyncClient(base_url=self.url, timeout=60, headers=KEY) as client:
            try:
                yield client
            finally:
                stopping.set()
                await asyncio.gather(*callers)
        assert self.failures == []


async def reload(client: httpx.AsyncClient) -> dict[str, str]:
    answer = await client.post("/v1/models/reload")
    assert answer.status_code == 200, answer.text
    return {change["id"]: change["change"] for change in answer.json()["data"]}


def under_load(served: Served, folder: Folder, models: list[str], act: Callable[..., Awaitable[None]]) -> Load:
    assert served.process.stderr is not None
    threading.Thread(target=served.process.stderr.read, daemon=True).start()  # or the log would fill its pipe

    async def main() -> Load:
        load = Load(served.url, folder, models)
        async with load.running() as client:
            await load.answers(20)
            await act(load, client)
        return load

    return asyncio.run(main())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_third_model_is_added_under_load(serve: Serve, folder: Folder, workers: str) -> None:
    async def act(load: Load, client: httpx.AsyncClient) -> None:
        folder.write("c")
        assert await reload(client) == {"a": "kept", "b": "kept", "c": "added"}
        load.models.append("c")
        await load.answers(A_GOOD_MANY)

    with serving(serve, folder, "--workers", workers) as served:
        load = under_load(served, folder, ["a", "b"], act)
        assert min(load.answered["a", 1], load.answered["b", 1], load.answered["c", 1]) >= A_GOOD_MANY


@pytest.mark.parametrize("workers", ["1", "2"])
def test_one_is_replaced_under_load_and_after_that_only_the_new_one_answers(
    serve: Serve, folder: Folder, workers: str
) -> None:
    async def act(load: Load, client: httpx.AsyncClient) -> None:
        folder.write("b", 2)
        assert await reload(client) == {"a": "kept", "b": "replaced"}
        rng = np.random.default_rng(99)
        for _ in range(20):  # each on a connection of its own, and so now at this worker, now at that
            async with httpx.AsyncClient(base_url=load.url, timeout=60) as fresh:
                assert await load.ask(fresh, "b", rng) == 2
        await load.answers(A_GOOD_MANY)

    with serving(serve, folder, "--workers", workers) as served:
        load = under_load(served, folder, ["a", "b"], act)
        assert load.answered["b", 1] >= 20
        assert load.answered["b", 2] >= A_GOOD_MANY
        assert served.metric("satcle_queue_points") == 0


def test_a_bundle_that_is_broken_harms_nobody_under_load(serve: Serve, folder: Folder) -> None:
    async def act(load: Load, client: httpx.AsyncClient) -> None:
        (folder.write("b", 2).path / "encoder.onnx").write_bytes(b"altered")
        shutil.rmtree(folder.path / "a")
        assert await reload(client) == {"a": "refused", "b": "refused"}
        await load.answers(A_GOOD_MANY)

    with serving(serve, folder) as served:
        load = under_load(served, folder, ["a", "b"], act)
        assert set(load.answered) == {("a", 1), ("b", 1)}


@pytest.mark.parametrize("fit", [1, 2])
def test_three_models_where_fewer_fit_the_memory(serve: Serve, folder: Folder, fit: int) -> None:
    """All are asked for all the time, so that none ever rests."""
    folder.write("c")

    async def act(load: Load, client: httpx.AsyncClient) -> None:
        for _ in range(5):
            await load.answers(10)
            listed = (await client.get("/v1/models")).json()["data"]
            assert sum(model["loaded"] for model in listed) <= fit
            assert (await client.get("/readyz")).status_code == 200

    with serving(serve, folder, SATCLE_MODEL_MEMORY_MB=str(1 + fit)) as served:
        load = under_load(served, folder, ["a", "b", "c"], act)
        assert set(load.answered) == {("a", 1), ("b", 1), ("c", 1)}
        assert served.metric("satcle_model_unloads_total") >= 3


def test_every_worker_comes_to_the_new_models_and_so_does_one_that_replaces_another(
    serve: Serve, folder: Folder, tmp_path: Path
) -> None:
    """While one worker is stopped, the other answers."""

    def line_with(served: Served, text: str) -> str:
        assert served.process.stderr is not None
        return next(line for line in served.process.stderr if text in line)

    def started(served: Served) -> int:
        return int(re.search(r"worker (\d+) started", line_with(served, "started"))[1])  # type: ignore[index]

    def names(served: Served) -> list[str]:
        listed = httpx.get(served.url + "/v1/models", headers=KEY, timeout=60).json()["data"]
        return [model["id"] for model in listed]

    with serving(serve, folder, "--workers", "2") as served:
        first, second = started(served), started(served)
        for _ in range(2):
            line_with(served, "Application startup complete")
        folder.write("0")
        os.kill(first, signal.SIGSTOP)
        answer = httpx.post(served.url + "/v1/models/reload", headers=KEY, timeout=60)
        assert answer.status_code == 200
        assert names(served) == ["a", "0", "b"]
        os.kill(first, signal.SIGCONT)
        os.kill(second, signal.SIGSTOP)
        assert names(served) == ["a", "0", "b"]
        os.kill(second, signal.SIGCONT)

        (folder.write("d").path / "encoder.onnx").write_bytes(b"altered")
        os.kill(first, signal.SIGKILL)
        line_with(served, "is replaced")
        third = started(served)
        line_with(served, "Application startup complete")
        os.kill(second, signal.SIGSTOP)
        assert names(served) == ["a", "0", "b"]
        os.kill(second, signal.SIGCONT)
        assert third != first
