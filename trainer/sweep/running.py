"""A sweep, run: every run trained, its encoder and its tower before training measured, side by side with others.

What is done is left alone, what was interrupted goes on, and a run that fails is named while the others go on.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from service.bundle import BundleError
from trainer.baselines.untrained import untrained_self
from trainer.config import digest_of
from trainer.errors import TrainerError
from trainer.evaluation.cells import Cells
from trainer.evaluation.encoders import Encoder, open_encoder
from trainer.evaluation.leaderboard import measured
from trainer.evaluation.suites import TaskRequest, read_suite
from trainer.evaluation.task_data import open_tasks
from trainer.evaluation.tasks import Task
from trainer.run_folder import RunFolder
from trainer.sweep.folders import CELLS, LOG, Entry, measurement, read_measurement, untrained_name
from trainer.sweep.plan import Plan, PlannedRun
from trainer.sweep.training import Trainers

Told = Callable[[str], None]


@dataclass(frozen=True)
class Failure:
    """What failed, and why, in one line."""

    name: str
    why: str


def run_sweep(plan: Plan, folder: Path, data_dir: Path, trainers: Trainers, tell: Told) -> list[Failure]:
    """Train and measure all of `plan` in `folder`; what failed. `tell` hears of each step, one line.

    Raises TrainerError where the tasks cannot be read: nothing is trained then.
    """
    measuring = Measuring(plan, list(_tasks(plan, data_dir, tell)), tell)
    failures = [*measuring.beside(folder)]
    with ThreadPoolExecutor(trainers.jobs) as pool:
        try:
            waiting = {pool.submit(_run, run, folder, trainers, measuring, tell): run for run in plan.runs}
            for done in as_completed(waiting):
                if error := done.result():
                    failures.append(Failure(waiting[done].name, error))
                    tell(f"{waiting[done].name}: failed: {error}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            trainers.stop()
            raise
    return failures


class Measuring:
    """Measures encoders, one at a time, each into a folder of its own, unless it was so measured already."""

    def __init__(self, plan: Plan, tasks: list[Task], tell: Told) -> None:
        self._tasks, self._protocol, self._tell = tasks, plan.sweep.evaluate.protocol, tell
        self._beside = plan.sweep.evaluate.beside
        self._asked = digest_of({**asdict(self._protocol), "tasks": [(task.name, task.digest) for task in tasks]})
        self._one_at_a_time = threading.Lock()

    def __call__(self, folder: Path, opened: Callable[[], Encoder]) -> None:
        """Raises TrainerError, or what the encoder raises."""
        with self._one_at_a_time:
            before = read_measurement(folder)
            if before is None or before.asked != self._asked:
                board = measured([opened()], self._tasks, self._protocol, Cells(folder / CELLS), self._tell)
                measurement(board.rows[0], self._asked, asdict(self._protocol)).write(folder)

    def beside(self, folder: Path) -> Iterator[Failure]:
        """The encoders that the sweep names beside its runs."""
        for spec in self._beside:
            own = folder / f"beside-{digest_of(spec)[:12]}"
            try:
                encoder = open_encoder(spec)
                Entry("beside", encoder.name).write(own)
                self(own, lambda encoder=encoder: encoder)  # type: ignore[misc]
            except (TrainerError, BundleError) as error:
                self._tell(f"{spec}: failed: {error}")
                yield Failure(spec, str(error))


def _run(run: PlannedRun, folder: Path, trainers: Trainers, measuring: Measuring, tell: Told) -> str | None:
    """Train and measure; why it failed, or None."""
    own = folder / run.name
    entry = Entry("run", run.variant, run.seed, run.changes, untrained_name(run.config))
    try:
        entry.write(own)
        if not RunFolder(own).finished:
            tell(f"{run.name}: training")
        trainers.train(run.config, folder)
        _measure(run, own, folder, measuring)
    except (TrainerError, BundleError) as error:
        why = str(error)
    except Exception as error:  # the other runs go on, whatever it is
        why = f"{type(error).__name__}: {error} ({own / LOG})"
        with (own / LOG).open("a", encoding="utf-8") as log:
            traceback.print_exc(file=log)
    else:
        return None
    replace(entry, error=why).write(own)
    return why


def _measure(run: PlannedRun, own: Path, folder: Path, measuring: Measuring) -> None:
    before = folder / untrained_name(run.config)
    Entry("untrained", "untrained", run.seed).write(before)
    measuring(before, lambda: untrained_self(run.config))
    measuring(own, lambda: open_encoder(str(RunFolder(own).best)))


def _tasks(plan: Plan, data_dir: Path, tell: Told) -> Iterator[Task]:
    requests: tuple[TaskRequest, ...] = tuple(task for suite in plan.suites for task in read_suite(suite).tasks)
    yield from open_tasks(requests, data_dir, tell)
