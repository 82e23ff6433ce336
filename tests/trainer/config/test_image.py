import pytest
from pydantic import ValidationError

from trainer.config import BackboneConfig


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        ({"kind": "vit_small_patch16_224"}, "SENTINEL2_ALL_DINO"),
        ({"kind": "resnet18"}, "SENTINEL2_ALL_MOCO"),
        ({"kind": "resnet50"}, "SENTINEL2_ALL_DINO"),
        ({"kind": "vision"}, "vision"),
        ({"kind": "resnet50", "weights": "random"}, "random"),
        ({"kind": "resnet50", "weights": "some/file.pth"}, "some/file.pth"),
    ],
)
def test_weights_are_those_of_the_kind_unless_others_are_named(given, weights):
    assert BackboneConfig.model_validate(given).weights == weights


@pytest.mark.parametrize("given", [{"kind": "vision", "weights": "random"}, {"kind": "resnet18", "weights": "vision"}])
def test_the_vision_backbone_brings_its_own(given):
    with pytest.raises(ValidationError, match="`kind: vision`, without weights"):
        BackboneConfig.model_validate(given)
