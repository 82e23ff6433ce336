import pickle

import pytest
import torch

from service.bundle import Metric
from tests.synthetic_world import small_config
from trainer.checkpoint import complete, read_checkpoint
from trainer.config import Config
from trainer.errors import CheckpointError


@pytest.fixture
def best(small_run):
    return small_run / "best.ckpt"


def test_a_checkpoint_gives_back_config_and_tower(best):
    checkpoint = read_checkpoint(best)
    assert checkpoint.config == Config.model_validate(small_config())
    tower = checkpoint.location_tower()
    assert not tower.training
    for name, value in tower.state_dict().items():
        assert torch.equal(value, checkpoint.model_state[f"location_tower.{name}"])
    for name, value in checkpoint.model().state_dict().items():
        assert torch.equal(value, checkpoint.model_state[name])


def test_metrics_are_added_and_nothing_else_changes(best, tmp_path):
    copy = tmp_path / "copy.ckpt"
    copy.write_bytes(best.read_bytes())
    metric = Metric(name="made up", value=0.5, on="nothing")
    complete(copy, read_checkpoint(copy).model(), (metric,))
    before, after = read_checkpoint(best), read_checkpoint(copy)
    assert after.description == before.description.model_copy(update={"metrics": (metric,)})
    assert all(torch.equal(after.model_state[name], value) for name, value in before.model_state.items())
    assert [path.name for path in tmp_path.iterdir()] == ["copy.ckpt"]


class Exploit:
    def __reduce__(self):
        return print, ("this code must not run",)


@pytest.mark.parametrize("kind", ["absent", "empty", "text", "cut", "code", "other"])
def test_what_is_not_a_checkpoint_is_one_line(best, tmp_path, capsys, kind):
    path = tmp_path / f"{kind}.ckpt"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("hello")
    elif kind == "cut":
        path.write_bytes(best.read_bytes()[:5000])
    elif kind == "code":
        path.write_bytes(pickle.dumps(Exploit()))
    elif kind == "other":
        torch.save({"state_dict": {}}, path)
    with pytest.raises(CheckpointError, match=f"{kind}.ckpt") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)
    assert capsys.readouterr().out == ""
