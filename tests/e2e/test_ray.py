"""A planet in one job, a small one: Ray on this machine with two workers, of which one is killed."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pyarrow.parquet as pq
import pytest

from service.bulk.regions import region_of
from service.embedding.cells import centres_of
from tests.ray_processes import SECONDS, output_of, satcle, wait_until, workers_of

pytest.importorskip("ray")

OCEAN = "160,-5,-160,3.72"
"""Over the antimeridian and the equator."""
CELLS = ("--h3-resolution", "7", "--region", OCEAN)
PARTS_BEFORE = 10


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def run(*arguments: object) -> str:
    with satcle(*arguments) as process:
        return output_of(process)


def parts_in(folder: Path) -> list[Path]:
    return list(folder.glob("8*.parquet"))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """The folders that both engines make of 1,000,000 cells, Ray's with a worker killed midway; and what that said."""
    folder = tmp_path_factory.mktemp("planet")
    with satcle("embed", *CELLS, "-o", folder / "ray", "--engine", "ray", "--workers", 2) as process:
        wait_until(lambda: len(parts_in(folder / "ray")) >= PARTS_BEFORE, process)
        victim = workers_of(process)[0]
        os.kill(victim, signal.SIGKILL)
        killed_at = len(parts_in(folder / "ray"))
        output = output_of(process)
    run("embed", *CELLS, "-o", folder / "local")
    return folder / "local", folder / "ray", killed_at, output


def test_a_killed_worker_costs_no_cell_and_doubles_none(embedded):
    _, made, killed_at, output = embedded
    parts = parts_in(made)
    assert killed_at < len(parts)
    assert f"{len(parts)} parts; " in output
    cells = np.concatenate([pq.read_table(part, columns=["h3"])["h3"].to_numpy() for part in parts])
    assert len(cells) >= 1_000_000
    assert len(np.unique(cells)) == len(cells)
    assert region_of(OCEAN).area.contains(centres_of(cells[::97])).all()


def test_both_engines_make_the_very_same_files(embedded):
    local, made, _, _ = embedded
    assert digests(made) == digests(local)


def test_a_rerun_computes_nothing(embedded):
    _, made, _, _ = embedded
    before = {path.name: path.stat().st_mtime_ns for path in parts_in(made)}
    assert "none made now" in run("embed", *CELLS, "-o", made, "--engine", "ray", "--workers", 2)
    assert {path.name: path.stat().st_mtime_ns for path in parts_in(made)} == before


def test_the_folder_is_read_as_one_table(embedded):
    _, made, _, _ = embedded
    dataset = pa_dataset.dataset(made, format="parquet")
    assert dataset.count_rows() == sum(pq.read_metadata(part).num_rows for part in parts_in(made))
    assert dataset.schema.names == ["h3", "geometry", "bbox", "embedding"]


def test_a_worker_s_error_is_one_line(tmp_path):
    pq.write_table(pa.table({"lon": [1, 1], "lat": [2, 95]}), tmp_path / "in.parquet")
    with satcle("embed", tmp_path / "in.parquet", "-o", tmp_path / "out", "--engine", "ray", "--workers", 1) as process:
        output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert f"satcle: {tmp_path / 'in.parquet'}: row 2: lat 95 is outside -90 to 90" in output
    assert "Traceback" not in output
