"""The harness gives the figures that others have measured, where the shared folder is at hand.

Only the stations' are compared: figures of sampled rasters depend on the sample of places by some hundredths, and the
published ones are of another sample.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from trainer.evaluation.encoders import embeddings_of, open_encoder
from trainer.evaluation.probing import Protocol, keys, measure
from trainer.evaluation.suites import read_suite
from trainer.evaluation.task_data import open_task

REPOSITORY = Path(__file__).parents[3]
DATA = Path(os.environ.get("SATCLE_SHARED", REPOSITORY.parent / "shared")) / "data"
SUITE = REPOSITORY / "trainer" / "configs" / "tasks" / "six.yaml"
ORDER = [("ridge", "random"), ("ridge", "blocks"), ("knn", "random"), ("knn", "blocks")]


def figures(spec, name):
    request = next(task for task in read_suite(SUITE).tasks if task.name == name)
    path = DATA / request.data
    if not path.is_file():
        pytest.skip(f"no data {path}: set SATCLE_SHARED to the folder that holds data/")
    task = open_task(request, path)
    embeddings = embeddings_of(open_encoder(spec), task.lonlat)
    found = measure(embeddings, task, list(keys("e", task, Protocol())))
    by_split = {(key.probe, key.split): np.mean(values[task.metric]) for key, values in found}
    return [by_split[split] for split in ORDER]


def test_coordbench_gives_sines_and_cosines_8515_on_air_temperature():
    assert figures("baseline:sincos", "air temperature")[0] == pytest.approx(0.8515, abs=0.0005)


@pytest.mark.parametrize(
    ("spec", "name", "published"),
    [
        ("baseline:sincos", "air temperature", [0.852, 0.845, 0.939, 0.893]),
        ("baseline:sincos", "precipitation", [0.069, -0.032, 0.796, 0.573]),
        ("baseline:geoclip", "air temperature", [0.920, 0.908, 0.947, 0.908]),
        ("baseline:geoclip", "precipitation", [0.714, 0.612, 0.855, 0.744]),
    ],
)
def test_the_stations_have_the_published_figures(spec, name, published):
    assert figures(spec, name) == pytest.approx(published, abs=0.01)
