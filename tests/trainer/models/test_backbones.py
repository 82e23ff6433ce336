import pytest
import torch

from trainer.config import VisionConfig
from trainer.config.data import S2_BANDS
from trainer.errors import ConfigError
from trainer.models.backbones import Backbone, SentinelTwoInput, drawing_from, named_network, vision_network
from trainer.models.pretrained import SENTINEL_2
from trainer.seeding import generator

TINY = VisionConfig(patch=4, dim=12, depth=2, heads=3)


def reflectance(n: int = 2, side: int = 8, bands: int = 12) -> torch.Tensor:
    return torch.rand(n, bands, side, side, generator=torch.Generator().manual_seed(0))


def test_a_zero_b10_stands_at_index_10():
    tiles = reflectance()
    tiles[0, 3, 1, 2] = torch.nan
    taken = SentinelTwoInput(S2_BANDS, "image_tower.weights")(tiles)
    assert taken.shape == (2, 13, 8, 8)
    assert SENTINEL_2.bands.index("B10") == 10
    assert not taken[:, 10].any()
    assert torch.equal(taken[:, :10], tiles[:, :10].nan_to_num(0.0))
    assert torch.equal(taken[:, 11:], tiles[:, 10:])
    assert float(taken[0, 3, 1, 2]) == 0


def test_bands_are_taken_by_name():
    tiles = reflectance(bands=13)
    shuffled = [*reversed(SENTINEL_2.bands)]
    assert torch.equal(SentinelTwoInput(shuffled, "key")(tiles), tiles.flip(1))


def test_bands_of_another_sensor_are_refused_by_name():
    message = r"^image_tower\.weights: Sentinel-2 weights need the bands B01, .*, B12, and the data has red, ndvi; "
    with pytest.raises(ConfigError, match=message):
        SentinelTwoInput(("red", "ndvi"), "image_tower.weights")


@pytest.mark.parametrize(
    ("architecture", "width"), [("vit_small_patch16_224", 384), ("resnet18", 512), ("resnet50", 2048)]
)
def test_features_are_of_the_architecture_s_width_and_of_any_tile(architecture, width):
    network = named_network(architecture, 13, generator(0, "test"))
    backbone = Backbone(SentinelTwoInput(S2_BANDS, "key"), network, 64).eval()
    with torch.no_grad():
        assert backbone(reflectance(side=40)).shape == (2, width)


def test_one_seed_is_one_network_whatever_was_drawn_before():
    def first(seed: int) -> torch.Tensor:
        torch.rand(3)
        return vision_network(TINY, 3, 16, generator(seed, "test")).state_dict()["patch_embed.proj.weight"]

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))


def test_the_global_generator_is_left_as_it_was():
    before = torch.get_rng_state()
    with drawing_from(generator(0, "test")):
        drawn = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(drawn, torch.rand(3, generator=generator(0, "test")))


@pytest.mark.parametrize("side", [16, 32, 12, 18])
def test_a_vit_takes_tiles_of_any_size(side):
    network = vision_network(TINY, 3, 16, generator(0, "test")).eval()
    with torch.no_grad():
        assert network(reflectance(side=side, bands=3)).shape == (2, 12)


@pytest.mark.parametrize("kind", ["resnet18", "resnet50"])
def test_a_vision_backbone_may_be_a_resnet(kind):
    vision = VisionConfig(backbone=kind)
    network = vision_network(vision, 5, 32, generator(0, "test")).eval()
    with torch.no_grad():
        assert network(reflectance(side=32, bands=5)).shape == (2, network.num_features)


@pytest.mark.parametrize("architecture", ["vit_small_patch16_224", "resnet18", "resnet50"])
def test_features_are_torchgeo_s_from_the_same_file_and_tile(architecture, tmp_path):
    """torchgeo's own model and transforms, on the digital numbers; ours on their reflectance, cropped alike."""
    import torchgeo.models
    from torchvision.transforms import v2

    from trainer.models.pretrained import load_weights, state_of

    with drawing_from(generator(1, "test")):
        theirs = getattr(torchgeo.models, architecture)(in_chans=13).eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    network = named_network(architecture, 13, generator(0, "test"))
    load_weights(network, state_of(tmp_path / "weights.pth"), "weights.pth")
    ours = Backbone(SentinelTwoInput(S2_BANDS, "key"), network, SENTINEL_2.size).eval()

    numbers = (10_000 * reflectance(1, side=256)).round()
    padded = torch.cat((numbers[:, :10], torch.zeros(1, 1, 256, 256), numbers[:, 10:]), dim=1)
    transforms = v2.Compose([v2.Resize((256, 256)), v2.CenterCrop(224), v2.Normalize(mean=[0], std=[10_000])])
    with torch.no_grad():
        expected = theirs.forward_head(theirs.forward_features(transforms(padded)), pre_logits=True)
        found = ours(numbers[..., 16:240, 16:240] / 10_000)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
