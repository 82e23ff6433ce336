from pathlib import Path

import pytest
import torch

from tests.synthetic_s2 import write_s2_100k
from tests.synthetic_world import small_config, write_world
from trainer.config import Config
from trainer.data.tiles import open_tiles
from trainer.data.transforms import Standardise
from trainer.errors import CheckpointError, ConfigError
from trainer.models.backbones import named_network
from trainer.models.image_side import open_image_side, sample_tiles
from trainer.models.image_tower import ImageTower
from trainer.refinement.causal import causal_patches, smooth
from trainer.seeding import generator
from trainer.vision.training import pretrain_vision

VISION = {
    **{"patch": 4, "dim": 12, "depth": 2, "heads": 3, "head_dim": 16, "bottleneck_dim": 8, "output_dim": 32},
    **{"batch_size": 32, "max_steps": 2, "crops": {"local_crops": 1}, "accelerator": "cpu"},
}
VIT_SMALL = {"kind": "vit_small_patch16_224"}


@pytest.fixture(scope="module")
def imagery(tmp_path_factory):
    folder = write_world(tmp_path_factory.mktemp("imagery"))
    write_s2_100k(folder / "s2-100k", 6, side=64)
    return folder


@pytest.fixture(scope="module")
def vision(imagery, tmp_path_factory):
    """The checkpoint of a vision pretraining of two steps."""
    return pretrain_vision(mosaic(vision=VISION), imagery, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of ViT-S/16 in the published layout, its values made up."""
    path = tmp_path_factory.mktemp("weights") / "vit.pth"
    torch.save(named_network("vit_small_patch16_224", 13, generator(5, "test")).state_dict(), path)
    return path


def mosaic(**sections: object) -> Config:
    return Config.model_validate({**small_config(), **sections})


def sentinel(**sections: object) -> Config:
    data = {"kind": "s2-100k", "size": 64, "min_bytes": 0}
    card = {"version": "1", "description": "", "license": "MIT", "limits": ""}
    return Config.model_validate({"name": "s2", "data": data, "card": card, **sections})


def opened(config: Config, imagery: Path, vision: Path | None = None, weights: Path | None = None):
    return open_image_side(config, open_tiles(config, imagery), vision=vision, weights=weights)


def some(config: Config, imagery: Path) -> torch.Tensor:
    tiles = open_tiles(config, imagery)
    return tiles.read(tiles.validation_rows[:5]).tiles


def test_random_features_are_fitted_on_the_first_training_tiles(imagery):
    config = mosaic()
    tiles = open_tiles(config, imagery)
    sample = tiles.read(tiles.train_rows).tiles
    expected = ImageTower.fit(sample, config.image_tower, generator(3, "filters"))(some(config, imagery))
    assert torch.equal(opened(config, imagery)(some(config, imagery)), expected)


def test_of_large_tiles_the_centre_is_sampled(imagery):
    tiles = open_tiles(sentinel(data={"kind": "s2-100k", "size": 64, "min_bytes": 0}), imagery)
    whole = tiles.read(tiles.train_rows).tiles
    assert torch.equal(sample_tiles(tiles), whole)


def test_an_untrained_backbone_takes_any_bands_standardised(imagery):
    config = mosaic(image_tower={"kind": "resnet18", "weights": "random"})
    side, tiles = opened(config, imagery), some(config, imagery)
    tiles[0, 1] = torch.nan
    features = side(tiles)
    assert features.shape == (5, 512)
    assert features.isfinite().all()
    expected = Standardise.fit(sample_tiles(open_tiles(config, imagery)))
    assert torch.equal(side.tower.adapt.mean, expected.mean)
    assert not any(parameter.requires_grad for parameter in side.parameters())
    assert not side.training


def test_published_weights_see_sentinel_2_alone(imagery, weights):
    with pytest.raises(
        ConfigError, match=r"^image_tower\.weights: Sentinel-2 weights need the bands B01, .* has x, y, z"
    ):
        opened(mosaic(image_tower=VIT_SMALL), imagery, weights=weights)
    config = sentinel(image_tower=VIT_SMALL)
    assert opened(config, imagery, weights=weights)(some(config, imagery)).shape == (1, 384)


def test_the_vision_backbone_serves_as_image_tower_and_for_attention(imagery, vision):
    config = mosaic(vision=VISION, image_tower={"kind": "vision"}, causal={"share": 0.25})
    side, tiles = opened(config, imagery, vision), some(config, imagery)
    with torch.no_grad():
        attention = side.smoothing.attention(tiles)
        expected = side.tower(smooth(tiles, causal_patches(attention, 0.25), "causal"))
    assert expected.shape == (5, 12)
    torch.testing.assert_close(side(tiles), expected, atol=1e-6, rtol=1e-5)


def test_smoothing_comes_before_any_tower(imagery, vision):
    plain, causal = mosaic(vision=VISION), mosaic(vision=VISION, causal={"share": 0.5})
    tiles = some(plain, imagery)
    one, other = opened(plain, imagery), opened(causal, imagery, vision)
    assert torch.equal(one.tower(tiles), other.tower(tiles))
    assert not torch.equal(one(tiles), other(tiles))


def test_the_user_s_file_stands_for_the_attention_where_it_is_the_tower_s_or_that_needs_none(imagery, weights):
    attention = {"attention": "SENTINEL2_ALL_DINO"}
    both = opened(sentinel(image_tower=VIT_SMALL, causal=attention), imagery, weights=weights)
    alone = opened(sentinel(causal=attention), imagery, weights=weights)
    state = both.tower.network.state_dict()
    for side in (both, alone):
        found = side.smoothing.attention.network.state_dict()
        assert all(torch.equal(found[name], state[name]) for name in state)


def test_a_file_that_stands_for_nothing_is_refused(imagery, weights):
    with pytest.raises(ConfigError, match=r"--weights .*vit\.pth: the config names no published weights"):
        opened(mosaic(), imagery, weights=weights)


def test_vision_pretraining_that_is_missing_or_another_s_is_named(imagery, vision, tmp_path):
    config = mosaic(vision=VISION, image_tower={"kind": "vision"})
    with pytest.raises(CheckpointError, match=r"run satcle pretrain-vision first$"):
        opened(config, imagery)
    with pytest.raises(CheckpointError, match=r"vision\.ckpt does not exist; make it by satcle pretrain-vision$"):
        opened(config, imagery, tmp_path / "vision.ckpt")
    with pytest.raises(CheckpointError, match=r"is of another vision section"):
        opened(mosaic(vision={**VISION, "depth": 1}, image_tower={"kind": "vision"}), imagery, vision)
    with pytest.raises(CheckpointError, match=r"is for the bands x, y, z, green; the data has B01, "):
        opened(sentinel(vision=VISION, image_tower={"kind": "vision"}), imagery, vision)


def test_a_resnet_has_no_attention(imagery, tmp_path):
    resnet = {**VISION, "backbone": "resnet18", "max_steps": 1, "batch_size": 2}
    config = mosaic(vision=resnet, causal={})
    checkpoint = pretrain_vision(config, imagery, tmp_path)
    with pytest.raises(ConfigError, match=r"^causal\.attention: a ResNet has none"):
        opened(config, imagery, checkpoint)


def test_another_identity_wherever_features_are_others(imagery, vision, weights):
    causal = {"share": 0.25}
    sides = [
        opened(mosaic(), imagery),
        opened(mosaic(image_tower={"filters": 9}), imagery),
        opened(mosaic(vision=VISION, causal=causal), imagery, vision),
        opened(mosaic(vision=VISION, causal={"share": 0.5}), imagery, vision),
        opened(mosaic(vision=VISION, image_tower={"kind": "vision"}), imagery, vision),
        opened(sentinel(image_tower=VIT_SMALL), imagery, weights=weights),
    ]
    identities = [side.identity for side in sides]
    assert all(one != other for i, one in enumerate(identities) for other in identities[:i])
    assert opened(mosaic(), imagery).identity == identities[0]
