"""The command as a person uses it: what it prints, where, and how it ends."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from service.app import create_app
from service.cli import app
from service.settings import Settings

SATCLE = [sys.executable, "-m", "service"]
ROOT = Path(__file__).parents[2]
LOOK_EVERY_S = 0.01


@pytest.fixture
def satcle():
    return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def cities(tmp_path):
    path = tmp_path / "cities.csv"
    path.write_text("city,lon,lat\nBeijing,116.4,39.9\nParis,2.35,48.86\n")
    return path


def environment(**changes: str) -> dict[str, str]:
    paths = os.pathsep.join(filter(None, [changes.pop("PYTHONPATH", ""), str(ROOT)]))
    return {**os.environ, **changes, "PYTHONPATH": paths}


def many_rows(path: Path, rows: int) -> Path:
    path.write_text("lon,lat\n" + "".join(f"{i * 360 / rows - 180},{i * 180 / rows - 90}\n" for i in range(rows)))
    return path


def test_version(satcle):
    assert satcle("--version").output == f"satcle {version('satcle')}\n"


def test_help_names_every_command_and_imports_nothing_heavy():
    script = """
import sys
from service.cli import main
sys.argv = ["satcle", "--help"]
try:
    main()
finally:
    print(*sys.modules)
"""
    run = subprocess.run(
        [sys.executable, "-c", script], env=environment(COLUMNS="200"), capture_output=True, text=True, check=True
    )
    shown, imported = run.stdout.rstrip().rsplit("\n", 1)
    assert all(command in shown for command in ("serve", "embed", "bundle"))
    heavy = {"numpy", "pyarrow", "onnxruntime", "fastapi", "pydantic", "torch", "h3", "trainer"}
    assert not heavy & set(imported.split())


# embed


def test_embed_prints_its_rate_and_no_bar_where_there_is_no_terminal(tiny_bundle, cities, tmp_path):
    run = subprocess.run(
        [*SATCLE, "embed", cities, "-o", tmp_path / "out.csv", "--bundle", tiny_bundle.path],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("2 points in ")
    assert f" points/s, tiny -> {tmp_path / 'out.csv'}\n" in run.stdout


def test_embed_gives_what_the_service_gives(satcle, tiny_bundle, cities, tmp_path):
    satcle("embed", cities, "-o", tmp_path / "out.csv", "--bundle", tiny_bundle.path, "--dimensions", 4, "--normalize")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    request = {"input": [[116.4, 39.9], [2.35, 48.86]], "dimensions": 4, "normalize": True}
    with TestClient(create_app(Settings(bundles=(str(tiny_bundle.path),)))) as client:
        served = client.post("/v1/embeddings", json=request).json()["data"]
    assert [row["h3"] for row in rows] == [item["cell"] for item in served]
    embedded = [[float(row[f"e{i}"]) for i in range(4)] for row in rows]
    np.testing.assert_allclose(embedded, [item["embedding"] for item in served], atol=1e-6)


@pytest.mark.parametrize("target", ["out.parquet", "out"])
def test_embed_has_the_precision_of_the_settings(satcle, precise_bundle, tmp_path, monkeypatch, target):
    pq.write_table(pa.table({"lon": [116.4, 2.35], "lat": [39.9, 48.86]}), tmp_path / "in.parquet")
    monkeypatch.setenv("SATCLE_PRECISION", "float16")
    job = ["embed", tmp_path / "in.parquet", "-o", tmp_path / target, "--bundle", precise_bundle.path]
    assert satcle(*job).exit_code == 0
    table = pq.read_table(tmp_path / target).sort_by("lon")
    settings = Settings(bundles=(str(precise_bundle.path),), provider="cpu")
    assert settings.precision == "float16"
    with TestClient(create_app(settings)) as client:
        served = client.post("/v1/embeddings", json={"input": [[2.35, 48.86], [116.4, 39.9]]}).json()["data"]
    assert table["h3"].to_pylist() == [int(item["cell"], 16) for item in served]
    np.testing.assert_allclose(table["embedding"].to_pylist(), [item["embedding"] for item in served], atol=1e-6)


@pytest.mark.parametrize("kind", [("--h3-resolution", 3, ".parquet"), ("--width", 40, ".tif")])
def test_map_has_the_precision_of_the_settings_in_a_file_as_in_a_folder(
    satcle, precise_bundle, tmp_path, monkeypatch, kind
):
    option, number, suffix = kind
    values = {}
    for precision in ("float32", "float16"):
        monkeypatch.setenv("SATCLE_PRECISION", precision)
        for target in (f"{precision}{suffix}", precision):
            job = ["map", "--reference", "2.35,48.86", "--bbox", "0,40,20,60", option, number]
            run = satcle(*job, "-o", tmp_path / target, "--model", precise_bundle.path)
            assert run.exit_code == 0, run.output
            values[target] = map_values(tmp_path / target)
        np.testing.assert_allclose(values[precision], values[f"{precision}{suffix}"], atol=1e-6)
    assert np.abs(values["float16"] - values["float32"]).max() > 0.1


def map_values(path: Path) -> np.ndarray:
    """The values of a map of cells, by cell, or of pixels."""
    if path.suffix == ".tif" or (path / "mosaic.vrt").exists():
        with rasterio.open(path if path.suffix else path / "mosaic.vrt") as opened:
            return opened.read(1)
    return pq.read_table(path).sort_by("h3")["value"].to_numpy()


@pytest.mark.parametrize(
    "job",
    [
        ("embed", "in.csv", "-o", "out.csv"),
        ("embed", "--region", "0,0,9,9", "--h3-resolution", 3, "-o", "out"),
        ("map", "--reference", "1,2", "--bbox", "0,0,9,9", "-o", "out.tif"),
        ("map", "--reference", "1,2", "--bbox", "0,0,9,9", "-o", "out"),
    ],
)
def test_a_precision_that_the_card_does_not_declare_is_refused(satcle, tiny_bundle, tmp_path, monkeypatch, job):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SATCLE_PRECISION", "float16")
    Path("in.csv").write_text("lon,lat\n1,2\n")
    result = satcle(*job, "--bundle" if job[0] == "embed" else "--model", tiny_bundle.path)
    assert result.exit_code == 1
    assert result.stderr.startswith("satcle: SATCLE_PRECISION=float16: model tiny declares float32 only")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "in.csv"]


def test_map_takes_its_own_model_whichever_the_service_is_to_serve(satcle, headed_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("SATCLE_DEFAULT_MODEL", "earth-l30")
    job = ["map", "--head", "height", "--bbox", "0,0,9,9", "--width", 9, "--model", headed_bundle.path]
    assert satcle(*job, "-o", tmp_path / "out.tif").exit_code == 0


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("lon,lat\n1,2\n1,95\n", [], "row 2 (line 3): lat 95 is outside -90 to 90; lon and lat look swapped"),
        ("a,b\n", [], "no columns are named like lon and lat, or h3, among 'a', 'b'; say which with --lon and --lat"),
        ("lon,lat\n", ["--dimensions", "5"], "dimensions 5 is not one of tiny's: 4, 8"),
        ("lon,lat\n", ["--bundle", "nowhere"], "no bundle 'nowhere'"),
        ("lon,lat\n", ["-o", "out.xlsx"], "out.xlsx: only .csv, .csv.gz, .parquet, .geoparquet can be written"),
        (None, [], "in.csv: No such file or directory"),
    ],
)
def test_embed_says_what_is_wrong_in_one_line(satcle, tiny_bundle, tmp_path, monkeypatch, content, options, message):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("in.csv").write_text(content)
    result = satcle("embed", "in.csv", "-o", "out.csv", "--bundle", tiny_bundle.path, *options)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("satcle: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*out*"))


def test_embed_leaves_nothing_behind_where_the_disk_is_full(tiny_bundle, tmp_path):
    source = many_rows(tmp_path / "in.csv", 20_000)
    for target in ("out.csv", "out.parquet"):
        run = subprocess.run(
            [*SATCLE, "embed", source, "-o", tmp_path / target, "--bundle", tiny_bundle.path],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        )
        assert run.returncode == 1
        assert run.stderr.count("\n") == 1
        assert "File too large" in run.stderr
        assert list(tmp_path.iterdir()) == [source]


@pytest.fixture
def interruptible():
    """Ctrl-C ends what is started, also where a shell runs the tests in the background and has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_embed_shows_a_bar_and_leaves_nothing_behind_when_stopped(tiny_bundle, tmp_path, number):
    source = tmp_path / "in.csv"
    os.mkfifo(source)
    terminal, stderr = pty.openpty()
    run = subprocess.Popen(
        [*SATCLE, "embed", source, "-o", tmp_path / "out.csv", "--bundle", tiny_bundle.path],
        env=environment(TERM="xterm"),
        stdout=subprocess.PIPE,
        stderr=stderr,
    )
    os.close(stderr)
    with read_without_end(run, source, while_there=".out.csv.*"):
        shown = b""
        while b"embedding" not in shown:
            shown += os.read(terminal, 1024)
        run.send_signal(number)
        while more := _read_until_closed(terminal):
            shown += more
        os.close(terminal)
        stdout, _ = run.communicate()
    assert run.returncode == 128 + signal.SIGINT
    assert b"satcle: interrupted" in shown
    assert b"Traceback" not in shown
    assert stdout == b""
    assert list(tmp_path.iterdir()) == [source]


@contextmanager
def read_without_end(run: subprocess.Popen[bytes], pipe: Path, while_there: str) -> Iterator[None]:
    """Two places each time that the process reads the pipe; while such a file lies beside it, they have no end."""
    while True:
        with os.fdopen(opened_by(run, pipe), "w") as file:
            endless = any(pipe.parent.glob(while_there))
            another = pipe.with_suffix(".next")
            os.mkfifo(another)
            another.replace(pipe)  # for whoever reads after this one
            file.write("lon,lat\n116.4,39.9\n2.35,48.86\n")
            if endless:
                file.flush()
                yield
                return


def opened_by(run: subprocess.Popen[bytes], pipe: Path) -> int:
    """The end to write to, once the process has opened the other."""
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads
            with suppress(subprocess.TimeoutExpired):
                run.wait(LOOK_EVERY_S)
                pytest.fail("it ended before it had read the table")


def _read_until_closed(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1024)
    except OSError:  # how Linux says that the other end of a terminal is closed
        return b""


# serve


def test_serve_answers_until_it_is_told_to_stop(tiny_bundle):
    run = subprocess.Popen(
        [*SATCLE, "serve", "--port", "0", "--bundles", str(tiny_bundle.path)],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    with run:
        line = next(line for line in run.stderr if "running on" in line)
        address = re.search(r"http://[\d.:]+", line).group()
        served = httpx.post(f"{address}/v1/embeddings", json={"input": [2.35, 48.86]}).json()
        run.send_signal(signal.SIGINT)
        list(run.stderr)
    assert len(served["data"][0]["embedding"]) == 8
    assert run.returncode == 0


@pytest.mark.parametrize(
    ("options", "variables", "message"),
    [
        (["--bundles", "nowhere"], {}, "no bundle 'nowhere'"),
        ([], {"SATCLE_MAX_BATCH_POINTS": "none"}, "SATCLE_MAX_BATCH_POINTS 'none': "),
    ],
)
def test_serve_says_what_is_wrong_in_one_line(satcle, monkeypatch, options, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = satcle("serve", *options)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"satcle: {message}")
    assert result.stderr.count("\n") == 1


# bundle


def test_bundle_ls(satcle, tiny_bundle, make_bundle, tmp_path):
    make_bundle(tmp_path / "other", name="other", snap_resolution=None)
    result = satcle("bundle", "ls", tiny_bundle.path, tmp_path)
    header, *rows = [line.split() for line in result.stdout.splitlines()]
    assert header == ["NAME", "VERSION", "DIMS", "L", "SNAP", "DIGEST", "PATH"]
    assert rows[0] == ["tiny", "1.0.0", "8", "2", "10", tiny_bundle.card.digest[:12], str(tiny_bundle.path)]
    assert rows[1][0] == "other"
    assert rows[1][4] == "exact"


def test_bundle_show(satcle, tiny_bundle):
    summary = satcle("bundle", "show", tiny_bundle.path).stdout
    assert summary.startswith("tiny 1.0.0: ")
    assert tiny_bundle.card.digest in summary
    card = satcle("bundle", "show", "--json", tiny_bundle.path).stdout
    assert json.loads(card) == tiny_bundle.card.model_dump(mode="json")


def test_bundle_verify(satcle, make_bundle, tmp_path):
    bundle = make_bundle(tmp_path / "b")
    assert satcle("bundle", "verify", bundle.path).stdout == f"ok {bundle.card.digest} {bundle.path}\n"
    (bundle.path / "encoder.onnx").write_bytes(b"altered")
    result = satcle("bundle", "verify", bundle.path)
    assert result.exit_code == 1
    assert "encoder.onnx has 7 bytes" in result.stderr
    assert result.stderr.count("\n") == 1


# The trainer's commands come by entry points, and these come from a distribution made for the test.

COMMANDS = """
import typer
data = typer.Typer(help="Data.")
@data.command()
def get(name: str) -> None:
    typer.echo(f"got {name}")
@data.command()
def ls() -> None: ...
def pretrain(config: str) -> None:
    import a_library_that_is_not_there
def broken() -> None:
    import service.a_module_that_is_not_there
"""


@pytest.fixture
def training(tmp_path, monkeypatch):
    """Installs commands: two in a group, two alone, one whose module needs what is not there."""
    package = tmp_path / "site"
    (package / "training-1.dist-info").mkdir(parents=True)
    (package / "training-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: training\nVersion: 1\n")
    (package / "training-1.dist-info" / "entry_points.txt").write_text(
        "[satcle.commands]\n"
        + "".join(f"t-{name} = satcle_test_commands:{name}\n" for name in ("data", "pretrain", "broken"))
        + "t-absent = a_library_that_is_not_there:command\n"
    )
    (package / "satcle_test_commands.py").write_text(COMMANDS)
    monkeypatch.syspath_prepend(package)
    yield
    sys.modules.pop("satcle_test_commands", None)


def test_help_lists_the_trainers_commands_without_loading_them(satcle, training):
    shown = satcle("--help").stdout
    assert all(name in shown for name in ("t-data", "t-pretrain", "t-absent"))
    assert "satcle_test_commands" not in sys.modules


def test_the_trainers_commands_run(satcle, training):
    assert satcle("t-data", "get", "imagery").stdout == "got imagery\n"
    assert "config" in satcle("t-pretrain", "--help").stdout.lower()


@pytest.mark.parametrize("command", [("t-pretrain", "config.yaml"), ("t-absent",), ("t-absent", "--help")])
def test_a_command_without_its_libraries_says_how_to_install_them(satcle, training, command):
    result = satcle(*command)
    assert result.exit_code == 1
    assert result.stderr == f"satcle: satcle {command[0]} needs the training extra: pip install 'satcle[train]'\n"


def test_a_module_of_ours_that_is_missing_is_a_bug_and_looks_like_one(satcle, training):
    assert isinstance(satcle("t-broken").exception, ModuleNotFoundError)


# Folders of parts


def test_a_region_becomes_a_folder_of_parts_once(satcle, tiny_bundle, tmp_path):
    job = [
        "embed",
        "--region",
        "0,40,10,50",
        "--h3-resolution",
        4,
        "-o",
        tmp_path / "out",
        "--bundle",
        tiny_bundle.path,
    ]
    first, second = satcle(*job), satcle(*job)
    assert (first.exit_code, second.exit_code) == (0, 0)
    parts = len(list((tmp_path / "out").glob("*.parquet")))
    assert re.fullmatch(rf"{parts} parts; [\d,]+ points in .* points/s, tiny -> .*\n", first.output)
    assert second.output.startswith(f"{parts} parts; none made now, tiny -> ")


def test_a_raster_becomes_tiles_that_a_vrt_joins(satcle, headed_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("service.bulk.raster_job.TILE", 64)
    options = ["map", "--head", "height", "--bbox=170,-20,-165,20", "--width", "100", "--model", headed_bundle.path]
    assert satcle(*options, "-o", tmp_path / "tiles").exit_code == 0
    assert satcle(*options, "-o", tmp_path / "whole.tif").exit_code == 0
    assert len(list((tmp_path / "tiles").glob("tile-*.tif"))) == 6
    with rasterio.open(tmp_path / "tiles" / "mosaic.vrt") as joined, rasterio.open(tmp_path / "whole.tif") as whole:
        assert (joined.shape, joined.crs, joined.nodata is not None) == (whole.shape, whole.crs, True)
        np.testing.assert_allclose(joined.transform, whole.transform)
        np.testing.assert_allclose(joined.read(1), whole.read(1), rtol=1e-5)


def test_a_raster_of_classes_is_empty_outside_of_its_area(satcle, headed_bundle, tmp_path):
    ring = [[0, 0], [10, 0], [10, 10], [0, 0]]
    area = tmp_path / "area.geojson"
    area.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    options = ["map", "--head", "colour", "--region", area, "--width", "40", "--model", headed_bundle.path]
    assert satcle(*options, "-o", tmp_path / "tiles").exit_code == 0
    assert satcle(*options, "-o", tmp_path / "whole.tif").exit_code == 0
    with rasterio.open(tmp_path / "tiles" / "mosaic.vrt") as joined, rasterio.open(tmp_path / "whole.tif") as whole:
        assert joined.dtypes == whole.dtypes == ("uint8",)
        np.testing.assert_array_equal(joined.read(1), whole.read(1))
        assert (joined.read(1) == joined.nodata).mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["embed", "-o", "out"], "give a table of places, or --h3-resolution and --region, as --region world"),
        (["embed", "--region", "world", "-o", "out"], "give a table of places, or --h3-resolution and --region"),
        (["embed", "--region", "world", "--h3-resolution", 3, "-o", "out.parquet"], "give it a name without a suffix"),
        (["embed", "--region", "world", "--h3-resolution", 16, "-o", "out"], "16 is no resolution of H3"),
        (["embed", "in.parquet", "--region", "world", "-o", "out"], "not both"),
        (["embed", "--region", "world", "--h3-resolution", 3, "--lon", "x", "-o", "out"], "name columns of a table"),
        (["embed", "in.parquet", "--engine", "ray", "-o", "out.parquet"], "--engine ray writes a folder of parts"),
        (["embed", "--region", "1,2,3,4", "--h3-resolution", 3, "--gpus", 1, "-o", "out"], "are for --engine ray"),
        (["map", "--head", "height", "-o", "out"], "give --bbox or --region"),
        (["map", "--head", "none", "--region", "world", "-o", "out"], "there is height, colour"),
        (["map", "--region", "world", "-o", "out"], "give a reference as lon,lat, or a head"),
        (["map", "--head", "height", "--region", "world", "--width", 9, "--h3-resolution", 3, "-o", "out"], "not both"),
    ],
)
def test_a_job_that_cannot_be_is_refused_in_one_line(satcle, headed_bundle, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    model = ["--bundle" if options[0] == "embed" else "--model", headed_bundle.path]
    result = satcle(*options, *model)
    assert result.exit_code == 1
    assert result.stderr.startswith("satcle: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_ray_its_engine_says_how_to_install_it(tiny_bundle, tmp_path):
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError(\"No module named 'ray'\", name='ray')\n")
    job = ["embed", "--region", "0,0,1,1", "--h3-resolution", "3", "-o", "out", "--bundle", str(tiny_bundle.path)]
    run = subprocess.run(
        [*SATCLE, *job, "--engine", "ray"],
        env=environment(PYTHONPATH=str(tmp_path)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert (
        run.stderr == "satcle: --engine ray needs Ray: pip install 'satcle[serve,ray]', or 'satcle[gpu,ray]' for GPUs\n"
    )
