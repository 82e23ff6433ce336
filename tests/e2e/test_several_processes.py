"""Training by torchrun, with real processes that talk by gloo on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.sharing_processes import descend
from tests.synthetic_world import small_config, write_config, write_world
from trainer.checkpoint import read_checkpoint
from trainer.processes import ALONE
from trainer.training.history import read_history

REPOSITORY = Path(__file__).parents[2]
PROCESSES = 2
DROPPING = {
    "location_tower": {"network": {"kind": "fcnet", "hidden_dim": 16, "residual_layers": 1}, "embedding_dim": 16}
}


def python(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, timeout=300)


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    return python("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={PROCESSES}", *arguments)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Imagery, and a config whose batches do not divide by the processes."""
    folder = tmp_path_factory.mktemp("place")
    write_world(folder / "imagery")
    write_config(folder / "small.yaml", small_config(batch_size=63, epochs=4))
    write_config(folder / "csp.yaml", small_config(batch_size=63, epochs=2, objective="csp") | DROPPING)
    return folder


def pretrain(place: Path, runs: str, *options: str, config: str = "small.yaml") -> tuple[object, ...]:
    given = (place / config, "--imagery", place / "imagery", "--runs", place / runs)
    return ("-m", "service", "pretrain", *given, *options)


@pytest.fixture(scope="module")
def alone(place: Path) -> Path:
    done = python(*pretrain(place, "alone"))
    assert done.returncode == 0, done.stderr
    return place / "alone" / "small"


@pytest.fixture(scope="module")
def together(place: Path) -> Path:
    done = torchrun(*pretrain(place, "together"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines().count(str(place / "together" / "small" / "best.ckpt")) == 1
    return place / "together" / "small"


@pytest.mark.parametrize("objective", ["clip", "csp"])
def test_loss_gradients_and_weights_are_those_of_one_process(tmp_path: Path, objective: str):
    """64 rows are as many for each, 7 are not, and of 1 one process has none."""
    done = torchrun("-m", "tests.sharing_processes", tmp_path, objective, 64, 7, 1)
    assert done.returncode == 0, done.stderr
    for rows in (64, 7, 1):
        expected = descend(ALONE, rows, objective)
        for rank in range(PROCESSES):
            found = torch.load(tmp_path / f"{rank}-{rows}.pt", weights_only=True)
            assert found.keys() == expected.keys()
            for name, value in expected.items():
                torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-5, msg=f"{rows} rows: {name}")


def assert_same_run(alone: Path, together: Path) -> None:
    one, two = (read_checkpoint(run / "last.ckpt").model_state for run in (alone, together))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-5, atol=1e-5, msg=name)
    for line, other in zip(*(read_history(run / "history.csv") for run in (alone, together)), strict=True):
        for column in ("train_loss", "validation_loss", "logit_scale"):
            assert float(line[column]) == pytest.approx(float(other[column]), rel=1e-5)


def test_a_run_by_two_processes_is_that_of_one(alone: Path, together: Path):
    assert_same_run(alone, together)


def test_so_is_one_by_csp_whose_dropout_they_share(place: Path):
    """The config has one name with the other, and runs of its own."""
    for start, runs in ((python, "csp alone"), (torchrun, "csp together")):
        done = start(*pretrain(place, runs, config="csp.yaml"))
        assert done.returncode == 0, done.stderr
    assert_same_run(*(place / runs / "small" for runs in ("csp alone", "csp together")))


def test_one_process_writes(together: Path):
    assert len(list(together.glob("events.out.tfevents.*"))) == 1
    assert [row["epoch"] for row in read_history(together / "history.csv")] == ["1", "2", "3", "4"]
    assert json.loads((together / "environment.json").read_text())["processes"] == PROCESSES
    assert (together / "metrics.json").exists()


def test_where_one_process_dies_all_end_and_a_resumed_run_is_the_same(place: Path, together: Path):
    killed = ("-m", "tests.killed_training", place / "small.yaml", place / "imagery", place / "killed")
    died = torchrun(*killed)
    assert died.returncode != 0
    assert "SIGKILL" in died.stderr
    resumed = torchrun(*pretrain(place, "killed", "--resume"))
    assert resumed.returncode == 0, resumed.stderr
    one, two = (read_checkpoint(run / "last.ckpt").model_state for run in (together, place / "killed" / "small"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert [row["epoch"] for row in read_history(place / "killed" / "small" / "history.csv")] == ["1", "2", "3", "4"]


def test_what_a_user_can_put_right_is_one_line_here_too(place: Path):
    failed = torchrun("-m", "service", "pretrain", place / "small.yaml", "--imagery", place / "none")
    assert failed.returncode != 0
    said = [line for line in failed.stderr.splitlines() if line.startswith("Error: ")]
    assert said
    assert all("source positions: " in line for line in said)
    assert "trainer/data" not in failed.stderr  # no traceback
