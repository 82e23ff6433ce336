"""The Lightning module that fits a TwoTower to kept tiles.

Batches are rows of arrays in memory, so a step costs the location tower alone. All randomness comes from (seed,
purpose, epoch, step) and is drawn for the whole batch: each of several processes takes its share of the very batch
that one alone would have, and a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor, nn

from service.bundle import DataSource
from trainer.checkpoint import DESCRIPTION, TRAINING_PLACES, CheckpointDescription
from trainer.config import Config
from trainer.data.kept import KeptTiles
from trainer.losses.contrastive import contrastive_loss
from trainer.losses.csp import PLACES_ELSEWHERE, csp_loss, draw_elsewhere
from trainer.losses.distillation import distillation_loss
from trainer.models.two_tower import TwoTower, untrained
from trainer.processes import ALONE, Processes, Share
from trainer.seeding import generator
from trainer.training.batches import RowBatches, draw_views
from trainer.training.dropout import WholeBatchDropout
from trainer.training.schedule import learning_rate_factor

REACH_PLACES = 4096
TRAIN_LOSS, VALIDATION_LOSS, LOGIT_SCALE = "train/epoch_loss", "validation/loss", "train/logit_scale"


class ContrastiveTraining(lightning.LightningModule):
    """Fits `model` to `tiles`; the batch size is that of all processes together."""

    def __init__(
        self,
        model: TwoTower,
        tiles: KeptTiles,
        config: Config,
        sources: tuple[DataSource, ...],
        processes: Processes = ALONE,
    ) -> None:
        super().__init__()
        self.model = model
        self.tiles = tiles
        self.config = config
        self.sources = sources
        self.processes = processes

    def train_dataloader(self) -> RowBatches:
        """Shuffled anew for each epoch, which the trainer asks for."""
        rows, training = self.tiles.train_rows, self.config.training
        order = torch.randperm(len(rows), generator=self._rng("shuffle", self.current_epoch))
        return RowBatches(rows[order], training.batch_size)

    def val_dataloader(self) -> RowBatches:
        return RowBatches(self.tiles.validation_rows, self.config.training.batch_size)

    def transfer_batch_to_device(self, batch: Tensor, device: torch.device, dataloader_idx: int) -> Tensor:
        """Rows stay where the places and the features are."""
        return batch

    def training_step(self, rows: Tensor, step: int) -> Tensor:
        at = self.current_epoch, step
        views = draw_views(len(self.tiles.features), len(rows), self._rng("view", *at))
        loss = self._loss(rows, views, self._rng("perturbation", *at))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(rows))
        self.log(TRAIN_LOSS, loss, on_step=False, on_epoch=True, batch_size=len(rows))
        self.log(LOGIT_SCALE, self.model.logit_scale.detach(), batch_size=len(rows))
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ANN401 (Lightning's)
        self.model.clamp_logit_scale()

    def validation_step(self, rows: Tensor, step: int) -> None:
        """The plain view, perturbed alike in every epoch, so that epochs can be compared."""
        loss = self._loss(rows, torch.zeros_like(rows), self._rng("validation", step))
        self.log(VALIDATION_LOSS, loss, prog_bar=True, batch_size=len(rows))

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - one of Lightning's many shapes
        training, steps = self.config.training, len(self.train_dataloader())
        optimizer = torch.optim.AdamW(decay_groups(self.model, training.weight_decay), lr=training.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(training, steps, step)
        )
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        description = CheckpointDescription(
            config=self.config,
            sources=self.sources,
            samples=len(self.tiles.train_rows),
            epochs=self.current_epoch + 1,
        )
        checkpoint[DESCRIPTION] = description.model_dump_json()
        checkpoint[TRAINING_PLACES] = self.tiles.lonlat[self.tiles.train_rows].float()

    def _loss(self, rows: Tensor, views: Tensor, rng: torch.Generator) -> Tensor:
        """Of the whole batch `rows`, of which this process embeds its share."""
        around = self.model.neighbourhoods.draw(self.tiles.lonlat[rows], rng)
        share = self.processes.share(len(rows))
        features = self.tiles.features[views[share.own], rows[share.own]]
        training = self.config.training
        own = around[share.own].to(self.device)
        lowered = torch.autocast(self.device.type, torch.bfloat16, enabled=training.precision == "bfloat16")
        with lowered, WholeBatchDropout(share, rng):
            nodes = self.model.nodes(own)
            sides = auxiliary = None
            if training.contrast_weight:
                sides = self.model.fused(nodes, own), self.model.image(features.to(self.device)), self.model.logit_scale
                if training.objective == "csp":
                    auxiliary = self._elsewhere(share, rng), self.model.location(own)
        terms = []
        if sides is not None:
            contrast = csp_loss(*sides, *auxiliary, share) if auxiliary else contrastive_loss(*sides, share)
            terms.append(training.contrast_weight * contrast)
        if self.model.distillation is not None:
            terms.append(self._distillation(nodes[:, 0], features, share))
        return torch.stack(terms).sum()

    def _distillation(self, embedding: Tensor, features: Tensor, share: Share) -> Tensor:
        targets, asked = self.model.distillation, self.config.distillation
        assert targets is not None
        assert asked is not None
        told, target = targets.told(embedding), targets.of(features.to(self.device))
        return asked.weight * distillation_loss(told, target, share)

    def _elsewhere(self, share: Share, rng: torch.Generator) -> Tensor:
        """Random places for this process's rows, embedded as any place is: (own rows, PLACES_ELSEWHERE, dim)."""
        lonlat = draw_elsewhere(share.rows, PLACES_ELSEWHERE, rng)
        around = self.model.neighbourhoods.draw(lonlat.flatten(0, 1), rng)
        own = around.view(*lonlat.shape[:2], *around.shape[1:])[share.own].flatten(0, 1)
        embedding = self.model.location(own.to(self.device))
        return embedding.view(-1, PLACES_ELSEWHERE, embedding.shape[1])

    def _rng(self, purpose: str, *position: int) -> torch.Generator:
        return generator(self.config.training.seed, purpose, *position)


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for AdamW: decay on matrices; none on biases, norms and the scale, which are not."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def initial_model(config: Config, tiles: KeptTiles) -> TwoTower:
    """What training starts from; image features are standardised by the plain view of the training tiles alone."""
    features = tiles.features[0, tiles.train_rows]
    deviation, mean = torch.std_mean(features, dim=0, correction=0)
    model = untrained(config, mean, torch.where(deviation > 0, deviation, 1.0))
    if model.distillation is not None:
        some = tiles.lonlat[tiles.train_rows[:REACH_PLACES]]
        model.distillation.fit(features, model.location_tower(some))
    return model
