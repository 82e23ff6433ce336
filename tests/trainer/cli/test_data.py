import json

import pytest
import yaml
from typer.testing import CliRunner

from tests.hub_server import FILES, running_hub
from tests.real_s2 import s2_100k_sample
from tests.synthetic_s2 import write_s2_100k
from tests.synthetic_world import small_config, write_config, write_world
from trainer.cli.data import data


def run(*arguments: object):
    return CliRunner().invoke(data, [str(argument) for argument in arguments])


@pytest.fixture
def config(tmp_path):
    """A config for the patches in tmp_path/s2."""
    given = small_config()
    given["data"] = {"kind": "s2-100k", "path": "s2", "size": 32}
    given["card"]["probe_bands"] = []
    path = tmp_path / "s2.yaml"
    path.write_text(yaml.safe_dump(given))
    return path


def test_the_real_sample_is_found_whole():
    done = run("check", s2_100k_sample())
    assert (done.exit_code, done.stdout) == (0, f"{s2_100k_sample()}: 23 of 23 patches can be used, in shards\n")


@pytest.mark.parametrize("layout", ["shards", "images"])
def test_a_config_of_s2_is_checked_in_the_imagery_folder(tmp_path, config, layout):
    write_s2_100k(tmp_path / "s2", 5, layout=layout, side=32)
    done = run("check", config, "--imagery", tmp_path)
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 's2'}: 5 of 5 patches can be used, in {layout}\n")


def test_faults_are_a_table_and_exit_status_1(tmp_path, config):
    write_s2_100k(tmp_path / "s2", 5, layout="images", side=32)
    (tmp_path / "s2/images/patch_3.tif").write_bytes(b"no image" * 2000)
    (tmp_path / "s2/images/patch_10.tif").unlink()
    done = run("check", config, "--imagery", tmp_path)
    assert done.exit_code == 1
    assert "3 of 5 patches can be used" in done.stdout
    assert "corrupt or truncated file" in done.stdout
    assert "patch_10.tif" in done.stdout
    as_json = run("check", config, "--imagery", tmp_path, "--json")
    assert as_json.exit_code == 1
    assert {fault["item"] for fault in json.loads(as_json.stdout)["faults"]} == {"patch_3.tif", "patch_10.tif"}


def test_nodata_and_absent_shards_can_be_as_they_should(tmp_path, config):
    write_s2_100k(tmp_path / "s2", 4, side=32)
    (tmp_path / "s2/data/shard-00000.tar").unlink()
    assert run("check", config, "--imagery", tmp_path).exit_code == 1
    done = run("check", config, "--imagery", tmp_path, "--partial")
    assert (done.exit_code, "index row without a file" in done.stdout) == (0, True)


def test_a_folder_that_is_none_of_s2_is_one_line(tmp_path):
    done = run("check", tmp_path)
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)
    assert done.stderr.endswith(
        "index.csv cannot be read: No such file or directory; S2-100K is a folder with index.csv\n"
    )


def test_s2_is_listed_with_its_credit(config):
    done = run("ls", config)
    assert done.exit_code == 0
    assert "S2-100K: B01, B02" in done.stdout
    assert "Copernicus Sentinel data" in done.stdout


def test_s2_is_fetched_by_name_or_by_config(tmp_path, config):
    with running_hub() as hub:
        out, endpoint = tmp_path / "out", f"{hub.endpoint}/"
        first = run("get", "s2-100k", "--out", out, "--endpoint", endpoint, "--shards", "0-1")
        assert first.exit_code == 0, first.output
        shard = out / "data/shard-00001.tar"
        assert shard.read_bytes() == FILES["data/shard-00001.tar"]
        assert f"{shard} (0.2 MB)" in first.stdout
        assert not (out / "data/shard-00002.tar").exists()
        again = run("get", "s2-100k", "--out", out, "--endpoint", endpoint, "--shards", "1")
        assert f"{shard} (already there)" in again.stdout
        assert run("get", "s2-100k", "--imagery", tmp_path, "--endpoint", endpoint, "--shards", "2").exit_code == 0
        assert (tmp_path / "s2-100k/data/shard-00002.tar").exists()
        assert run("get", config, "--imagery", tmp_path, "--endpoint", endpoint).exit_code == 0
        assert (tmp_path / "s2/index.csv").read_bytes() == FILES["index.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["get", "s2-100k", "--shards", "x"], "--shards x is no range; write it as 0-9"),
        (["get", "s2-100k", "--endpoint", "http://127.0.0.1:9"], "cannot be reached"),
        (["get", "none.yaml"], "none.yaml cannot be read"),
    ],
)
def test_what_a_user_can_put_right_is_one_line_on_stderr(tmp_path, arguments, message):
    done = run(*arguments, "--imagery", tmp_path)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_evaluation_shares_with_training_is_told(tmp_path):
    imagery = write_world(tmp_path / "imagery")
    config = write_config(tmp_path / "small.yaml", small_config())
    (tmp_path / "suite.yaml").write_text(
        "tasks:\n  - {name: height, data: positions.tif, band: 3, points: 50}\n"
        "  - {name: gone, data: none.csv, target: x}\n"
    )
    asked = ["--tasks", tmp_path / "suite.yaml", "--data-dir", imagery, "--imagery", imagery]
    done = run("overlap", config, *asked, "--out", tmp_path / "o.md")
    assert done.exit_code == 1, done.output  # a target was trained on
    assert "task gone skipped" in done.stderr
    assert "height is positions" in (tmp_path / "o.md").read_text(encoding="utf-8")
    failed = run("overlap", tmp_path / "none.ckpt", *asked)
    assert (failed.exit_code, failed.stderr) == (1, f"Error: {tmp_path / 'none.ckpt'} does not exist\n")


def test_a_suite_that_names_no_sources_has_nothing_to_fetch(tmp_path):
    (tmp_path / "suite.yaml").write_text("tasks: [{name: a, data: a.csv, target: x}]\n")
    done = run("get", tmp_path / "suite.yaml", "--imagery", tmp_path)
    assert (done.exit_code, done.stdout) == (0, "")
