"""The folder of a vision pretraining: within that of the config's run, so that the run finds it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import yaml

from trainer.config import Config
from trainer.errors import RunError
from trainer.run_folder import environment
from trainer.storage import Place, exists, write_text
from trainer.vision.checkpoint import VisionCheckpoint, read_vision


@dataclass(frozen=True)
class VisionRun:
    """`path`/vision.ckpt once it is finished; config, environment, TensorBoard's events, last.ckpt in `path`/vision."""

    path: Place

    @property
    def finished(self) -> Place:
        return self.path / "vision.ckpt"

    @property
    def folder(self) -> Place:
        return self.path / "vision"

    @property
    def last(self) -> Place:
        return self.folder / "last.ckpt"

    def started(self, config: Config, *, resume: bool) -> VisionCheckpoint | None:
        """What is here of `config`, finished or to be gone on with.

        Raises RunError where another config's is here, or this one's and `resume` was not asked for.
        """
        here = next((path for path in (self.finished, self.last) if exists(path)), None)
        if here is None:
            return None
        if not resume:
            raise RunError(f"{here} is there; go on with --resume, or choose another folder with --runs")
        checkpoint = read_vision(here)
        described = checkpoint.description
        if (described.vision, described.config.data) != (config.vision, config.data):
            raise RunError(f"{here} is of another vision or data section; choose another folder with --runs")
        return checkpoint

    def describe(self, config: Config) -> None:
        """Write down the config, and what it runs on."""
        write_text(self.folder / "config.yaml", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
        write_text(self.folder / "environment.json", json.dumps(environment(), indent=2) + "\n")
