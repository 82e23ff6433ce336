"""The folder of a run: what was asked for, what it ran on, what came out."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
import yaml

from service.bundle import Metric
from trainer.checkpoint import read_checkpoint
from trainer.config import Config
from trainer.errors import RunError
from trainer.storage import Place, exists, write_text


@dataclass(frozen=True)
class RunFolder:
    """config.yaml, environment.json, best.ckpt, last.ckpt, history.csv, TensorBoard's events, at the end metrics.json.

    Where a vision pretraining came before, vision.ckpt too.
    """

    path: Place

    @property
    def best(self) -> Place:
        return self.path / "best.ckpt"

    @property
    def last(self) -> Place:
        return self.path / "last.ckpt"

    @property
    def history(self) -> Place:
        return self.path / "history.csv"

    @property
    def vision(self) -> Place:
        return self.path / "vision.ckpt"

    @property
    def finished(self) -> bool:
        return exists(self._metrics) and exists(self.best)

    @property
    def _metrics(self) -> Place:
        return self.path / "metrics.json"

    def epochs_of(self, config: Config, *, resume: bool) -> int:
        """How many epochs of `config` are done here.

        Raises RunError where another run is here, or this one and `resume` was not asked for.
        """
        if not exists(self.last):
            return 0
        if not resume:
            raise RunError(f"{self.path} holds a run; go on with --resume, or choose another folder with --runs")
        described = read_checkpoint(self.last).description
        if described.config.digest != config.digest:
            raise RunError(f"{self.path} holds a run of another config; choose another folder with --runs")
        return described.epochs

    def describe(self, config: Config, processes: int = 1) -> None:
        """Write down the config, and what it runs on."""
        write_text(self.path / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
        described = environment() | {"processes": processes}
        write_text(self.path / "environment.json", json.dumps(described, indent=2) + "\n")

    def finish(self, metrics: Iterable[Metric]) -> None:
        """Write what was measured: the mark of a finished run."""
        write_text(self._metrics, json.dumps([metric.model_dump() for metric in metrics], indent=2) + "\n")


def environment() -> dict[str, object]:
    """Versions, machine, devices and git revision (None outside a repository)."""
    packages = ("torch", "lightning", "numpy", "rasterio", "timm")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "devices": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        **{name: version(name) for name in packages},
        "git": git_revision(),
    }


def cpu_model() -> str:
    """As Linux names it, else as Python does."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def git_revision() -> str | None:
    """The revision of the source that runs, with -dirty where it was changed; None outside a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
