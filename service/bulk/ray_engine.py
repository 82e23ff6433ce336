"""The Ray Data engine for datasets: workers on many machines and GPUs. The only module that imports ray.

Parts go through a pool of actors, each of which opens the bundle once, sent to it from here. Ray starts a worker that
dies again and gives its part to it or to another, and a part is written whole or not at all: so a part may be made
twice, and is there once. Without a cluster, one is started on this machine.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.data
from ray.exceptions import RayError

from service.bulk.parts import Made, MakeParts, Maker, Part, Task
from service.bundle import Bundle, BundleCard, BundleCorrupt, BundleError, write_bundle
from service.bundle.store import CARD
from service.errors import PartFailed, ServiceError

MAX_BLOCKS = 10_000
"""Of parts, that Ray keeps count of one by one."""
INIT_DEATHS = 3
"""Workers that may die one after the other before they are ready; then the job ends."""
FOREVER_S = -1
"""A job may wait for machines as long as it takes."""
OBJECT_STORE_BYTES = 256 * 2**20
"""Of a cluster that is started here: it holds the bundle and the names of parts."""


@dataclass(frozen=True)
class RayData:
    """`workers` processes of a core each; with `gpus`, so many of a GPU each. Neither: one a core of the cluster."""

    workers: int | None = None
    gpus: int | None = None

    def __call__(self, task: Task, bundle: Bundle) -> MakeParts:
        return partial(self._rows, task, bundle)

    def _rows(self, task: Task, bundle: Bundle, parts: Sequence[Part]) -> Iterator[Made]:
        with _cluster():
            parcel = ray.put(_Parcel.of(bundle))
            made = self._pooled(_blocks(parts), task, parcel)
            try:
                for row in made.iter_rows():
                    yield _made(row)
            except RayError as error:
                raise PartFailed(f"Ray ended the job: {_last_line(error)}") from error

    def _pooled(self, parts: ray.data.Dataset, task: Task, parcel: ray.ObjectRef[_Parcel]) -> ray.data.Dataset:
        """A row for each part that is made."""
        cores = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
        workers = self.gpus or self.workers or max(1, cores)
        return parts.map_batches(
            _Worker,
            fn_constructor_args=(task, [parcel]),  # a list, so that it is fetched whenever a worker begins
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=min(workers, parts.count())),
            num_cpus=1,
            num_gpus=1 if self.gpus else 0,
        )


@dataclass(frozen=True)
class _Parcel:
    """A bundle on its way to a worker."""

    card: BundleCard
    files: dict[str, bytes]

    @classmethod
    def of(cls, bundle: Bundle) -> _Parcel:
        return cls(bundle.card, {name: bundle.read(name) for name in bundle.manifest.files if name != CARD})

    @contextmanager
    def unpacked(self) -> Iterator[Bundle]:
        """The bundle as files, for as long as they are needed. Raises BundleCorrupt where it is another."""
        with tempfile.TemporaryDirectory(prefix="satcle-") as folder:
            bundle = write_bundle(Path(folder) / self.card.name, self.card, self.files)
            if bundle.card.digest != self.card.digest:
                raise BundleCorrupt(f"bundle {self.card.name} did not arrive as it was sent: use one satcle everywhere")
            yield bundle


class _Worker:
    """An actor's work. What goes wrong is an answer too, as Ray would bury it in the trace of its own calls."""

    def __init__(self, task: Task, parcel: list[ray.ObjectRef[_Parcel]]) -> None:
        self._task = task
        self._parcel = parcel[0]
        self._maker: Maker | None = None

    def __call__(self, batch: Any) -> dict[str, list[Any]]:  # noqa: ANN401 - pyarrow's, which has no types
        rows = [self._row(Part(row["name"], tuple(row["key"]))) for row in batch.to_pylist()]
        return {key: [row[key] for row in rows] for key in ("name", "points", "problem")}

    def _row(self, part: Part) -> dict[str, Any]:
        try:
            made = self._opened().make(part)
        except (ServiceError, BundleError, OSError) as error:
            return {"name": part.name, "points": 0, "problem": str(error)}
        return {"name": made.name, "points": made.points, "problem": ""}

    def _opened(self) -> Maker:
        if self._maker is None:
            with ray.get(self._parcel).unpacked() as bundle:
                self._maker = Maker(self._task, bundle)
        return self._maker


@contextmanager
def _cluster() -> Iterator[None]:
    """The cluster that RAY_ADDRESS names, or that runs on this machine; else one that lasts as long as the context."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told of the job
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what is to be said is said by PartFailed
    _connect()
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_consecutive_actor_init_deaths = INIT_DEATHS
    context.execution_no_progress_timeout_s = FOREVER_S
    try:
        yield
    finally:
        ray.shutdown()


def _connect() -> None:
    """Raises PartFailed."""
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    try:
        ray.init(address="auto", **quiet)
        return
    except ConnectionError:
        if "RAY_ADDRESS" in os.environ:
            raise PartFailed(f"no Ray cluster answers at RAY_ADDRESS={os.environ['RAY_ADDRESS']}") from None
    except RayError as error:
        raise PartFailed(f"the Ray cluster does not let this job in: {_last_line(error)}") from None
    try:
        ray.init(address="local", include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **quiet)
    except Exception as error:  # Ray's own, of no class
        raise PartFailed(f"Ray does not start on this machine: {_last_line(error)}") from error


def _blocks(parts: Sequence[Part]) -> ray.data.Dataset:
    """A row and, as far as there are not too many, a block for each part: what a worker is given at once."""
    items = [{"name": part.name, "key": list(part.key)} for part in parts]
    return ray.data.from_items(items, override_num_blocks=min(len(items), MAX_BLOCKS))


def _made(row: dict[str, Any]) -> Made:
    """Raises PartFailed."""
    if row["problem"]:
        raise PartFailed(str(row["problem"]))
    return Made(str(row["name"]), int(row["points"]))


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
