"""The training of a sweep's runs: each a process of its own, so that one that fails or is killed stands alone."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

import torch
import yaml

from trainer.config import Config
from trainer.errors import RunError
from trainer.run_folder import RunFolder
from trainer.sweep.folders import LOG, config_of

TURN_S = 1.0
"""How often a run that another process trains is looked at again."""


@dataclass(frozen=True)
class Trainers:
    """At most `jobs` at once, which share the cores, and the GPUs in turn. `options` are those of satcle pretrain."""

    jobs: int
    options: Sequence[str]
    _slots: SimpleQueue[int] = field(default_factory=SimpleQueue, init=False)
    _running: set[subprocess.Popen[bytes]] = field(default_factory=set, init=False)
    _stopped: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        for slot in range(self.jobs):
            self._slots.put(slot)

    def train(self, config: Config, runs: Path) -> None:
        """By `satcle pretrain --resume` in `runs`/name, unless it is finished; what it prints goes to log.txt there.

        Raises RunError where it fails, or the folder holds a run of another config.
        """
        folder = runs / config.name
        held = config_of(folder)
        if held and held.digest != config.digest:
            raise RunError(f"{folder} holds a run of another config; remove it, or rename the variant")
        with self._alone(folder) as lock:
            if not RunFolder(folder).finished:
                (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
                self._pretrain(folder, runs, lock)

    def stop(self) -> None:
        """End what runs, and begin nothing more; what was trained so far is resumed another time."""
        self._stopped.set()
        for process in list(self._running):
            process.terminate()

    def _pretrain(self, folder: Path, runs: Path, lock: int) -> None:
        command = [sys.executable, "-m", "service", "pretrain", str(folder / "config.yaml"), "--runs", str(runs)]
        command += ["--resume", *self.options]
        slot = self._slots.get()
        try:
            with (folder / LOG).open("ab") as log:
                environment = self._environment(slot)
                process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, pass_fds=(lock,))
            self._running.add(process)
            if self._stopped.is_set():
                process.terminate()
            status = process.wait()
            self._running.discard(process)
        finally:
            self._slots.put(slot)
        if status != 0:
            raise RunError(_why(status, folder / LOG))

    def _environment(self, slot: int) -> dict[str, str]:
        shared = dict(os.environ)
        if self.jobs > 1:
            shared.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // self.jobs)))
            if "CUDA_VISIBLE_DEVICES" not in shared and (devices := torch.cuda.device_count()) > 1:
                shared["CUDA_VISIBLE_DEVICES"] = str(slot % devices)
        return shared

    @contextmanager
    def _alone(self, folder: Path) -> Iterator[int]:
        """One process trains a run; another that wants it waits.

        The training process inherits the lock: where it outlives a sweep that was killed, it still holds it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            while not _locked(handle):
                if self._stopped.wait(TURN_S):
                    raise RunError("stopped while another process trained it")
            yield handle
        finally:
            os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _why(status: int, log: Path) -> str:
    """The last that a failed process said."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    said = lines[-1].removeprefix("Error: ").removeprefix("satcle: ") if lines and status > 0 else ""
    how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    return f"{said or how} ({log})"
