"""Vision pretraining: a backbone distilled from itself on the config's tiles (DINO), checkpointed to the bit.

All randomness comes from (seed, step), so a run killed anywhere and resumed ends with the bits of an uninterrupted one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from trainer.config import Config, VisionConfig
from trainer.data.tile_batch import Tiles
from trainer.data.tiles import open_tiles
from trainer.data.transforms import Standardise
from trainer.device import device
from trainer.errors import ConfigError, RunError
from trainer.models.image_side import sample_tiles
from trainer.refinement.dino import Distillation, Outcome, Schedule, decay_groups, untrained
from trainer.refinement.multi_crop import multi_crop
from trainer.seeding import generator
from trainer.storage import Place, exists, remove, staged, write_text
from trainer.vision.checkpoint import VisionDescription, write_vision
from trainer.vision.run import VisionRun
from trainer.vision.tiles import TrainingTiles, batches, open_training_tiles, tile_shape

MEASURED_TILES = 512


def pretrain_vision(config: Config, imagery: Path, runs: Place, *, resume: bool = False) -> Place:
    """Distil a backbone as `config.vision` says, and return its checkpoint: `runs`/name/vision.ckpt.

    With `resume`, goes on from the last checkpoint where there is one, and does nothing where the run is finished.
    Raises ConfigError, ImageryError, CheckpointError, or RunError where the folder holds another run.
    """
    if config.vision is None:
        raise ConfigError(f"{config.name} has no vision section, which is what would be pretrained")
    run = VisionRun(runs / config.name)
    started = run.started(config, resume=resume)
    if exists(run.finished):
        return run.finished
    tiles = open_tiles(config, imagery)
    training = VisionTraining.start(config, tiles)
    if started is not None:
        training.resume(started.description.steps, started.training)
    run.describe(config)
    training.fit(open_training_tiles(tiles, imagery), run)
    metrics = training.measure(tiles)
    write_text(run.folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    training.write(run.finished, metrics=metrics)
    remove(run.last)
    return run.finished


@dataclass(eq=False)
class VisionTraining:
    """Everything that changes while the run goes on: the two encoders, the optimiser, and the step."""

    config: Config
    vision: VisionConfig
    bands: tuple[str, ...]
    standardise: Standardise
    model: Distillation
    optimizer: torch.optim.AdamW
    sizes: tuple[int, int]
    device: torch.device
    step: int = 0

    @classmethod
    def start(cls, config: Config, tiles: Tiles) -> VisionTraining:
        """Before the first step: the same weights for one seed."""
        assert config.vision is not None
        vision, sample = config.vision, sample_tiles(tiles)
        sizes = vision.crops.sizes(min(tile_shape(tiles)[1:]), vision.patch)
        where = device(vision.accelerator, "vision.accelerator")
        model = untrained(vision, len(tiles.bands), sizes[0]).to(where)
        optimizer = torch.optim.AdamW(decay_groups(model.student))
        return cls(config, vision, tiles.bands, Standardise.fit(sample).to(where), model, optimizer, sizes, where)

    def fit(self, tiles: TrainingTiles, run: VisionRun) -> None:
        """To the last step, with a checkpoint every so often. Raises RunError where the loss is not finite."""
        schedule = Schedule(self.vision, step_count(self.vision, len(tiles.rows)))
        begun, images = time.monotonic(), 0
        with (
            staged(run.folder) as events,
            SummaryWriter(str(events.folder), purge_step=self.step) as log,
            _progress() as progress,
        ):
            task = progress.add_task("vision", total=schedule.steps, completed=self.step, told="")
            for batch in tiles.ahead(batches(tiles.rows, self.vision, range(self.step, schedule.steps))):
                outcome = self._advance(batch, schedule)
                for name in ("loss", "entropy", "spread"):
                    log.add_scalar(f"vision/{name}", getattr(outcome, name), self.step)
                images += len(batch)
                rate = images / (time.monotonic() - begun)
                told = f"loss {outcome.loss:.3f}, spread {outcome.spread:.2f}, {rate:.1f} images/s"
                progress.update(task, completed=self.step, told=told)
                if self.step % self.vision.checkpoint_steps == 0:
                    self.write(run.last, training=self.state())
                    events.publish()

    def state(self) -> dict[str, Any]:
        """What `resume` takes."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def resume(self, step: int, state: Any) -> None:  # noqa: ANN401 - as torch's states are
        self.step = step
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

    def write(self, path: Place, *, metrics: dict[str, float] | None = None, training: object = None) -> None:
        description = VisionDescription(
            config=self.config,
            bands=self.bands,
            image_size=self.sizes[0],
            steps=self.step,
            metrics=metrics or {},
        )
        write_vision(path, description, self.model.teacher.backbone, self.standardise, training)

    @torch.no_grad()
    def measure(self, tiles: Tiles) -> dict[str, float]:
        """Loss, entropy and spread on validation tiles, at the end; none where none can be read."""
        total, count = torch.zeros(3), 0
        self.model.eval()
        for number, rows in enumerate(torch.split(tiles.validation_rows[:MEASURED_TILES], self.vision.batch_size)):
            batch = tiles.read(rows).tiles
            if len(batch):
                views = self._views(batch, generator(self.vision.seed, "vision validation", number))
                outcome = self.model(views, self.vision.teacher_temperature)
                total += len(batch) * torch.stack((outcome.loss, outcome.entropy, outcome.spread)).cpu()
                count += len(batch)
        means = dict(zip(("loss", "entropy", "spread"), (total / max(count, 1)).tolist(), strict=True))
        return {f"validation {name}": value for name, value in means.items()} if count else {}

    def _advance(self, batch: Tensor, schedule: Schedule) -> Outcome:
        """One step: views, loss, gradient, student, teacher."""
        views = self._views(batch, generator(self.vision.seed, "vision views", self.step))
        bfloat16 = self.vision.precision == "bfloat16"
        with self._drawing(), torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16):
            outcome: Outcome = self.model(views, schedule.teacher_temperature(self.step))
        if not outcome.loss.isfinite():
            raise RunError(f"step {self.step}: the loss is not finite; lower vision.learning_rate")
        self.optimizer.zero_grad()
        torch.autograd.backward(outcome.loss)
        if schedule.last_layer_is_frozen(self.step):
            self.model.student.head.last_layer.zero_grad()
        nn.utils.clip_grad_norm_(self.model.student.parameters(), self.vision.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = schedule.learning_rate(self.step)
            group["weight_decay"] = schedule.weight_decay(self.step) if group["decays"] else 0.0
        self.optimizer.step()
        self.model.follow(schedule.teacher_momentum(self.step))
        self.step += 1
        return replace(outcome, loss=outcome.loss.detach())

    def _views(self, batch: Tensor, rng: torch.Generator) -> list[Tensor]:
        return multi_crop(self.standardise(batch.to(self.device)), self.vision.crops, self.sizes, rng)

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Blocks are dropped as the step says, on any device; the global generators are left as they were."""
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else ()):
            torch.manual_seed(generator(self.vision.seed, "vision drop path", self.step).initial_seed())
            yield


def step_count(vision: VisionConfig, tiles: int) -> int:
    """Of all epochs, each without the remainder of its last batch, or `max_steps`."""
    steps = vision.epochs * max(1, tiles // vision.batch_size)
    return steps if vision.max_steps is None else min(steps, vision.max_steps)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.fields[told]}"), console=Console(stderr=True))
