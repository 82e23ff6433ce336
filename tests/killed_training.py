"""A training process that is killed, by SIGKILL, in the middle of its third epoch.

    python -m tests.killed_training CONFIG IMAGERY RUNS

Under torchrun it is the last process that dies.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from trainer.config import Config, read_config
from trainer.data.kept import keep_tiles
from trainer.data.tiles import open_tiles
from trainer.models.image_side import open_image_side
from trainer.processes import ALONE, Processes
from trainer.run_folder import RunFolder
from trainer.training.fitting import fit
from trainer.training.module import ContrastiveTraining, initial_model

KILLED_AT = (2, 1)
"""Epoch and step, both from 0."""


def training_of(
    config: Config, imagery: Path, kind: type[ContrastiveTraining] = ContrastiveTraining, processes: Processes = ALONE
) -> ContrastiveTraining:
    """What `pretrain` would fit, without a run folder."""
    tiles = open_tiles(config, imagery)
    kept = keep_tiles(config, imagery, tiles, open_image_side(config, tiles, vision=None, weights=None))
    return kind(initial_model(config, kept), kept, config, tiles.sources, processes)


class Killed(ContrastiveTraining):
    def training_step(self, rows: torch.Tensor, step: int) -> torch.Tensor:
        if (self.current_epoch, step) == KILLED_AT and self.processes.rank == self.processes.count - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().training_step(rows, step)


if __name__ == "__main__":
    asked = read_config(Path(sys.argv[1]))
    fit(
        training_of(asked, Path(sys.argv[2]), Killed, Processes.of_environment()),
        RunFolder(Path(sys.argv[3]) / asked.name),
    )
