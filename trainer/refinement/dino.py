"""Self-distillation without labels (DINO, Caron et al. 2021): a student, and a teacher that follows it.

lightly has the loss with its centring, the projection head and the moving average.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from lightly.loss import DINOLoss  # type: ignore[import-untyped]
from lightly.models.modules import DINOProjectionHead  # type: ignore[import-untyped]
from lightly.models.utils import update_momentum  # type: ignore[import-untyped]
from lightly.utils.scheduler import cosine_schedule  # type: ignore[import-untyped]
from torch import Tensor, nn

from trainer.config import VisionConfig
from trainer.models.backbones import drawing_from, vision_network
from trainer.seeding import generator

GLOBAL_VIEWS = 2


@dataclass(frozen=True)
class Schedule:
    """What changes from step to step, for `steps` steps (DINO §3.1 and appendix)."""

    vision: VisionConfig
    steps: int

    def learning_rate(self, step: int) -> float:
        """Linear warm-up to the rate for the batch, which is learning_rate · batch / 256, then a cosine."""
        vision, warmup = self.vision, round(self.steps * self.vision.warmup_share)
        highest = vision.learning_rate * vision.batch_size / 256
        if step < warmup:
            return highest * (step + 1) / warmup
        return self._cosine(step - warmup, self.steps - warmup, highest, min(vision.min_learning_rate, highest))

    def weight_decay(self, step: int) -> float:
        return self._cosine(step, self.steps, self.vision.weight_decay, self.vision.final_weight_decay)

    def teacher_momentum(self, step: int) -> float:
        """Rises to 1."""
        return self._cosine(step, self.steps, self.vision.teacher_momentum, 1.0)

    def teacher_temperature(self, step: int) -> float:
        vision, warmup = self.vision, round(self.steps * self.vision.temperature_warmup_share)
        risen = min(1.0, step / warmup) if warmup else 1.0
        first, last = vision.warmup_teacher_temperature, vision.teacher_temperature
        return first + risen * (last - first)

    def last_layer_is_frozen(self, step: int) -> bool:
        return step < self.steps * self.vision.freeze_share

    @staticmethod
    def _cosine(step: int, steps: int, first: float, last: float) -> float:
        value: float = cosine_schedule(step, max(steps, 1), first, last)
        return value


class Encoder(nn.Module):
    """A backbone and its projection head."""

    def __init__(self, backbone: nn.Module, vision: VisionConfig) -> None:
        super().__init__()
        self.backbone = backbone
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*weight_norm.*deprecated", category=FutureWarning)  # lightly's
            self.head = DINOProjectionHead(
                int(backbone.num_features),  # type: ignore[arg-type]  # every backbone of timm says it
                vision.head_dim,
                vision.bottleneck_dim,
                vision.output_dim,
                batch_norm=vision.backbone != "vit",
            )

    def forward(self, views: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Views (n, bands, side, side) → what the head says of each (n, outputs), and all embeddings, in their order.

        Views of one side go through the backbone together.
        """
        groups = [list(group) for _, group in groupby(views, key=lambda view: view.shape[-1])]
        embeddings = torch.cat([self.backbone(torch.cat(group)) for group in groups])
        said: Tensor = self.head(embeddings)
        return list(torch.split(said, len(views[0]))), embeddings


@dataclass(frozen=True)
class Outcome:
    """`loss`; the mean `entropy` of the teacher's distributions, in nats; and the `spread` of its embeddings.

    Spread is the deviation of L2-normalised embeddings over a batch, times the root of their width: near 1 where they
    point every way, 0 where they have collapsed onto one. The entropy of a collapse onto no output in particular is
    that of the uniform distribution, log(outputs).
    """

    loss: Tensor
    entropy: Tensor
    spread: Tensor


class Distillation(nn.Module):
    """The student learns to say of each view what the teacher says of the other global ones."""

    def __init__(self, student: nn.Module, teacher: nn.Module, vision: VisionConfig) -> None:
        """Two backbones of one architecture; the teacher starts as the student."""
        super().__init__()
        self.student = Encoder(student, vision)
        self.teacher = Encoder(teacher, vision)
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)
        self.loss = DINOLoss(
            vision.output_dim, student_temp=vision.student_temperature, center_momentum=vision.center_momentum
        )

    def forward(self, views: Sequence[Tensor], teacher_temperature: float) -> Outcome:
        """`views` as multi_crop draws them, the two global ones first. Moves the centre."""
        with torch.no_grad():
            targets, embeddings = self.teacher(views[:GLOBAL_VIEWS])
        said, _ = self.student(views)
        with torch.autocast(embeddings.device.type, enabled=False):
            entropy = self._entropy(targets, teacher_temperature)
            loss = self.loss([t.float() for t in targets], [s.float() for s in said], teacher_temperature)
            return Outcome(loss, entropy, spread(embeddings[: len(views[0])].float()))

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        """The teacher moves: momentum · teacher + (1 - momentum) · student (DINO §3.1)."""
        update_momentum(self.student, self.teacher, momentum)

    @torch.no_grad()
    def _entropy(self, targets: Sequence[Tensor], temperature: float) -> Tensor:
        centred = (torch.cat(list(targets)).float() - self.loss.center.squeeze(0)) / temperature
        logarithm = centred.log_softmax(dim=1)
        entropy: Tensor = -(logarithm.exp() * logarithm).sum(dim=1).mean()
        return entropy


def untrained(vision: VisionConfig, bands: int, image_size: int) -> Distillation:
    """What a run starts from: the same weights for one seed, whatever was drawn before."""
    student, teacher = (
        vision_network(vision, bands, image_size, generator(vision.seed, "vision backbone"), drop_path=drop_path)
        for drop_path in (vision.drop_path, 0.0)
    )
    with drawing_from(generator(vision.seed, "vision heads")):
        return Distillation(student, teacher, vision)


def decay_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Parameter groups for AdamW: weight decay on matrices; none on biases and norms, which are not."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "decays": True},
        {"params": [p for p in parameters if p.ndim < 2], "decays": False},
    ]


def spread(embeddings: Tensor) -> Tensor:
    """How far (n, d) embeddings are from having collapsed; 1 where their directions are uniform, 0 where they agree."""
    deviation: Tensor = nn.functional.normalize(embeddings, dim=1).std(dim=0, correction=0).mean()
    return deviation * math.sqrt(embeddings.shape[1])
