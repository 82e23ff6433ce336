import pytest
from pydantic import ValidationError

from trainer.config import VisionConfig
from trainer.config.vision import Crops


def test_the_defaults_are_dino_s():
    """Caron et al. 2021: ViT-S/16, §3.1 and the appendix."""
    vision = VisionConfig()
    assert (vision.patch, vision.dim, vision.depth, vision.heads) == (16, 384, 12, 6)
    assert (vision.head_dim, vision.bottleneck_dim, vision.output_dim) == (2048, 256, 65536)
    assert (vision.student_temperature, vision.warmup_teacher_temperature, vision.teacher_temperature) == (
        0.1,
        0.04,
        0.07,
    )
    assert (vision.teacher_momentum, vision.center_momentum) == (0.996, 0.9)
    assert (vision.weight_decay, vision.final_weight_decay, vision.learning_rate) == (0.04, 0.4, 5e-4)
    assert (vision.epochs * vision.warmup_share, vision.epochs * vision.temperature_warmup_share) == (10, 30)
    assert vision.epochs * vision.freeze_share == 1
    assert (vision.crops.local_crops, vision.crops.global_area, vision.crops.local_area) == (8, (0.4, 1.0), (0.05, 0.4))


@pytest.mark.parametrize("given", [{"global_area": (0.9, 0.4)}, {"local_area": (0.4, 0.1)}, {"blur_sigma": (2.0, 1.0)}])
def test_ranges_are_smallest_then_largest(given):
    with pytest.raises(ValidationError, match=rf"{next(iter(given))} is smallest, largest"):
        Crops.model_validate(given)


def test_heads_share_the_dim():
    with pytest.raises(ValidationError, match="dim 100 is not a multiple of heads 6"):
        VisionConfig(dim=100)
    assert VisionConfig(backbone="resnet18", dim=100).dim == 100  # which a ResNet has none of
