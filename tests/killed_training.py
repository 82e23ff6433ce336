"""A training process that is killed, by SIGKILL, in the middle of its third epoch.

    python -m tests.killed_training CONFIG IMAGERY RUNS [machine | left]

Under torchrun it is the last process that dies, or the one told `machine`, with the torchrun that started it, and not
the one told `left`. A run that goes on from a checkpoint is let go on.
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
from trainer.storage import place_of
from trainer.training.fitting import fit
from trainer.training.module import ContrastiveTraining, initial_model

KILLED_AT = (2, 1)
"""Epoch and step, both from 0."""
MACHINE, LEFT = "machine", "left"
DEATH = "killed in the middle of an epoch"


def training_of(
    config: Config, imagery: Path, kind: type[ContrastiveTraining] = ContrastiveTraining, processes: Processes = ALONE
) -> ContrastiveTraining:
    """What `pretrain` would fit, without a run folder."""
    tiles = open_tiles(config, imagery)
    kept = keep_tiles(config, imagery, tiles, open_image_side(config, tiles, vision=None, weights=None))
    return kind(initial_model(config, kept), kept, config, tiles.sources, processes)


class Killed(ContrastiveTraining):
    def on_train_start(self) -> None:
        self.resumed = self.current_epoch > 0

    def training_step(self, rows: torch.Tensor, step: int) -> torch.Tensor:
        last = self.processes.rank == self.processes.count - 1 and LEFT not in sys.argv
        if (last or MACHINE in sys.argv) and not self.resumed and (self.current_epoch, step) == KILLED_AT:
            print(DEATH, flush=True)
            if MACHINE in sys.argv:
                os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().training_step(rows, step)


if __name__ == "__main__":
    asked = read_config(Path(sys.argv[1]))
    fit(
        training_of(asked, Path(sys.argv[2]), Killed, Processes.of_environment()),
        RunFolder(place_of(sys.argv[3]) / asked.name),
    )
