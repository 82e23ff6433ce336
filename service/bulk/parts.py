"""The contract between a job, which is cut in parts, and the engines that make them.

A part is one file of a dataset. Which parts there are, and what each holds, follows from the job alone: so every engine
makes the same files, and a job that is begun again makes only those that are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from service.bulk.folder import Folder
from service.bundle import Bundle
from service.embedding.graphs import Device


@dataclass(frozen=True)
class Part:
    """One file: its name, and the numbers by which the job knows what belongs in it."""

    name: str
    key: tuple[int, ...]


@dataclass(frozen=True)
class Made:
    """A part that is there, of so many points; of none: it has no file, as nothing belongs in it."""

    name: str
    points: int


MakePart = Callable[[Part, Path], int]
"""Write the part to a path, and say how many points it has; a part of none is not written."""


class Job(Protocol):
    """What is made. Jobs are pickled for workers on other machines, to which the bundle is sent apart."""

    @property
    def suffix(self) -> str:
        """That the parts' names end in."""
        ...

    @property
    def description(self) -> dict[str, Any]:
        """Whatever decides what the parts hold, as JSON: two jobs that describe alike make the same parts."""
        ...

    def parts(self) -> list[Part]: ...

    def extras(self, parts: Iterable[Part]) -> Mapping[str, str]:
        """Files that lie beside these parts when they are complete, and what they say."""
        ...

    def open(self, bundle: Bundle, device: Device) -> MakePart:
        """Get ready to make parts, in any number of threads. Raises what opening a model raises."""
        ...


@dataclass(frozen=True)
class Task:
    """What a worker is told."""

    job: Job
    folder: Folder
    device: Device


class Maker:
    """Makes parts in a worker, each whole or not at all."""

    def __init__(self, task: Task, bundle: Bundle) -> None:
        self._folder = task.folder
        self._make = task.job.open(bundle, task.device)

    def make(self, part: Part) -> Made:
        """Blocks. Raises BadRow, BadTable, BackendFailed and OSError."""
        with self._folder.writing(part.name) as staging:
            return Made(part.name, self._make(part, staging))


MakeParts = Callable[[Sequence[Part]], Iterator[Made]]
"""Makes parts, in any order. Raises what `Maker.make` raises, or PartFailed."""


class Engine(Protocol):
    """Where parts are made."""

    def __call__(self, task: Task, bundle: Bundle) -> MakeParts:
        """Get ready, before anything is written. Raises what opening a model raises, where it is opened here."""
        ...
