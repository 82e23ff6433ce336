"""satcle evaluate, as a user runs it."""

import csv

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from trainer.cli.evaluation import evaluate
from trainer.snap import uniform_on_sphere

app = typer.Typer()
app.command()(evaluate)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    lon, lat = uniform_on_sphere(400, 0).T
    warmth, half = 30 * np.cos(np.radians(lat)) ** 2, np.where(lon > 0, "east", "west")
    rows = "".join(f"{a},{b},{w},{h}\n" for a, b, w, h in zip(lon, lat, warmth, half, strict=True))
    (folder / "t.csv").write_text("lon,lat,warmth,half\n" + rows)
    (folder / "suite.yaml").write_text(
        "tasks:\n  - {name: warmth, data: t.csv, target: warmth}\n"
        "  - {name: half, data: t.csv, target: half, kind: classification}\n"
        "  - {name: gone, data: none.csv, target: x}\n"
    )
    return folder


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def board(folder):
    with (folder / "leaderboard.csv").open(encoding="utf-8") as file:
        return {row["encoder"]: row for row in csv.DictReader(file)}


def test_encoders_are_compared_on_a_suite(place, small_bundle, tmp_path):
    out = tmp_path / "out"
    done = run(small_bundle.path, "baseline:sincos", "--tasks", place / "suite.yaml", "--data-dir", place, "--out", out)
    assert done.exit_code == 0, done.output
    assert f"task gone skipped: {place / 'none.csv'} does not exist" in done.stderr
    rows = board(out)
    assert list(rows) == ["small", "sincos"]
    assert float(rows["sincos"]["warmth | ridge | random | R2"]) > 0.9
    assert float(rows["sincos"]["half | ridge | blocks | accuracy"]) > 0.9
    text = (out / "leaderboard.md").read_text(encoding="utf-8")
    assert "task gone skipped" in text
    assert "## half" in text


def test_another_encoder_computes_only_its_own_cells(place, tmp_path):
    asked = ["--data", place / "t.csv", "--target", "warmth", "--out", tmp_path]
    assert run("baseline:sincos", *asked).exit_code == 0
    done = run("baseline:sincos", "other=baseline:sinusoid", *asked)
    assert "sincos: warmth\n" in done.stderr
    assert "other: warmth, 4 figures measured" in done.stderr
    assert list(board(tmp_path)) == ["sincos", "other"]


def test_the_papers_probe_and_the_transfer(place, tmp_path):
    asked = ["--data", place / "t.csv", "--target", "warmth", "--target", "half:classification", "--out", tmp_path]
    done = run("baseline:sincos", *asked, "--probes", "mlp", "--mlp-seeds", 2)
    assert done.exit_code == 0, done.output
    row = board(tmp_path)["sincos"]
    assert 0 < float(row["warmth | mlp | 7:1:2 | MSE"]) < 0.5
    assert float(row["warmth | mlp | 7:1:2 | MSE ±"]) > 0
    assert float(row["half | mlp | 7:1:2 | accuracy"]) > 0.8
    assert row["mean score"] == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["baseline:sincos"], "say what to measure on"),
        (["baseline:none", "--data", "{place}/t.csv", "--target", "warmth"], "there is no baseline none"),
        (["none.ckpt", "--data", "{place}/t.csv", "--target", "warmth"], "none.ckpt does not exist"),
        (["none", "--data", "{place}/t.csv", "--target", "warmth"], "no bundle at "),
        (["baseline:sincos", "--data", "{place}/t.csv"], "which column of"),
        (["baseline:sincos", "--data", "{place}/t.csv", "--target", "cold"], "has no column 'cold'"),
        (["baseline:sincos", "--data", "{place}/none.csv", "--target", "warmth"], "no task is left"),
        (["baseline:sincos", "--tasks", "{place}/none.yaml"], "none.yaml cannot be read"),
        (["baseline:sincos", "--tasks", "{place}/suite.yaml", "--probes", "lasso"], "no probe is named 'lasso'"),
        (["baseline:sincos", "baseline:sincos", "--data", "{place}/t.csv", "--target", "warmth"], "two encoders are"),
        (["earth-l30", "--heads"], "--heads measures one bundle on tables"),
    ],
)
def test_what_a_user_can_put_right_is_one_line(place, tmp_path, arguments, message):
    failed = run(*(argument.format(place=place) for argument in arguments), "--out", tmp_path / "out")
    assert failed.exit_code == 1, failed.output
    assert message in failed.stderr
    assert [line for line in failed.stderr.splitlines() if line.startswith("Error: ")] == [
        failed.stderr.splitlines()[-1]
    ]
    assert not (tmp_path / "out" / "leaderboard.md").exists()
