"""satcle figures, as a user runs it: a picture of the asked kind, or one line."""

import matplotlib.image
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.synthetic_world import small_config, write_config, write_world
from trainer.cli.figures import figures
from trainer.evaluation.distribution_figure import nearest_km
from trainer.snap import uniform_on_sphere


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    lon, lat = uniform_on_sphere(300, 0).T
    rows = "".join(f"{a},{b},{b},{'E' if a > 0 else 'W'}\n" for a, b in zip(lon, lat, strict=True))
    (folder / "t.csv").write_text("lon,lat,v,half\n" + rows)
    (folder / "suite.yaml").write_text(
        "tasks:\n  - {name: v, data: t.csv, target: v}\n"
        "  - {name: half, data: t.csv, target: half, kind: classification}\n"
    )
    write_world(folder / "imagery")
    write_config(folder / "small.yaml", small_config())
    columns = ["v | transfer | Africa | MSE", "v | transfer | Africa | MSE ±", "half | transfer | Oceania | accuracy"]
    values = ["0.2,0.01,0.9", "0.5,0.02,0.7"]
    lines = [f"{name},{row}" for name, row in zip("ab", values, strict=True)]
    (folder / "leaderboard.csv").write_text("\n".join([",".join(["encoder", *columns]), *lines]) + "\n")
    return folder


def run(place, out, *arguments: object):
    words = [str(argument).format(place=place) for argument in arguments]
    return CliRunner().invoke(figures, [*words, "--out", str(out)])


PLACES = ["--config", "{place}/small.yaml", "--imagery", "{place}/imagery"]
SUITE = ["--tasks", "{place}/suite.yaml", "--data-dir", "{place}"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["pca", "baseline:sincos"],
        ["similarity", "baseline:sincos", "--reference", "2.35,48.86", "--bbox", "-10,35,30,60"],
        ["prediction", "baseline:sincos", *SUITE, "--task", "v"],
        ["prediction", "baseline:sincos", *SUITE, "--task", "half"],
        ["transfer", "{place}"],
        ["transfer", "{place}", "--encoders", "b,a"],
        ["distribution", "{place}/small.yaml", "--imagery", "{place}/imagery"],
        ["continuity", "baseline:sincos", "xyz=baseline:untrained:L2", "--steps", "50"],
        ["continuity", "baseline:sincos", *PLACES, "--steps", "50"],
    ],
    ids=lambda arguments: " ".join(arguments[:1]),
)
def test_a_picture_is_drawn(place, tmp_path, arguments):
    done = run(place, tmp_path / "figure.png", *arguments)
    assert done.exit_code == 0, done.output
    picture = matplotlib.image.imread(tmp_path / "figure.png")
    assert min(picture.shape[:2]) > 200
    assert picture[..., :3].std() > 0.02  # not blank


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pca", "baseline:none"], "there is no baseline none"),
        (["pca", "baseline:sincos", "--bbox", "10,0,5,5"], "west is below east"),
        (["similarity", "baseline:sincos", "--reference", "here"], "--reference here: give LON,LAT in degrees"),
        (
            ["similarity", "baseline:sincos", "--reference", "48,235"],
            "--reference 48,235: lat 235 is outside -90 to 90",
        ),
        (["prediction", "baseline:sincos", *SUITE, "--task", "w"], "has no task 'w'; it has v, half"),
        (["transfer", "{place}/imagery"], "holds no leaderboard.csv"),
        (["transfer", "{place}", "--encoders", "a,c"], "has no row 'c'; it has a, b"),
        (["transfer", "{place}", "--encoders", "a"], "name two rows"),
        (["distribution", "{place}/none.yaml"], "none.yaml cannot be read"),
        (["continuity", "baseline:none"], "there is no baseline none"),
        (["continuity", "baseline:sincos", "--config", "{place}/none.yaml"], "none.yaml cannot be read"),
        (["continuity", "baseline:sincos", "--config", "{place}/none.ckpt"], "none.ckpt does not exist"),
    ],
)
def test_what_a_user_can_put_right_is_one_line(place, tmp_path, arguments, message):
    failed = run(place, tmp_path / "figure.png", *arguments)
    assert failed.exit_code == 1, failed.output
    assert message in failed.stderr
    assert len(failed.stderr.splitlines()) == 1


def test_an_ending_that_is_no_picture_is_one_line(place, tmp_path):
    failed = run(place, tmp_path / "figure.xyz", "transfer", "{place}")
    assert failed.exit_code == 1
    assert "cannot be written" in failed.stderr


def test_attention_is_among_the_figures():
    assert "attention" in CliRunner().invoke(figures, ["--help"]).output


def test_distances_are_great_circles_across_the_antimeridian_and_the_pole():
    samples = np.array([[179.5, 0.0], [0.0, 89.0]])
    found = nearest_km(samples, np.array([[-179.5, 0.0], [180.0, 89.0], [179.5, 0.0]]))
    degree = 6371.0088 * np.pi / 180
    np.testing.assert_allclose(found, [degree, 2 * degree, 0], atol=1e-6)
