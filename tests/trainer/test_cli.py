import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from service.bundle import read_bundle
from tests.synthetic_world import small_config, write_config, write_world
from trainer.cli import data, export, pretrain

app = typer.Typer()
app.add_typer(data, name="data")
app.command()(pretrain)
app.command()(export)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    write_world(folder / "imagery")
    write_config(folder / "small.yaml", small_config(epochs=1))
    return folder


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_commands_come_without_anything_heavy():
    heavy = "{'torch', 'lightning', 'rasterio', 'onnxruntime', 'yaml'}"
    program = f"import sys, trainer.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_from_imagery_to_bundle(place):
    trained = run("pretrain", place / "small.yaml", "--imagery", place / "imagery", "--runs", place / "runs")
    assert trained.exit_code == 0, trained.output
    best = place / "runs" / "small" / "best.ckpt"
    assert trained.stdout.splitlines()[-1] == str(best)
    exported = run("export", best, "--out", place / "bundle", "--name", "other", "--snap-places", 50)
    assert exported.exit_code == 0, exported.output
    assert read_bundle(place / "bundle").card.name == "other"
    again = run("export", best, "--out", place / "bundle")
    assert again.exit_code == 1
    assert again.stderr.startswith("Error: ")


def test_data_commands(place):
    listed = run("data", "ls", place / "small.yaml")
    assert listed.exit_code == 0
    assert "positions: x, y, z (from positions.tif)" in listed.stdout
    assert "CC0-1.0" in listed.stdout
    checked = run("data", "check", place / "small.yaml", "--imagery", place / "imagery")
    assert checked.exit_code == 0
    assert "180 x 90" in checked.stdout
    fetched = run("data", "get", place / "small.yaml", "--imagery", place / "imagery")
    assert (fetched.exit_code, fetched.stdout) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pretrain", "absent.yaml"], "absent.yaml cannot be read"),
        (["pretrain", "{place}/mistaken.yaml"], "unknown key training.epoch;"),
        (["pretrain", "{place}/small.yaml", "--imagery", "{place}/none"], "source positions: "),
        (["data", "check", "{place}/small.yaml", "--imagery", "{place}/none"], "source positions: "),
        (["export", "absent.ckpt", "--out", "{place}/out"], "absent.ckpt does not exist"),
        (["export", "{place}/small.yaml", "--out", "{place}/out"], "small.yaml is not a checkpoint"),
    ],
)
def test_what_a_user_can_put_right_is_one_line_on_stderr(place, arguments, message):
    write_config(place / "mistaken.yaml", small_config(epoch=1))
    failed = run(*(argument.format(place=place) for argument in arguments))
    assert failed.exit_code == 1
    assert failed.stderr.startswith("Error: ")
    assert message in failed.stderr
    assert len(failed.stderr.splitlines()) == 1
    assert not (place / "out").exists()
