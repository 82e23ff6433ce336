"""How far it is, for whoever waits."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

LINE_EVERY_S = 30


class Progress(Protocol):
    def begin(self, stage: str, total: int | None) -> None:
        """The next stage, of `total` rows where that is known."""
        ...

    def advance(self, rows: int) -> None: ...


class Silent:
    def begin(self, stage: str, total: int | None) -> None:
        pass

    def advance(self, rows: int) -> None:
        pass


class Bar:
    """A bar on stderr while the context lasts, where stderr is a terminal."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._rich = RichProgress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._rich.add_task("")

    def __enter__(self) -> Bar:
        self._rich.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._rich.stop()

    def begin(self, stage: str, total: int | None) -> None:
        self._rich.reset(self._task, description=stage, total=total)

    def advance(self, rows: int) -> None:
        self._rich.advance(self._task, rows)


class Lines:
    """A line now and then, for the log of a job that no one watches."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = monotonic) -> None:
        self._write, self._clock = write, clock

    def begin(self, stage: str, total: int | None) -> None:
        self._stage, self._total, self._done, self._told_at = stage, total, 0, self._clock()

    def advance(self, rows: int) -> None:
        self._done += rows
        if self._clock() - self._told_at >= LINE_EVERY_S:
            self._told_at = self._clock()
            self._write(f"{self._done:,}{'' if self._total is None else f' of {self._total:,}'} {self._stage}")
