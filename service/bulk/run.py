"""A job, from its parts to a complete dataset, on any engine."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

from service.bulk.dataset import Dataset
from service.bulk.folder import Folder
from service.bulk.parts import Engine, Job, Task
from service.bulk.progress import Progress
from service.bundle import Bundle
from service.embedding.graphs import Device
from service.errors import InvalidRequest, ItemError


@dataclass(frozen=True)
class Output:
    """`folder` is a path, or a URI of an object store."""

    folder: str
    overwrite: bool = False


@dataclass(frozen=True)
class DatasetReport:
    """What was done now; `made` of so many `parts`."""

    parts: int
    made: int
    points: int
    seconds: float


def make_dataset(
    job: Job, bundle: Bundle, output: Output, engine: Engine, device: Device, progress: Progress
) -> DatasetReport:
    """Make the parts that are missing. Raises what `Dataset.open`, the engine and `Dataset.finish` raise."""
    started = perf_counter()
    folder = Folder.of(output.folder)
    make = engine(Task(job, folder, device), bundle)  # what was made before stays where no model can be opened
    parts = job.parts()
    dataset = Dataset.open(folder, job, overwrite=output.overwrite)
    missing = dataset.missing(parts)
    progress.begin("parts", len(parts))
    progress.advance(len(parts) - len(missing))
    points, empty = 0, set()
    if missing:
        for made in make(missing):
            points += made.points
            if not made.points:
                empty.add(made.name)
            progress.advance(1)
    dataset.finish(job, parts, empty)
    if len(dataset.empty | empty) == len(parts):
        raise InvalidRequest([ItemError("", f"{output.folder} has no part: there is no place in what was asked for")])
    seconds = perf_counter() - started
    return DatasetReport(len(parts) - len(dataset.empty | empty), len(missing) - len(empty), points, seconds)
