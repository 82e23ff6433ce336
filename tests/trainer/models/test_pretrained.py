import pytest
import timm
import torch

from trainer.config import BackboneConfig
from trainer.config.image import PUBLISHED
from trainer.errors import ConfigError, WeightsError
from trainer.models.pretrained import SENTINEL_2, load_weights, state_digest, state_of, weights_state

SMALL = {"vit_small_patch16_224": {"embed_dim": 24, "depth": 2, "num_heads": 3}}
"""Of the same layout, and quick."""


def network(architecture: str = "resnet18", bands: int = 13, seed: int = 0) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return timm.create_model(architecture, in_chans=bands, num_classes=0, **SMALL.get(architecture, {}))


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("architecture", PUBLISHED)
def test_torchgeo_describes_the_published_weights_as_we_do(architecture):
    import torchgeo.models
    from torchvision.transforms import v2

    from trainer.models.pretrained import WEIGHTS_ENUMS

    for name in PUBLISHED[architecture]:
        weights = getattr(torchgeo.models, WEIGHTS_ENUMS[architecture])[name]
        theirs = [f"B{band[1:].upper():0>2}" for band in weights.meta["bands"]]
        assert theirs == list(SENTINEL_2.bands)
        assert weights.meta["model"] == architecture
        normalise = next(step for step in weights.transforms if isinstance(step, v2.Normalize))
        crop = next(step for step in weights.transforms if isinstance(step, v2.CenterCrop))
        assert (list(normalise.mean), list(normalise.std)) == ([0], [10_000])
        assert list(crop.size) == [SENTINEL_2.size] * 2


def test_the_first_published_weights_are_the_default():
    assert BackboneConfig(kind="resnet18").weights == "SENTINEL2_ALL_MOCO"
    assert BackboneConfig(kind="resnet50").weights == "SENTINEL2_ALL_DINO"
    assert BackboneConfig(kind="vision").weights == "vision"


@pytest.mark.parametrize("architecture", ["resnet18", "vit_small_patch16_224"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.backbone.", "encoder_q."])
@pytest.mark.parametrize("part", [None, "state_dict", "teacher"])
def test_weights_are_read_from_the_layouts_they_are_published_in(architecture, prefix, part, tmp_path):
    source = network(architecture, seed=1)
    state = {prefix + name: value for name, value in source.state_dict().items()}
    state |= {prefix + "fc.weight": torch.zeros(3, 512), "unrelated.head.mlp.weight": torch.zeros(1)} if prefix else {}
    torch.save(state if part is None else {part: state, "epoch": 3}, tmp_path / "weights.pth")
    target = network(architecture, seed=2)
    assert not same(source, target)
    load_weights(target, state_of(tmp_path / "weights.pth"), "weights.pth")
    assert same(source, target)


def test_a_vit_s_file_may_lack_its_final_norm_as_torchgeo_s_may():
    source = network("vit_small_patch16_224", seed=1)
    state = {name: value for name, value in source.state_dict().items() if not name.startswith("norm.")}
    target = network("vit_small_patch16_224", seed=2)
    load_weights(target, state, "weights.pth")
    assert torch.equal(target.norm.weight, torch.ones(24))


def test_weights_that_do_not_fit_are_named():
    state = network("resnet18").state_dict()
    with pytest.raises(WeightsError, match=r"^w\.pth lacks layer1\.0\.bn3\.bias, .* and 194 more; give weights of"):
        load_weights(network("resnet50"), state, "w.pth")
    with pytest.raises(WeightsError, match=r"^w\.pth has layer1\.0\.bn3\.bias, .* too many"):
        load_weights(network("resnet18"), network("resnet50").state_dict() | state, "w.pth")
    with pytest.raises(WeightsError, match=r"conv1\.weight is \(64, 3, 7, 7\), not \(64, 13, 7, 7\); .* 13 bands"):
        load_weights(network("resnet18"), network("resnet18", bands=3).state_dict(), "w.pth")
    with pytest.raises(WeightsError, match=r"not weights of a ViT or a ResNet"):
        load_weights(network("resnet18"), {"weight": torch.zeros(1)}, "w.pth")


def test_files_that_hold_no_weights_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"none\.pth do not exist"):
        state_of(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("not torch")
    with pytest.raises(WeightsError, match=r"text\.pth holds no weights that can be read safely"):
        state_of(tmp_path / "text.pth")
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    with pytest.raises(WeightsError, match=r"tensor\.pth holds no state dict"):
        state_of(tmp_path / "tensor.pth")
    torch.save({"state_dict": network}, tmp_path / "code.pth")
    with pytest.raises(WeightsError, match=r"code\.pth holds no weights that can be read safely"):
        state_of(tmp_path / "code.pth")


def test_a_name_that_is_none_is_told_what_there_is():
    with pytest.raises(
        ConfigError, match=r"^image_tower\.weights: LANDSAT is neither a file nor .*: SENTINEL2_ALL_MOCO$"
    ):
        weights_state("resnet18", "LANDSAT", None, key="image_tower.weights")


def test_the_user_s_file_goes_before_the_name(tmp_path):
    torch.save(network().state_dict(), tmp_path / "weights.pth")
    state = weights_state("resnet18", "SENTINEL2_ALL_MOCO", tmp_path / "weights.pth", key="image_tower.weights")
    assert state_digest(state) == state_digest(network().state_dict())
    named = weights_state("resnet18", str(tmp_path / "weights.pth"), None, key="image_tower.weights")
    assert state_digest(named) == state_digest(state)


def test_a_hub_out_of_reach_is_one_line_that_names_the_way_out(monkeypatch, tmp_path):
    """The proxy is a port where nothing listens."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for variable in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with pytest.raises(WeightsError) as raised:
        weights_state("resnet18", "SENTINEL2_ALL_MOCO", None, key="image_tower.weights")
    message = str(raised.value)
    assert message.startswith(
        "SENTINEL2_ALL_MOCO cannot be fetched from https://hf.co/torchgeo/resnet18_sentinel2_all_moco"
    )
    assert message.endswith("fetch it elsewhere, give it by --weights")
    assert "\n" not in message


def test_a_digest_is_of_names_shapes_types_and_values():
    state = {"a": torch.zeros(2, 3), "b": torch.tensor(1)}
    assert state_digest(state) == state_digest(dict(reversed(state.items())))
    others = [
        {"a": torch.zeros(3, 2), "b": torch.tensor(1)},
        {"a": torch.zeros(2, 3), "c": torch.tensor(1)},
        {"a": torch.zeros(2, 3).double(), "b": torch.tensor(1)},
        {"a": torch.zeros(2, 3), "b": torch.tensor(2)},
        {"a": torch.zeros(2, 3)},
    ]
    assert len({state_digest(each) for each in [state, *others]}) == 6
