import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.killed_training import KILLED_AT, training_of
from tests.synthetic_world import small_config, write_config, write_world
from trainer.checkpoint import read_checkpoint
from trainer.config import Config
from trainer.errors import ConfigError, RunError
from trainer.processes import ALONE, Processes
from trainer.run_folder import RunFolder
from trainer.training.fitting import accelerator_of, fit
from trainer.training.history import read_history
from trainer.training.module import ContrastiveTraining

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def imagery(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("imagery"))


def config(**training: object) -> Config:
    return Config.model_validate(small_config(**training))


class Interrupted(Exception):
    pass


class InterruptedInTheMiddle(ContrastiveTraining):
    def training_step(self, rows: torch.Tensor, step: int) -> torch.Tensor:
        if (self.current_epoch, step) == KILLED_AT:
            raise Interrupted
        return super().training_step(rows, step)


def same(a: object, b: object) -> bool:
    """Bitwise equality of nested states."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def assert_same_run(whole: RunFolder, resumed: RunFolder) -> None:
    for path, other in ((whole.last, resumed.last), (whole.best, resumed.best)):
        one, two = (torch.load(each, weights_only=True) for each in (path, other))
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"):
            assert same(one[part], two[part]), part
    measured = ("epoch", "train_loss", "validation_loss", "logit_scale")
    one, two = ([[row[name] for name in measured] for row in read_history(run.history)] for run in (whole, resumed))
    assert one == two


def test_a_killed_and_resumed_process_equals_an_uninterrupted_one_bit_for_bit(imagery, tmp_path):
    asked = config(epochs=5)
    whole, killed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "small")
    fit(training_of(asked, imagery), whole)
    path = write_config(tmp_path / "small.yaml", small_config(epochs=5))
    command = [sys.executable, "-m", "tests.killed_training", str(path), str(imagery), str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())})
    assert done.returncode == -signal.SIGKILL
    assert read_checkpoint(killed.last).description.epochs == KILLED_AT[0]
    torch.rand(7)  # the global generator is not what a run depends on
    fit(training_of(asked, imagery), killed)
    assert_same_run(whole, killed)


DROPPING = {"network": {"kind": "fcnet", "hidden_dim": 16, "residual_layers": 1}, "embedding_dim": 8}


@pytest.mark.parametrize(
    "other",
    [
        {"training": {"schedule": "cosine", "warmup_epochs": 1}},
        {"training": {"precision": "bfloat16"}},
        {"views": {"count": 3}},
        {"refinement": {"neighbours": 2, "fusion": "published"}},
        {"location_tower": DROPPING},
        {"location_tower": DROPPING, "training": {"objective": "csp"}},
    ],
    ids=str,
)
def test_so_does_an_interrupted_one_of_any_kind(imagery, tmp_path, other):
    given = small_config(epochs=4)
    asked = Config.model_validate({**given, **other, "training": {**given["training"], **other.get("training", {})}})
    whole, interrupted = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "interrupted")
    fit(training_of(asked, imagery), whole)
    with pytest.raises(Interrupted):
        fit(training_of(asked, imagery, InterruptedInTheMiddle), interrupted)
    fit(training_of(asked, imagery), interrupted)
    assert_same_run(whole, interrupted)


def test_a_run_that_stopped_early_stays_stopped(imagery, tmp_path):
    asked, run = config(learning_rate=3.0, epochs=40, patience=2), RunFolder(tmp_path)
    fit(training_of(asked, imagery), run)
    before = read_checkpoint(run.last)
    fit(training_of(asked, imagery), run)
    after = read_checkpoint(run.last)
    assert before.description == after.description
    assert same(before.model_state, after.model_state)
    assert len(read_history(run.history)) == before.description.epochs


def test_a_diverging_run_says_so(imagery, tmp_path):
    with pytest.raises(RunError, match=r"without a finite validation loss; lower training\.learning_rate"):
        fit(training_of(config(learning_rate=1e20), imagery), RunFolder(tmp_path))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_without_cuda_auto_is_the_cpu_and_cuda_an_error():
    assert accelerator_of("auto", ALONE) == accelerator_of("cpu", Processes(1, 4, 1, 4)) == "cpu"
    with pytest.raises(ConfigError, match=r"training\.accelerator: cuda"):
        accelerator_of("cuda", ALONE)
