import json

import pytest
import torch

from tests.synthetic_s2 import write_s2_100k
from tests.synthetic_world import small_config, write_world
from trainer.config import Config, VisionConfig
from trainer.data.tiles import open_tiles
from trainer.errors import CheckpointError, ConfigError, RunError
from trainer.vision.checkpoint import read_vision
from trainer.vision.run import VisionRun
from trainer.vision.training import VisionTraining, pretrain_vision, step_count

TINY = {
    **{"patch": 4, "dim": 12, "depth": 2, "heads": 3, "head_dim": 16, "bottleneck_dim": 8, "output_dim": 32},
    **{"batch_size": 64, "epochs": 2, "checkpoint_steps": 2, "crops": {"local_crops": 1}, "accelerator": "cpu"},
}


@pytest.fixture(scope="module")
def imagery(tmp_path_factory):
    folder = write_world(tmp_path_factory.mktemp("imagery"))
    write_s2_100k(folder / "s2-100k", 8, side=32)
    return folder


@pytest.fixture(scope="module")
def finished(imagery, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    return VisionRun(pretrain_vision(config(), imagery, runs).parent)


def config(data: object = None, **vision: object) -> Config:
    given = small_config()
    if data is not None:
        given |= {"data": data}
        given["card"].pop("probe_bands")
    return Config.model_validate({**given, "vision": {**TINY, **vision}})


class Killed(Exception):
    pass


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    advance = VisionTraining._advance

    def dies(self, batch, schedule):
        if self.step == step:
            raise Killed
        return advance(self, batch, schedule)

    monkeypatch.setattr(VisionTraining, "_advance", dies)


def same(one: object, other: object) -> bool:
    """Bitwise equality of nested states."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other


@pytest.mark.parametrize("killed_at", [3, 7])  # within the first epoch of 5 steps, and the second
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    killed_at, imagery, finished, tmp_path, monkeypatch
):
    with monkeypatch.context() as patched:
        kill_at(patched, killed_at)
        with pytest.raises(Killed):
            pretrain_vision(config(), imagery, tmp_path)
    run = VisionRun(tmp_path / "small")
    assert not run.finished.exists()
    assert read_vision(run.last).description.steps == killed_at - killed_at % 2
    torch.rand(7)  # the global generator is not what a run depends on
    resumed = read_vision(pretrain_vision(config(), imagery, tmp_path, resume=True))
    whole = read_vision(finished.finished)
    assert same(resumed.backbone_state, whole.backbone_state)
    assert resumed.description == whole.description
    assert not run.last.exists()


def test_another_seed_is_another_run(imagery, finished, tmp_path):
    other = read_vision(pretrain_vision(config(seed=1), imagery, tmp_path))
    assert not same(other.backbone_state, read_vision(finished.finished).backbone_state)


def test_a_checkpoint_describes_itself_and_gives_the_backbone(imagery, finished):
    checkpoint = read_vision(finished.finished)
    described = checkpoint.description
    assert described.config == config()
    assert described.bands == ("x", "y", "z", "green")
    assert (described.image_size, described.steps) == (8, 10)
    assert set(described.metrics) == {"validation loss", "validation entropy", "validation spread"}
    tiles = open_tiles(config(), imagery)
    given = tiles.read(tiles.validation_rows[:3]).tiles
    given[0, 1] = torch.nan
    backbone = checkpoint.backbone()
    assert backbone(given).shape == (3, 12)
    assert backbone(given).isfinite().all()
    assert not backbone.training
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    valid = tiles.read(tiles.train_rows).tiles
    torch.testing.assert_close(checkpoint.standardise().mean, valid.transpose(0, 1).flatten(1).nanmean(dim=1))


def test_a_run_folder_holds_all_that_describes_it(finished):
    assert {"config.yaml", "environment.json", "metrics.json"} <= {path.name for path in finished.folder.iterdir()}
    assert list(finished.folder.glob("events.out.tfevents.*"))
    metrics = json.loads((finished.folder / "metrics.json").read_text())
    assert metrics == read_vision(finished.finished).description.metrics


def test_a_run_is_not_overwritten_and_a_finished_one_is_not_run_again(imagery, finished):
    runs, before = finished.path.parent, finished.finished.read_bytes()
    with pytest.raises(RunError, match=r"vision\.ckpt is there; go on with --resume"):
        pretrain_vision(config(), imagery, runs)
    assert pretrain_vision(config(), imagery, runs, resume=True) == finished.finished
    assert finished.finished.read_bytes() == before
    with pytest.raises(RunError, match="of another vision or data section"):
        pretrain_vision(config(depth=1), imagery, runs, resume=True)


def test_tiles_read_as_they_are_asked_for_train_alike(imagery, finished, tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.vision.tiles.MAX_KEPT_BYTES", 0)
    (elsewhere := tmp_path / "imagery").mkdir()
    for file in imagery.glob("*.tif"):
        (elsewhere / file.name).symlink_to(file)
    read = read_vision(pretrain_vision(config(), elsewhere, tmp_path))
    assert not list(elsewhere.glob("kept/tiles-*"))
    assert same(read.backbone_state, read_vision(finished.finished).backbone_state)


@pytest.mark.parametrize("more", [{"backbone": "resnet18", "max_steps": 1}, {"precision": "bfloat16"}])
def test_other_backbones_and_precisions(more, imagery, tmp_path):
    checkpoint = read_vision(pretrain_vision(config(**{"max_steps": 2, "batch_size": 8, **more}), imagery, tmp_path))
    assert all(value.isfinite().all() for value in checkpoint.backbone_state.values())
    assert all(value.dtype != torch.bfloat16 for value in checkpoint.backbone_state.values())


def test_sentinel_2(imagery, tmp_path):
    data = {"kind": "s2-100k", "size": 32, "min_bytes": 0, "validation_share": 0.25}
    checkpoint = read_vision(pretrain_vision(config(data, patch=8, batch_size=3), imagery, tmp_path))
    assert len(checkpoint.description.bands) == 12
    assert (checkpoint.description.image_size, checkpoint.description.steps) == (32, 4)


def test_a_diverging_run_says_so(imagery, tmp_path):
    with pytest.raises(RunError, match=r"the loss is not finite; lower vision\.learning_rate"):
        pretrain_vision(config(learning_rate=1e30, warmup_share=0), imagery, tmp_path)


def test_a_config_without_a_vision_section_says_so(imagery, tmp_path):
    with pytest.raises(ConfigError, match="small has no vision section"):
        pretrain_vision(Config.model_validate(small_config()), imagery, tmp_path)


def test_what_is_no_checkpoint_is_named(finished, tmp_path):
    with pytest.raises(CheckpointError, match=r"does not exist; make it by satcle pretrain-vision"):
        read_vision(tmp_path / "vision.ckpt")
    (tmp_path / "text.ckpt").write_text("text")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    for name in ("text.ckpt", "other.ckpt"):
        with pytest.raises(CheckpointError, match=rf"{name} is not a checkpoint of satcle pretrain-vision"):
            read_vision(tmp_path / name)


def test_steps_are_those_of_whole_batches_or_the_most_allowed():
    assert step_count(VisionConfig(epochs=3, batch_size=64), 200) == 9
    assert step_count(VisionConfig(epochs=3, batch_size=64), 10) == 3
    assert step_count(VisionConfig(epochs=3, batch_size=64, max_steps=5), 200) == 5
