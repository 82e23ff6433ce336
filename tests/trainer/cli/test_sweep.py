"""satcle sweep, as a user runs it: one run fails, one was killed, one is held by another process."""

import csv
import fcntl
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
import typer
import yaml
from typer.testing import CliRunner

from tests.synthetic_world import small_config, write_config, write_world
from trainer.cli.sweep import sweep
from trainer.config import read_config
from trainer.errors import RunError
from trainer.snap import uniform_on_sphere
from trainer.sweep.training import Trainers
from trainer.training import pretrain

app = typer.Typer()
app.command()(sweep)


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    write_world(folder / "imagery")
    write_config(folder / "small.yaml", small_config())
    lon, lat = uniform_on_sphere(300, 1).T
    warmth = 30 * np.cos(np.radians(lat)) ** 2
    rows = "".join(f"{a},{b},{w}\n" for a, b, w in zip(lon, lat, warmth, strict=True))
    (folder / "t.csv").write_text("lon,lat,warmth\n" + rows)
    (folder / "suite.yaml").write_text("tasks: [{name: warmth, data: t.csv, target: warmth}]\n")
    asked = {
        "name": "try",
        "base": "small.yaml",
        "variants": {"plain": {}, "diverging": {"training.learning_rate": 1e30}},
        "evaluate": {"tasks": ["suite.yaml"], "first_seed": 7, "beside": ["baseline:sincos"]},
    }
    (folder / "try.yaml").write_text(yaml.safe_dump(asked))
    return folder


@pytest.fixture(scope="module")
def swept(place):
    """A sweep of two runs, of which one had been killed by SIGKILL in its third epoch, and one cannot succeed."""
    killed = place / "runs" / "try" / "try-plain-s0"
    killed.mkdir(parents=True)
    config = read_config(place / "small.yaml", {"name": "try-plain-s0"})
    write_config(killed / "config.yaml", config.model_dump(mode="json"))
    command = [sys.executable, "-m", "tests.killed_training", killed / "config.yaml", place / "imagery", killed.parent]
    died = subprocess.run(list(map(str, command)), capture_output=True, check=False)
    assert died.returncode == -9, died.stderr.decode()
    assert (killed / "last.ckpt").exists()
    return run(*asked_of(place), "--jobs", 2)


def asked_of(place):
    return [place / "try.yaml", "--runs", place / "runs", "--imagery", place / "imagery", "--data-dir", place]


def test_the_run_that_fails_is_named_and_the_others_are_measured(place, swept):
    assert swept.exit_code == 1, swept.output
    folder = place / "runs" / "try"
    assert "failed: try-diverging-s0: " in swept.stderr
    assert "without a finite validation loss; lower training.learning_rate" in swept.stderr
    assert "2 configurations tried" in swept.stdout
    text = (folder / "table.md").read_text(encoding="utf-8")
    assert "2 configurations tried; 1 runs measured, 1 not." in text
    assert "try-diverging-s0: " in text
    with (folder / "table.csv").open(encoding="utf-8") as file:
        rows = {(row["variant"], row["seed"]): row for row in csv.DictReader(file)}
    assert set(rows) == {
        ("plain", "0"),
        ("plain", "all"),
        ("untrained", "0"),
        ("untrained", "all"),
        ("sincos", ""),
        ("sincos", "all"),
    }
    assert float(rows["sincos", "all"]["warmth | ridge | random | R2"]) > 0.9
    kept = json.loads((folder / "try-plain-s0" / "cells.json").read_text())["cells"]
    assert {cell["seed"] for cell in kept} == {7}


def test_the_run_that_was_killed_went_on_and_ended_as_if_it_had_not(place, swept, tmp_path):
    config = read_config(place / "small.yaml", {"name": "try-plain-s0"})
    whole = pretrain(config, place / "imagery", tmp_path)
    resumed = place / "runs" / "try" / "try-plain-s0" / "best.ckpt"
    states = [torch.load(path, weights_only=True)["state_dict"] for path in (whole, resumed)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_what_is_done_is_left_alone_and_what_is_missing_is_made_again(place, swept):
    folder = place / "runs" / "try"
    before = (folder / "try-plain-s0" / "best.ckpt").stat().st_mtime_ns
    (folder / "try-plain-s0" / "figures.json").unlink()
    (folder / "table.md").unlink()
    again = run(*asked_of(place))
    assert "try-plain-s0: training" not in again.stderr
    assert "try-plain-s0: warmth\n" in again.stderr  # from its cells
    assert "sincos: warmth" not in again.stderr
    assert (folder / "try-plain-s0" / "best.ckpt").stat().st_mtime_ns == before
    assert (folder / "table.md").exists()


def test_the_table_is_made_of_the_folders_alone(place, swept, tmp_path):
    folder = place / "runs" / "try"
    made = (folder / "table.csv").read_text()
    (folder / "table.csv").unlink()
    done = run(folder)
    assert done.exit_code == 0, done.output
    assert (folder / "table.csv").read_text() == made
    assert run(place / "try.yaml", "--runs", place / "runs", "--table").exit_code == 0
    failed = run(folder, "--reference", "none")
    assert failed.exit_code == 1
    assert "no variant 'none' was measured" in failed.stderr


def test_a_run_of_another_config_is_not_taken_for_this_one(place, swept, tmp_path):
    changed = yaml.safe_load((place / "try.yaml").read_text()) | {"variants": {"plain": {"training.epochs": 2}}}
    (place / "changed.yaml").write_text(yaml.safe_dump(changed))
    failed = run(place / "changed.yaml", *asked_of(place)[1:])
    assert failed.exit_code == 1
    assert "try-plain-s0 holds a run of another config; remove it, or rename the variant" in failed.stderr


def test_a_run_that_another_process_trains_is_waited_for(place, tmp_path):
    config = read_config(place / "small.yaml", {"name": "held"})
    (tmp_path / "held").mkdir()
    handle = os.open(tmp_path / "held", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    trainers, failed = Trainers(1, ["--imagery", str(place / "imagery")]), []

    def train():
        try:
            trainers.train(config, tmp_path)
        except RunError as error:
            failed.append(str(error))

    waiting = threading.Thread(target=train)
    waiting.start()
    trainers.stop()
    waiting.join(timeout=60)
    os.close(handle)
    assert failed == ["stopped while another process trained it"]
    assert not (tmp_path / "held" / "config.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{place}/none.yaml"], "none.yaml cannot be read"),
        (["{place}/imagery"], "holds no runs of satcle sweep"),
        (["{place}/try.yaml", "--table", "--runs", "{place}/none"], "none/try holds no runs of satcle sweep"),
        (["{place}/try.yaml", "--data-dir", "{place}/imagery", "--runs", "{place}/none"], "no task is left"),
    ],
)
def test_what_a_user_can_put_right_is_one_line(place, arguments, message):
    failed = run(*(argument.format(place=place) for argument in arguments))
    assert failed.exit_code == 1, failed.output
    assert message in failed.stderr
    assert [line for line in failed.stderr.splitlines() if line.startswith("Error: ")] == [
        failed.stderr.splitlines()[-1]
    ]
