import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from tests.synthetic_s2 import write_s2_100k
from tests.synthetic_world import write_config
from trainer.cli.vision import attention, pretrain_vision
from trainer.vision.checkpoint import read_vision

CARD = {"version": "1", "description": "", "license": "MIT", "limits": ""}
VISION = {
    **{"patch": 8, "dim": 12, "depth": 1, "heads": 3, "head_dim": 16, "bottleneck_dim": 8, "output_dim": 32},
    **{"batch_size": 4, "max_steps": 2, "crops": {"local_crops": 2}, "accelerator": "cpu"},
}

app = typer.Typer()
app.command("pretrain-vision")(pretrain_vision)
app.command()(attention)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    write_s2_100k(folder / "imagery" / "s2-100k", 10, side=32)
    data = {"kind": "s2-100k", "size": 32, "min_bytes": 0}
    config = {"name": "small", "data": data, "vision": VISION, "causal": {}, "card": CARD}
    write_config(folder / "small.yaml", config)
    write_config(folder / "blind.yaml", {name: part for name, part in config.items() if name != "vision"})
    return folder


def run(command: str, place, *more: object, config: str = "small.yaml"):
    given = [command, place / config, "--imagery", place / "imagery", "--runs", place / "runs", *more]
    return CliRunner().invoke(app, [str(argument) for argument in given])


def test_from_imagery_to_a_backbone_and_its_attention(place):
    early = run("attention", place)
    assert (early.exit_code, early.stderr.count("\n")) == (1, 1)
    assert "vision.ckpt does not exist; make it by satcle pretrain-vision" in early.stderr
    trained = run("pretrain-vision", place)
    assert trained.exit_code == 0, trained.output
    path = place / "runs" / "small" / "vision.ckpt"
    assert trained.stdout.startswith(f"{path}: validation loss ")
    assert read_vision(path).description.steps == 2
    again = run("pretrain-vision", place)
    assert (again.exit_code, again.stderr.count("\n")) == (1, 1)
    assert "go on with --resume" in again.stderr
    assert run("pretrain-vision", place, "--resume").exit_code == 0
    drawn = run("attention", place, "--rows", "1,4", "--out", place / "attention.png")
    assert drawn.exit_code == 0, drawn.output
    assert (place / "attention.png").read_bytes().startswith(b"\x89PNG")


def test_a_config_without_vision_is_one_line(place):
    refused = run("pretrain-vision", place, config="blind.yaml")
    assert (refused.exit_code, refused.stderr) == (
        1,
        "Error: small has no vision section, which is what would be pretrained\n",
    )


def test_the_commands_come_without_anything_heavy():
    heavy = "{'torch', 'timm', 'lightly', 'torchgeo', 'matplotlib', 'yaml'}"
    program = f"import sys, trainer.cli.vision; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
