"""Vision pretraining: a backbone distilled from itself (DINO, Caron et al. 2021), to find causal patches by."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trainer.config.fields import Count, Frozen, Positive

Share = Annotated[float, Field(ge=0, le=1)]
Area = tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]]
DINO_GLOBAL = 224


class Crops(Frozen):
    """Multi-crop (DINO §3.1): two global views and `local_crops` local ones, of shares of the tile's area.

    `global_size` and `local_size` are in pixels, by default the tile's side up to 224, and 3/7 of it. On standardised
    tiles `jitter` multiplies each band by up to 1 +- jitter, and shifts it by as much. `blur_sigma` is in pixels.
    """

    local_crops: int = Field(default=8, ge=0)
    global_area: Area = (0.4, 1.0)
    local_area: Area = (0.05, 0.4)
    global_size: Annotated[int, Field(ge=2)] | None = None
    local_size: Annotated[int, Field(ge=2)] | None = None
    jitter: float = Field(default=0.4, ge=0, lt=1)
    blur_sigma: tuple[Positive, Positive] | None = (0.1, 2.0)

    @model_validator(mode="after")
    def _ranges_are_in_order(self) -> Self:
        for name in ("global_area", "local_area", "blur_sigma"):
            given = getattr(self, name)
            if given and given[0] > given[1]:
                raise ValueError(f"{name} is smallest, largest")
        return self

    def sizes(self, tile: int, patch: int) -> tuple[int, int]:
        """Sides of the global and the local views of tiles of `tile` pixels, where the config names none."""
        whole = self.global_size or _multiple(min(tile, DINO_GLOBAL), patch)
        return whole, self.local_size or _multiple(whole * 3 / 7, patch)


class VisionConfig(Frozen):
    """A ViT of patches of `patch` pixels, or a ResNet (which has no attention to find causal patches by).

    The optimisation is DINO's (§3.1 and appendix C): AdamW; the learning rate is for a batch of 256 and is scaled by
    the batch, warmed up over `warmup_share` of the steps and lowered to `min_learning_rate` along a cosine; weight
    decay and the teacher's momentum rise along cosines, the teacher's temperature linearly over
    `temperature_warmup_share`. `freeze_share` of the steps leave the head's last layer as it is. Shares are of all
    steps, of which there are `epochs` epochs' or `max_steps`, whichever is less; DINO's are of 100 epochs.
    """

    backbone: Literal["vit", "resnet18", "resnet50"] = "vit"
    patch: Count = 16
    dim: Count = 384
    depth: Count = 12
    heads: Count = 6
    drop_path: float = Field(default=0.1, ge=0, lt=1)

    head_dim: Count = 2048
    bottleneck_dim: Count = 256
    output_dim: Annotated[int, Field(ge=2)] = 65536
    student_temperature: Positive = 0.1
    teacher_temperature: Positive = 0.07
    warmup_teacher_temperature: Positive = 0.04
    temperature_warmup_share: Share = 0.3
    center_momentum: Share = 0.9
    teacher_momentum: Share = 0.996

    crops: Crops = Crops()
    epochs: Count = 100
    max_steps: Count | None = None
    batch_size: int = Field(default=64, ge=2)
    learning_rate: Positive = 5e-4
    min_learning_rate: float = Field(default=1e-6, ge=0)
    warmup_share: Share = 0.1
    weight_decay: float = Field(default=0.04, ge=0)
    final_weight_decay: float = Field(default=0.4, ge=0)
    freeze_share: Share = 0.01
    max_grad_norm: Positive = 3.0
    checkpoint_steps: Count = 500
    seed: int = Field(default=0, ge=0)
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _heads_share_the_dim(self) -> Self:
        if self.backbone == "vit" and self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not a multiple of heads {self.heads}")
        return self


def _multiple(side: float, patch: int) -> int:
    """`side` rounded to a multiple of `patch`, at least one."""
    return max(1, round(side / patch)) * patch
