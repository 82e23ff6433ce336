"""Distances to the nearest tile, and targets that were trained on; the configs that ship train on no targets."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.synthetic_world import small_config, write_config, write_world
from trainer.config import MosaicData, read_config
from trainer.data.tiles import open_tiles
from trainer.evaluation.overlap import overlaps, trained_config, write_overlaps
from trainer.evaluation.suites import TaskRequest, read_suite
from trainer.evaluation.task_data import open_task
from trainer.evaluation.tasks import number_task
from trainer.sphere import KM_PER_DEGREE, move

CONFIGS = Path(__file__).parents[3] / "trainer" / "configs"


@pytest.fixture
def world(tmp_path):
    write_world(tmp_path / "imagery")
    config = read_config(write_config(tmp_path / "small.yaml", small_config()))
    return tmp_path, config, open_tiles(config, tmp_path / "imagery")


def task_at(places, sha256="ab" * 32):
    request = TaskRequest(name="t", data="t.csv", target="v")
    return number_task(request, places, np.arange(len(places), dtype=np.float64), "t.csv", sha256)


def test_distances_are_to_training_tiles_and_not_to_those_held_out(world):
    _, config, tiles = world
    trained = tiles.lonlat[tiles.train_rows]
    away = move(trained, torch.tensor([0.0, 0.01 / KM_PER_DEGREE]))
    (near,) = overlaps(config, tiles, [task_at(away.numpy())]).tasks
    np.testing.assert_allclose(near.nearest_km, 0.01, rtol=1e-3)
    assert near.share_within(0.1) == 1
    assert near.share_within(0.001) == 0
    (held_out,) = overlaps(config, tiles, [task_at(tiles.lonlat[tiles.validation_rows].numpy())]).tasks
    assert held_out.share_within(0.1) == 0


def test_targets_that_are_a_source_are_named(world):
    folder, config, tiles = world
    request = TaskRequest(name="green", data="greenness.tif", land=False, points=200)
    found = overlaps(config, tiles, [open_task(request, folder / "imagery" / "greenness.tif"), task_at(np.eye(2) * 50)])
    assert [each.shared for each in found.tasks] == [("greenness",), ()]
    text = write_overlaps(found, "satcle data overlap", folder / "out" / "o.md").read_text(encoding="utf-8")
    assert "**Targets that were trained on:** green is greenness" in text
    assert "360 training tiles of 400 km" in text


def test_a_task_of_the_seed_of_the_tiles_is_not_measured_at_their_centres(world):
    folder, config, tiles = world
    request = TaskRequest(name="z", data="positions.tif", band=3, land=False, seed=config.data.seed, points=300)
    (found,) = overlaps(config, tiles, [open_task(request, folder / "imagery" / "positions.tif")]).tasks
    assert found.share_within(0.1) == 0


def test_a_run_says_what_it_was_trained_on(small_run, small_bundle):
    assert trained_config(small_run) == trained_config(small_run / "best.ckpt")
    assert trained_config(small_run).name == "small"


@pytest.mark.parametrize(
    "path", sorted(p for p in CONFIGS.rglob("*.yaml") if p.parent.name not in ("tasks", "sweeps")), ids=lambda p: p.stem
)
def test_no_config_trains_on_a_file_that_a_suite_measures_on(path):
    measured = [suite for p in (CONFIGS / "tasks").glob("*.yaml") for suite in [read_suite(p)]]
    names = {task.data.name for suite in measured for task in suite.tasks}
    members = {(source.package, source.member) for suite in measured for source in suite.sources}
    digests = {source.sha256 for suite in measured for source in suite.sources}
    data = read_config(path).data
    for source in data.sources if isinstance(data, MosaicData) else ():
        assert (source.package, source.member) not in members
        assert source.sha256 not in digests
        assert Path(source.path or source.member or "").name not in names
