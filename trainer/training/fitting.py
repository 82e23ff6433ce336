"""Fitting, by Lightning: on one device, or on one a process where torchrun started several.

After every epoch last.ckpt holds all that the rest of the run depends on: a run killed anywhere and resumed goes on
from the start of the epoch that it was in, and ends with the very bits of an uninterrupted one.
"""

from __future__ import annotations

import logging
import warnings
from typing import Any

import lightning
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy

from trainer.checkpoint import load, save
from trainer.device import device
from trainer.errors import ConfigError, RunError
from trainer.processes import UNTIL_THE_FEATURES_ARE_KEPT, Processes
from trainer.run_folder import RunFolder
from trainer.storage import Place, Staged, exists, place_of, staged
from trainer.training.history import History
from trainer.training.module import VALIDATION_LOSS, ContrastiveTraining

LIGHTNING_WARNINGS = (
    r"Checkpoint directory .* exists and is not empty",  # it is the run folder, and holds the config
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning 2.6 with torch 2.9 and later
    r"`broadcast_buffers` is deprecated",  # torch 2.15; what it names instead is not in torch 2.6
    r"It is recommended to use `self\.log\(.* sync_dist=True\)`",  # a loss is already that of all processes
)


class FinalStopping(EarlyStopping):
    """Early stopping that stays stopped: a run resumed after it had stopped trains no further."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        trainer.should_stop = self.wait_count >= self.patience


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are whole or not there, whenever and wherever the process is killed."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ANN401
        save(checkpoint, place_of(str(path)))

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> dict[str, Any]:  # noqa: ANN401 - Lightning's options
        return load(place_of(str(path)))


class KeptCheckpoint(ModelCheckpoint):
    """Writes `path` after every epoch, or after each that is the best so far by `monitor`.

    It goes on with the best so far in a folder that has been moved, or is mounted elsewhere, since.
    """

    def __init__(self, path: Place, monitor: str | None = None) -> None:
        super().__init__(
            dirpath=str(path.parent),
            filename=path.stem,
            monitor=monitor,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        before, here = state_dict["dirpath"], self.dirpath

        def moved(value: Any) -> Any:  # noqa: ANN401 - what the state holds
            if isinstance(value, dict):
                return {moved(path): score for path, score in value.items()}
            return f"{here}{value.removeprefix(before)}" if str(value).startswith(before) else value

        super().load_state_dict({name: moved(value) for name, value in state_dict.items()})


class Publishing(lightning.Callback):
    """Brings TensorBoard's events to where the run is, after each epoch; what the last one logs comes at the end."""

    def __init__(self, events: Staged) -> None:
        self._events = events

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.save()
            self._events.publish()


def accelerator_of(asked: Any, processes: Processes) -> str:  # noqa: ANN401 - the config's literal
    """`cuda` or `cpu`, a device for each process of this machine. Raises ConfigError.

    Places need float64, which Apple's accelerator has not.
    """
    accelerator = device(asked, "training.accelerator").type
    if accelerator == "cuda" and processes.local_count > torch.cuda.device_count():
        raise ConfigError(
            f"torchrun started {processes.local_count} processes and this machine has {torch.cuda.device_count()} CUDA "
            "devices; start one for each"
        )
    return accelerator


def fit(module: ContrastiveTraining, run: RunFolder) -> None:
    """Train to the end, from `run.last` where it is there. Raises RunError where no epoch had a finite loss."""
    training, processes = module.config.training, module.processes
    best, last = KeptCheckpoint(run.best, VALIDATION_LOSS), KeptCheckpoint(run.last)
    stopping = FinalStopping(VALIDATION_LOSS, patience=training.patience)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    accelerator = accelerator_of(training.accelerator, processes)
    processes.meet(accelerator)
    with staged(run.path) as events, warnings.catch_warnings():
        for third_party in LIGHTNING_WARNINGS:
            warnings.filterwarnings("ignore", third_party)
        trainer = lightning.Trainer(
            max_epochs=training.epochs,
            accelerator=accelerator,
            devices=processes.local_count,
            num_nodes=processes.count // processes.local_count,
            strategy=_strategy(processes, unused=not training.contrast_weight),
            plugins=[WholeCheckpoints()],
            logger=TensorBoardLogger(events.folder, name="", version=""),
            callbacks=[RichProgressBar(), stopping, History(run.history), best, last, Publishing(events)],
            reload_dataloaders_every_n_epochs=1,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            enable_model_summary=False,
        )
        trainer.fit(module, ckpt_path=str(run.last) if exists(run.last) else None, weights_only=True)
    if best.best_model_score is None or not best.best_model_score.isfinite():
        raise RunError(f"{run.path}: training ended without a finite validation loss; lower training.learning_rate")


def _strategy(processes: Processes, *, unused: bool) -> str | DDPStrategy:
    """Buffers are constants, the same everywhere; `unused`: some parameters have no part in the loss."""
    if processes.count == 1:
        return "auto"
    return DDPStrategy(broadcast_buffers=False, find_unused_parameters=unused, timeout=UNTIL_THE_FEATURES_ARE_KEPT)
