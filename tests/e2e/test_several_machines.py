"""Training by torchrun on several machines, here two agents that meet as such, with the run in a bucket."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tests.bucket import reachable_bucket
from tests.killed_training import DEATH
from tests.redis_server import free_port
from tests.synthetic_world import small_config, write_config, write_world
from trainer.checkpoint import read_checkpoint
from trainer.evaluation.encoders import open_encoder
from trainer.storage import Place, exists, place_of
from trainer.training.history import read_history

REPOSITORY = Path(__file__).parents[2]
MACHINES = 2
TIMEOUT_S = 600
COLUMNS = ("epoch", "train_loss", "validation_loss", "logit_scale")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Imagery, and a config whose batches do not divide by the processes."""
    folder = tmp_path_factory.mktemp("place")
    write_world(folder / "imagery")
    write_config(folder / "small.yaml", small_config(batch_size=63, epochs=4))
    return folder


@pytest.fixture(scope="module")
def runs() -> Iterator[str]:
    """A bucket's folder, and the way there in the environment."""
    with reachable_bucket("trained") as address:
        yield address


def pretrain(place: Path, runs: object, *options: str) -> tuple[str, ...]:
    given = (place / "small.yaml", "--imagery", place / "imagery", "--runs", runs, *options)
    return ("-m", "service", "pretrain", *map(str, given))


def killed(place: Path, runs: object, *what: str) -> tuple[str, ...]:
    return ("-m", "tests.killed_training", str(place / "small.yaml"), str(place / "imagery"), str(runs), *what)


@contextmanager
def machine(port: int, *command: str, restarts: int = 0, host: bool | None = None) -> Iterator[subprocess.Popen[str]]:
    """A machine with one process, that meets the others at `port`, which is that of the `host`."""
    meeting = [f"--nnodes={MACHINES}", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=test"]
    agent = [sys.executable, "-m", "torch.distributed.run", *meeting, "--nproc-per-node=1", "--local-addr=127.0.0.1"]
    if host is not None:
        agent.append(f"--rdzv-conf=is_host={host}")
    process = subprocess.Popen(
        [*agent, f"--max-restarts={restarts}", *command],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True},
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=TIMEOUT_S)


def finished(*machines: subprocess.Popen[str]) -> list[str]:
    """What each printed. Fails where one fails."""
    told = [machine.communicate(timeout=TIMEOUT_S)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0] * len(machines), "\n".join(told)
    return told


@pytest.fixture(scope="module")
def together(place: Path, runs: str) -> Place:
    """The run of two machines that nothing befell."""
    port = free_port()
    with machine(port, *pretrain(place, runs)) as one, machine(port, *pretrain(place, runs)) as other:
        told = finished(one, other)
    best = f"{runs}/small/best.ckpt"
    assert sum(each.splitlines().count(best) for each in told) == 1
    return place_of(f"{runs}/small")


def assert_same_bits(run: Place, other: Place) -> None:
    one, two = (read_checkpoint(each / "last.ckpt").model_state for each in (run, other))
    assert all(torch.equal(one[name], two[name]) for name in one)
    lines, others = (
        [[line[name] for name in COLUMNS] for line in read_history(each / "history.csv")] for each in (run, other)
    )
    assert lines == others


def test_a_run_by_two_machines_is_that_of_one_process(place: Path, together: Place):
    command = [sys.executable, *pretrain(place, place / "alone")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    one, two = (read_checkpoint(run / "last.ckpt").model_state for run in (place / "alone" / "small", together))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-5, atol=1e-5, msg=name)


def test_the_bucket_holds_the_run_written_by_one(together: Place):
    names = [path.name for path in together.iterdir()]
    assert {"config.yaml", "environment.json", "best.ckpt", "last.ckpt", "history.csv", "metrics.json"} <= set(names)
    assert sum(name.startswith("events.out.tfevents.") for name in names) == 1
    assert open_encoder(f"{together}/best.ckpt").name == "small"


def test_a_process_that_dies_is_started_again_and_the_run_ends_with_the_same_bits(
    place: Path, together: Place, runs: str
):
    port, elsewhere = free_port(), f"{runs}/restarted"
    command = killed(place, elsewhere)
    with machine(port, *command, restarts=1) as one, machine(port, *command, restarts=1) as other:
        assert sum(DEATH in each for each in finished(one, other)) == 1
    assert_same_bits(place_of(f"{elsewhere}/small"), together)


def test_another_machine_takes_the_place_of_one_that_is_lost(place: Path, together: Place, runs: str):
    port, elsewhere = free_port(), f"{runs}/replaced"
    left, lost = (killed(place, elsewhere, what) for what in ("left", "machine"))
    with (
        machine(port, *left, restarts=3, host=True) as one,
        machine(port, *lost, restarts=3, host=False) as other,
    ):
        assert other.wait(TIMEOUT_S) == -signal.SIGKILL
        with machine(port, *left, restarts=3, host=False) as another:
            finished(one, another)
    assert_same_bits(place_of(f"{elsewhere}/small"), together)


def test_machines_that_do_not_share_a_folder_say_so(place: Path, together: Place):
    """One goes on with a run that the other does not see."""
    port, mine = free_port(), place / "mine"
    (mine / "small").mkdir(parents=True)
    (mine / "small" / "last.ckpt").write_bytes((together / "last.ckpt").read_bytes())
    commands = (pretrain(place, runs, "--resume") for runs in (mine, place / "another"))
    with machine(port, *next(commands)) as one, machine(port, *next(commands)) as other:
        told = "".join(each.communicate(timeout=TIMEOUT_S)[0] for each in (one, other))
        assert 0 not in (one.returncode, other.returncode)
    assert "is not the same for all machines; --runs must be a mounted folder or a bucket" in told
    assert not exists(place / "another" / "small")
