"""`satcle embed --context`: the same columns as in the service's tables, in every format and in datasets."""

from __future__ import annotations

import csv

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from service.bulk.source import BLOCK_ROWS
from service.bundle import LonLat
from service.cli import app
from service.embedding.context import context_reader

NAMES = ["nearest_sample_km", "land"]


def embedded(bundle, source, target, *options):
    result = CliRunner().invoke(app, ["embed", str(source), "-o", str(target), "--bundle", str(bundle.path), *options])
    assert result.exit_code == 0, result.output
    return target


@pytest.fixture
def source(tmp_path):
    """More rows than a block has, and a number for each."""
    rng = np.random.default_rng(0)
    n = BLOCK_ROWS + 100
    path = tmp_path / "in.parquet"
    pq.write_table(
        pa.table({"id": np.arange(n), "lon": rng.uniform(-180, 180, n), "lat": rng.uniform(-90, 90, n)}), path
    )
    return path


def expected(bundle, table):
    lonlat = LonLat.from_degrees(np.stack([table["lon"], table["lat"]], axis=1))
    return context_reader(bundle)(lonlat)


def test_parquet_has_the_columns_between_those_given_and_the_embedding(placed_bundle, source, tmp_path):
    table = pq.read_table(embedded(placed_bundle, source, tmp_path / "out.parquet", "--context"))
    assert table.column_names == ["id", "lon", "lat", *NAMES, "h3", "embedding"]
    context = expected(placed_bundle, table)
    np.testing.assert_array_equal(table["nearest_sample_km"], context.nearest_sample_km)
    np.testing.assert_array_equal(table["land"], context.land)


def test_csv_says_the_same(placed_bundle, source, tmp_path):
    with embedded(placed_bundle, source, tmp_path / "out.csv", "--context").open(newline="") as file:
        rows = list(csv.DictReader(file))
    context = expected(placed_bundle, pq.read_table(source))
    assert [np.float32(row["nearest_sample_km"]) for row in rows] == context.nearest_sample_km.tolist()
    assert [row["land"] for row in rows] == ["true" if land else "false" for land in context.land]


def test_a_dataset_says_the_same(placed_bundle, source, tmp_path):
    folder = embedded(placed_bundle, source, tmp_path / "parts", "--context")
    table = ds.dataset([str(path) for path in folder.rglob("*.parquet")]).to_table().sort_by("id")
    context = expected(placed_bundle, pq.read_table(source))
    assert set(NAMES) < set(table.column_names)
    np.testing.assert_array_equal(table["nearest_sample_km"], context.nearest_sample_km)
    np.testing.assert_array_equal(table["land"], context.land)


def test_without_training_places_the_distances_are_null(tiny_bundle, source, tmp_path):
    table = pq.read_table(embedded(tiny_bundle, source, tmp_path / "out.parquet", "--context"))
    assert table["nearest_sample_km"].null_count == len(table)
    assert table["land"].null_count == 0


def test_unasked_there_are_no_such_columns(placed_bundle, source, tmp_path):
    table = pq.read_table(embedded(placed_bundle, source, tmp_path / "out.parquet"))
    assert table.column_names == ["id", "lon", "lat", "h3", "embedding"]


def test_a_column_of_that_name_is_in_the_way(placed_bundle, tmp_path):
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"lon": [1.0], "lat": [2.0], "land": ["Ghana"]}), path)
    arguments = ["embed", str(path), "-o", str(tmp_path / "out.parquet"), "--bundle", str(placed_bundle.path)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    result = CliRunner().invoke(app, [*arguments, "--overwrite", "--context"])
    assert result.exit_code == 1
    assert "has a column 'land', which the output adds" in result.output
