import json
import shutil
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from service.bundle import read_bundle
from tests.synthetic_world import small_config, write_config, write_world
from trainer.cli.data import data
from trainer.cli.evaluation import evaluate
from trainer.cli.heads import fit_head
from trainer.cli.training import export, pretrain

app = typer.Typer()
app.add_typer(data, name="data")
app.command()(pretrain)
app.command()(export)
app.command()(fit_head)
app.command()(evaluate)


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


@pytest.fixture(scope="module")
def bundle(small_bundle, tmp_path_factory):
    """A copy of the small bundle, to be written to."""
    return shutil.copytree(small_bundle.path, tmp_path_factory.mktemp("bundles") / "b")


def test_from_raster_to_head_to_the_same_figures_again(place, bundle):
    table = place / "z.csv"
    raster = place / "imagery" / "positions.tif"
    sampled = run("data", "sample", raster, "--column", "z", "--band", 3, "--points", 600, "--out", table)
    assert sampled.exit_code == 0, sampled.output
    assert sampled.stdout == f"{table}: 600 places\n"

    asked = ["--target", "z", "--task", "regression", "--id", "northness", "--bundle", bundle, "--hidden", "16"]
    said = ["--unit", "radii", "--credit", "made up", "--license", "CC0-1.0", "--description", "how far north"]
    fitted = run("fit-head", table, *asked, *said)
    assert fitted.exit_code == 0, fitted.output
    (head,) = read_bundle(bundle).card.heads
    assert (head.id, head.unit, head.description, head.fit.column) == ("northness", "radii", "how far north", "z")
    assert (head.source.name, head.source.credit, head.source.license) == ("z.csv", "made up", "CC0-1.0")
    assert "R2 0." in fitted.stdout

    measured = run("evaluate", bundle, "--heads", "--data", table)
    assert measured.exit_code == 0, measured.output
    assert "northness" in measured.stdout
    assert "120 held out" in measured.stdout
    assert run("evaluate", bundle, "--heads", "--data", table, "--head", "northness").exit_code == 0


def test_classes_are_coloured_as_a_file_says(place, tmp_path, small_bundle):
    bundle = shutil.copytree(small_bundle.path, tmp_path / "b")
    (place / "halves.csv").write_text("lon,lat,half\n" + "".join(f"{i},{i - 25},{'SN'[i > 25]}\n" for i in range(50)))
    (place / "colors.csv").write_text("value,label,color\n0,S,#1c0dff\n1,N,#f9ffa4\n")
    asked = ["--target", "half", "--task", "classification", "--bundle", bundle, "--hidden", "8", "--epochs", 2]
    fitted = run("fit-head", place / "halves.csv", *asked, "--class-colors", place / "colors.csv")
    assert fitted.exit_code == 0, fitted.output
    (head,) = read_bundle(bundle).card.heads
    assert (head.classes, head.class_colors) == (("N", "S"), ("#f9ffa4", "#1c0dff"))


def test_places_are_sampled_from_polygons_by_name(place):
    areas = place / "areas.geojson"
    ring = [[0, 0], [40, 0], [40, 40], [0, 40], [0, 0]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "properties": {"title": "here"}, "geometry": geometry}
    areas.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    out = place / "areas.csv"
    done = run("data", "sample", areas, "--column", "where", "--property", "title", "--points", 20, "--out", out)
    assert done.exit_code == 0, done.output
    header, *rows = out.read_text().splitlines()
    assert header.replace('"', "") == "lon,lat,where"
    for row in rows:
        lon, lat, where = row.split(",")
        assert 0 <= float(lon) <= 40
        assert 0 <= float(lat) <= 40
        assert where == '"here"'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit-head", "{place}/none.csv", "--target", "z", "--task", "regression"], "none.csv cannot be read"),
        (["fit-head", "{place}/t.csv", "--target", "w", "--task", "regression"], "has no column 'w'; it has 'z'"),
        (["fit-head", "{place}/t.csv", "--target", "z", "--task", "guess"], "task: "),
        (["fit-head", "{place}/t.csv", "--target", "z", "--task", "regression", "--hidden", "a"], "hidden_dims"),
        (["fit-head", "{place}/t.csv", "--target", "z", "--task", "regression", "--bundle", "no"], "no bundle at "),
        (["fit-head", "{place}/t.csv", "--target", "z", "--task", "regression", "--transform", "log1p"], "log1p needs"),
        (["fit-head", "{place}/t.csv", "--target", "z", "--task", "regression", "--out", "{place}"], "exists; choose"),
        (
            ["fit-head", "{place}/t.csv", "--target", "z", "--task", "regression", "--class-colors", "{place}/c.csv"],
            "colour map with --colormap",
        ),
        (
            [
                "fit-head",
                "{place}/t.csv",
                "--target",
                "z",
                "--task",
                "classification",
                "--class-colors",
                "{place}/n.csv",
            ],
            "n.csv cannot be read",
        ),
        (["evaluate", "none", "--heads", "--data", "{place}/t.csv"], "no bundle at "),
        (["evaluate", "{bundle}", "--heads", "--data", "{place}/none.csv"], "none.csv cannot be read"),
        (["evaluate", "{bundle}", "--heads", "--data", "{place}/t.csv", "--head", "no"], "has no head 'no'"),
        (["data", "sample", "{place}/none.tif", "--column", "z", "--out", "{place}/o.csv"], "none.tif does not exist"),
        (["data", "sample", "{place}/none.tif", "--column", "z", "--out", "{place}/o.xls"], "o.xls: tables are"),
        (["data", "sample", "{place}/t.geojson", "--column", "z", "--out", "{place}/o.csv"], "cannot be read"),
    ],
)
def test_what_a_head_s_maker_can_put_right_is_one_line_on_stderr(place, bundle, arguments, message):
    (place / "c.csv").write_text("label,color\n1,#1c0dff\n")
    (place / "t.csv").write_text("lon,lat,z\n" + "".join(f"{i},{i},{i - 5}\n" for i in range(50)))
    if "fit-head" in arguments and "--bundle" not in arguments:
        arguments = [*arguments, "--bundle", "{bundle}"]
    failed = run(*(argument.format(place=place, bundle=bundle) for argument in arguments))
    assert failed.exit_code == 1, failed.output
    assert failed.stderr.startswith("Error: ")
    assert message in failed.stderr
    assert len(failed.stderr.splitlines()) == 1


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
