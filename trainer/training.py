"""The training loop: a Lightning module over kept image features, its run folder, and resuming.

Batches are rows of arrays in memory, so a step costs the location tower alone. All randomness comes from (seed,
epoch, step), so a run killed anywhere and resumed from `last.ckpt` ends with the very bits of an uninterrupted one.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn

from service.bundle import DataSource
from trainer.checkpoint import DESCRIPTION, CheckpointDescription, add_metrics, read_checkpoint
from trainer.config import Config
from trainer.data.imagery import sha256
from trainer.data.kept import KeptTiles, keep_tiles
from trainer.errors import RunError
from trainer.evaluation.measure import measure
from trainer.losses.contrastive import contrastive_loss
from trainer.models.two_tower import TwoTower, untrained
from trainer.refinement.geospatial import perturb
from trainer.run_folder import RunFolder
from trainer.seeding import generator

VALIDATION_LOSS = "validation/loss"
LIGHTNING_WARNINGS = (
    r"Checkpoint directory .* exists and is not empty",  # it is the run folder, and holds the config
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning 2.6 with torch 2.9 and later
)


class RowBatches:
    """Rows in batches of one size, in the order given; the remainder is left out, unless it is all there is."""

    def __init__(self, rows: Tensor, batch_size: int) -> None:
        size = min(batch_size, len(rows))
        self.batches = torch.split(rows[: len(rows) // size * size], size)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.batches)


class FinalStopping(EarlyStopping):
    """Early stopping that stays stopped: a run resumed after it had stopped trains no further."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        trainer.should_stop = self.wait_count >= self.patience


class ContrastiveTraining(lightning.LightningModule):
    """Fits a TwoTower to kept tiles."""

    def __init__(self, model: TwoTower, tiles: KeptTiles, config: Config, sources: tuple[DataSource, ...]) -> None:
        super().__init__()
        self.model = model
        self.tiles = tiles
        self.config = config
        self.sources = sources
        self.features = tiles.features

    def on_fit_start(self) -> None:
        self.features = self.tiles.features.to(self.device)

    def train_dataloader(self) -> RowBatches:
        """Shuffled anew for each epoch, which the trainer asks for."""
        rows, training = self.tiles.train_rows, self.config.training
        order = torch.randperm(len(rows), generator=generator(training.seed, "shuffle", self.current_epoch))
        return RowBatches(rows[order], training.batch_size)

    def val_dataloader(self) -> RowBatches:
        return RowBatches(self.tiles.validation_rows, self.config.training.batch_size)

    def transfer_batch_to_device(self, batch: Tensor, device: torch.device, dataloader_idx: int) -> Tensor:
        """Rows stay where the places are."""
        return batch

    def training_step(self, rows: Tensor, step: int) -> Tensor:
        loss = self._loss(rows, generator(self.config.training.seed, "perturbation", self.current_epoch, step))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(rows))
        self.log("train/logit_scale", self.model.logit_scale.detach(), batch_size=len(rows))
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ANN401 (Lightning's)
        self.model.clamp_logit_scale()

    def validation_step(self, rows: Tensor, step: int) -> None:
        """Perturbed alike in every epoch, so that epochs can be compared."""
        loss = self._loss(rows, generator(self.config.training.seed, "validation", step))
        self.log(VALIDATION_LOSS, loss, prog_bar=True, batch_size=len(rows))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        training = self.config.training
        return torch.optim.AdamW(decay_groups(self.model, training.weight_decay), lr=training.learning_rate)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        description = CheckpointDescription(
            config=self.config,
            sources=self.sources,
            samples=len(self.tiles.train_rows),
            epochs=self.current_epoch + 1,
        )
        checkpoint[DESCRIPTION] = description.model_dump_json()

    def _loss(self, rows: Tensor, rng: torch.Generator) -> Tensor:
        refinement = self.config.refinement
        around = perturb(self.tiles.lonlat[rows], refinement.neighbours, refinement.sigma_deg, rng)
        location = self.model.location(around.to(self.device))
        image = self.model.image(self.features[rows.to(self.device)])
        return contrastive_loss(location, image, self.model.logit_scale)


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for AdamW: decay on matrices; none on biases, norms and the scale, which are not."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def pretrain(config: Config, imagery: Path, runs: Path, *, resume: bool = False) -> Path:
    """Train as `config` says, measure, and return the best checkpoint: `runs`/name/best.ckpt.

    With `resume`, goes on from last.ckpt where there is one, and does nothing where the run is finished. Raises
    ImageryError, CheckpointError, or RunError where the folder holds a run and `resume` was not asked for, or holds
    one of another config.
    """
    run = RunFolder(runs / config.name)
    run.check_free_for(config, resume=resume)
    if run.finished:
        return run.best
    sources = credited_sources(config, imagery)
    tiles = keep_tiles(config, imagery)
    run.describe(config)
    module = ContrastiveTraining(initial_model(config, tiles), tiles, config, sources)
    fit(module, run)
    best = read_checkpoint(run.best)
    module.model.load_state_dict(best.model_state)
    metrics = measure(module.model.cpu().eval(), tiles, config)
    add_metrics(run.best, metrics)
    run.finish(metrics)
    return run.best


def fit(module: ContrastiveTraining, run: RunFolder) -> None:
    """Train to the end, from `run.last` where it is there. Raises RunError where no epoch had a finite loss."""
    training = module.config.training
    best, stopping = _keep(run.best, VALIDATION_LOSS), FinalStopping(VALIDATION_LOSS, patience=training.patience)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    trainer = lightning.Trainer(
        max_epochs=training.epochs,
        accelerator=_accelerator(training.accelerator),
        devices=1,
        logger=TensorBoardLogger(run.path, name="", version=""),
        callbacks=[RichProgressBar(), stopping, best, _keep(run.last)],
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        for third_party in LIGHTNING_WARNINGS:
            warnings.filterwarnings("ignore", third_party)
        trainer.fit(module, ckpt_path=run.last if run.last.exists() else None, weights_only=True)
    if best.best_model_score is None or not best.best_model_score.isfinite():
        raise RunError(f"{run.path}: training ended without a finite validation loss; lower training.learning_rate")


def credited_sources(config: Config, imagery: Path) -> tuple[DataSource, ...]:
    """The config's sources as the card credits them, each with its file's sha256. Raises ImageryError."""
    return tuple(
        DataSource(name=s.name, credit=s.credit, license=s.license, url=s.url, sha256=sha256(s, imagery))
        for s in config.data.sources
    )


def initial_model(config: Config, tiles: KeptTiles) -> TwoTower:
    """What training starts from; image features are standardised by the training tiles alone."""
    features = tiles.features[tiles.train_rows]
    deviation, mean = torch.std_mean(features, dim=0, correction=0)
    return untrained(config, mean, torch.where(deviation > 0, deviation, 1.0))


def _accelerator(asked: str) -> str:
    """What `auto` stands for: CUDA or the CPU. Places need float64, which Apple's accelerator has not."""
    if asked != "auto":
        return asked
    return "cuda" if torch.cuda.is_available() else "cpu"


def _keep(path: Path, monitor: str | None = None) -> ModelCheckpoint:
    """Writes `path` after every epoch, or after each that is the best so far by `monitor`."""
    return ModelCheckpoint(
        dirpath=path.parent,
        filename=path.stem,
        monitor=monitor,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
