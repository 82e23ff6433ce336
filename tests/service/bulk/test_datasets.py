"""Folders of parts: what is in them, and that a job is made once, whatever interrupts it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.bulk import table_input
from service.bulk.additions import Embedding, MapValue
from service.bulk.asked import Source, embedding_job, engine_of
from service.bulk.cell_input import CellInput
from service.bulk.dataset import NAME
from service.bulk.folder import Folder
from service.bulk.geometry import lonlat_of_wkb, point_metadata, wkb_of
from service.bulk.parts import Job, Made, MakeParts, Part, Task
from service.bulk.progress import Silent
from service.bulk.regions import WORLD, Region, region_of
from service.bulk.run import DatasetReport, Output, make_dataset
from service.bulk.table_job import TableJob
from service.bulk.threads import Threads
from service.bundle import Bundle, LonLat
from service.embedding.backends.onnx import Cuda, OnnxBackend
from service.embedding.cells import cells_of, centres_of, number_of_cells
from service.embedding.graphs import Device
from service.errors import BadRow, BadTable, InvalidRequest, OutputExists, ProviderUnavailable
from service.maps.grid import BBox
from service.settings import Settings

OCEAN = "175,-12,-172,9"
"""Over the antimeridian and the equator."""
Make = Callable[..., DatasetReport]


@pytest.fixture
def make(tiny_bundle: Bundle) -> Make:
    """`make(folder, table, engine=…, overwrite=…, exact=…, …)`: embed a table, or else the cells of a region."""

    def run(folder: Path, table: Any = None, *, bundle: Bundle = tiny_bundle, **options: Any) -> DatasetReport:
        engine = options.pop("engine", Threads(2))
        overwrite = options.pop("overwrite", False)
        job = job_of(bundle, table, **options)
        return make_dataset(job, bundle, Output(str(folder), overwrite), engine, Device("cpu"), Silent())

    return run


def job_of(bundle: Bundle, table: Any = None, **options: Any) -> TableJob:
    shape = {"exact": False, "dimensions": None, "normalize": False}
    source = {name: options.pop(name) for name in ("lon", "lat", "h3_resolution", "region") if name in options}
    return embedding_job(bundle, Source(table and str(table), **source), **{**shape, **options})


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def read(folder: Path) -> pa.Table:
    return pa_dataset.dataset(folder, format="parquet").to_table()


def rows_of(table: pa.Table, column: str = "embedding") -> np.ndarray:
    return np.array(table[column].to_pylist(), np.float32)


# Cells of a region


@pytest.mark.parametrize("resolution", range(4))
def test_the_world_is_every_cell_once(resolution):
    cells = CellInput.of(region_of("world"), resolution)
    found = np.concatenate([cells.places(part).table["h3"].to_numpy() for part in cells.parts()])
    assert len(found) == number_of_cells(resolution)
    assert (np.diff(found.astype(object)) > 0).all()


@settings(max_examples=25)
@given(st.tuples(st.floats(-180, 180), st.floats(-90, 90), st.floats(-180, 180), st.floats(-90, 90)), st.integers(0, 3))
def test_parts_divide_the_cells_whose_centre_is_in_a_box(box, resolution):
    try:
        area = BBox.of(box)
    except InvalidRequest:
        return
    world = CellInput.of(Region("world", WORLD), resolution)
    everywhere = np.concatenate([world.places(part).table["h3"].to_numpy() for part in world.parts()])
    cells = CellInput.of(Region("box", area), resolution)
    places = [cells.places(part) for part in cells.parts()]
    found = [each.table["h3"].to_numpy() for each in places if len(each)]
    expected = everywhere[area.contains(centres_of(everywhere))]
    np.testing.assert_array_equal(np.concatenate(found) if found else expected[:0], expected)


@pytest.mark.parametrize(
    ("resolution", "region", "part_resolution"), [(7, "world", 1), (7, OCEAN, 2), (9, "world", 2), (3, "world", 0)]
)
def test_parts_are_neither_too_many_nor_too_large(resolution, region, part_resolution):
    assert CellInput.of(region_of(region), resolution).part_resolution == part_resolution


def test_more_cells_than_any_disk_holds_are_refused():
    """The world at resolution 15 has 569,707,381,193,162."""
    with pytest.raises(InvalidRequest, match=r"some 6e\+14 cells of resolution 15: choose a coarser one"):
        CellInput.of(region_of("world"), 15)
    assert len(CellInput.of(region_of("116,39,116.1,39.1"), 15).parts()) < 5000


def test_a_cell_has_the_embedding_of_its_centre(make, tmp_path, tiny_bundle, tiny_backend):
    report = make(tmp_path / "out", region=OCEAN, h3_resolution=4)
    table = read(tmp_path / "out")
    cells = np.sort(table["h3"].to_numpy())
    assert report.points == len(table) == len(np.unique(cells))
    assert table.schema.names == ["h3", "geometry", "bbox", "embedding"]
    centres = centres_of(table["h3"].to_numpy())
    np.testing.assert_array_equal(rows_of(table), tiny_backend.embed(centres_of(cells_of(centres, 10))))
    np.testing.assert_array_equal(lonlat_of_wkb(table["geometry"].combine_chunks()), centres.degrees)


def test_a_part_is_sorted_compressed_geoparquet_with_a_box_for_each_row(make, tmp_path):
    make(tmp_path / "out", region=OCEAN, h3_resolution=5)
    for path in (tmp_path / "out").glob("*.parquet"):
        file = pq.ParquetFile(path)
        geo = json.loads(file.schema_arrow.metadata[b"geo"])
        assert geo["version"] == "1.1.0"
        column = geo["columns"][geo["primary_column"]]
        table = file.read()
        boxes = table["bbox"].combine_chunks().flatten()
        lonlat = lonlat_of_wkb(table["geometry"].combine_chunks())
        assert column["encoding"] == "WKB"
        assert column["geometry_types"] == ["Point"]
        assert column["covering"]["bbox"]["xmax"] == ["bbox", "xmax"]
        assert column["bbox"] == [*lonlat.min(axis=0), *lonlat.max(axis=0)]
        for corner, axis in zip(boxes, [0, 1, 0, 1], strict=True):
            np.testing.assert_array_equal(corner.to_numpy(), lonlat[:, axis])
        assert (np.diff(table["h3"].to_numpy().astype(object)) > 0).all()
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        assert {group.column(i).compression for group in groups for i in range(group.num_columns)} == {"ZSTD"}


def test_geopandas_reads_the_folder_and_the_box_of_it(make, tmp_path):
    geopandas = pytest.importorskip("geopandas")
    make(tmp_path / "out", region="0,40,10,50", h3_resolution=4)
    frame = geopandas.read_parquet(tmp_path / "out")
    some = geopandas.read_parquet(tmp_path / "out", bbox=(0, 40, 5, 50))
    assert frame.crs.to_epsg() in (4326, None) or frame.crs.to_authority() == ("OGC", "CRS84")
    assert 0 < len(some) < len(frame)
    assert frame.geometry.x.between(0, 10).all()


def test_a_region_without_a_cell_says_so(make, tmp_path):
    with pytest.raises(InvalidRequest, match="there is no place"):
        make(tmp_path / "out", region="0,0,0.0001,0.0001", h3_resolution=1)


# Rows of tables


def places(n: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table({"id": np.arange(n), "lon": rng.uniform(-180, 180, n), "lat": rng.uniform(-90, 90, n)})


def write(path: Path, table: pa.Table, **options: Any) -> Path:
    pq.write_table(table, path, **options)
    return path


@pytest.mark.parametrize("row_group_size", [700, 2500, 10_000])
def test_every_row_is_in_one_part_with_its_own_embedding(make, tmp_path, tiny_backend, monkeypatch, row_group_size):
    monkeypatch.setattr(table_input, "PART_ROWS", 1500)
    table = places(10_000)
    source = write(tmp_path / "in.parquet", table, row_group_size=row_group_size)
    report = make(tmp_path / "out", source)
    assert report.parts == 7
    found = read(tmp_path / "out").sort_by("id")
    assert found.select(table.schema.names).equals(table)
    lonlat = LonLat.from_degrees(np.column_stack([table["lon"], table["lat"]]))
    cells = cells_of(lonlat, 10)
    np.testing.assert_array_equal(found["h3"].to_numpy(), cells)
    np.testing.assert_array_equal(rows_of(found), tiny_backend.embed(centres_of(cells)))
    for path in (tmp_path / "out").glob("*.parquet"):
        assert (np.diff(pq.read_table(path)["h3"].to_numpy().astype(object)) >= 0).all()


def test_a_folder_of_files_is_one_table(make, tmp_path):
    (tmp_path / "in" / "deeper").mkdir(parents=True)
    write(tmp_path / "in" / "a.parquet", places(10))
    write(tmp_path / "in" / "deeper" / "b.geoparquet", places(20, seed=1))
    write(tmp_path / "in" / "_hidden.parquet", places(5))
    assert make(tmp_path / "out", tmp_path / "in").points == 30


def test_geoparquet_keeps_its_geometry_and_gains_boxes(make, tmp_path):
    table = places(50)
    degrees = np.column_stack([table["lon"], table["lat"]])
    source = pa.table({"id": table["id"], "where": wkb_of(degrees)}, metadata=point_metadata("where"))
    make(tmp_path / "out", write(tmp_path / "in.parquet", source), exact=True)
    found = read(tmp_path / "out")
    assert found.schema.names == ["id", "where", "bbox", "embedding"]
    assert json.loads(found.schema.metadata[b"geo"])["primary_column"] == "where"
    np.testing.assert_array_equal(lonlat_of_wkb(found.sort_by("id")["where"].combine_chunks()), degrees)


def test_a_dataset_is_not_embedded_twice(make, tmp_path):
    make(tmp_path / "one", region=OCEAN, h3_resolution=4, dimensions=4)
    with pytest.raises(BadTable, match="'h3', which the output adds"):
        make(tmp_path / "two", tmp_path / "one")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (places(3).append_column("bbox", pa.array([1, 2, 3])), "'bbox', which the output adds"),
        (places(3).append_column("h3", pa.array([1, 2, 3])), "'h3', which the output adds"),
        (places(3).drop_columns(["lon"]), "no columns are named like lon and lat"),
    ],
)
def test_columns_that_do_not_fit_are_named(make, tmp_path, table, message):
    with pytest.raises(BadTable, match=message):
        make(tmp_path / "out", write(tmp_path / "in.parquet", table))
    assert not (tmp_path / "out").exists()


def test_a_bad_row_is_named_by_its_number_in_the_file(make, tmp_path, monkeypatch):
    monkeypatch.setattr(table_input, "PART_ROWS", 1000)
    table = places(5000)
    lat = table["lat"].to_numpy().copy()
    lat[4321] = 95
    source = write(tmp_path / "in.parquet", table.set_column(2, "lat", pa.array(lat)), row_group_size=1500)
    with pytest.raises(BadRow, match="row 4322: lat 95 is outside"):
        make(tmp_path / "out", source)


def test_what_cannot_be_read_in_parts_is_refused(make, tmp_path):
    (tmp_path / "in.csv").write_text("lon,lat\n1,2\n")
    with pytest.raises(BadTable, match="only Parquet and GeoParquet"):
        make(tmp_path / "out", tmp_path / "in.csv")
    (tmp_path / "bad.parquet").write_text("nothing of the kind")
    with pytest.raises(BadTable, match="is not Parquet"):
        make(tmp_path / "out", tmp_path / "bad.parquet")
    with pytest.raises(FileNotFoundError):
        make(tmp_path / "out", tmp_path / "nowhere")
    (tmp_path / "mixed").mkdir()
    write(tmp_path / "mixed" / "a.parquet", places(3))
    write(tmp_path / "mixed" / "b.parquet", places(3).drop_columns(["id"]))
    with pytest.raises(BadTable, match=r"b\.parquet has other columns"):
        make(tmp_path / "out", tmp_path / "mixed")
    (tmp_path / "hive" / "year=2024").mkdir(parents=True)
    write(tmp_path / "hive" / "year=2024" / "a.parquet", places(3))
    with pytest.raises(BadTable, match="named by folders"):
        make(tmp_path / "out", tmp_path / "hive")


# Maps of cells


def test_a_map_holds_the_value_at_the_very_centre(tmp_path, headed_bundle):
    region = Region("ocean", BBox.of([175, -12, -172, 9]))
    job = TableJob.of(headed_bundle.card, CellInput.of(region, 4), MapValue((), (), "height"))
    make_dataset(job, headed_bundle, Output(str(tmp_path / "out")), Threads(2), Device("cpu"), Silent())
    table = read(tmp_path / "out")
    columns = Embedding.of(headed_bundle.card, exact=True, dimensions=None, normalize=False)
    (rows,) = columns.open(headed_bundle, Device("cpu"), with_cells=False).of(centres_of(table["h3"].to_numpy()))
    first = np.array(rows.to_pylist())[:, 0]
    np.testing.assert_allclose(table["value"].to_numpy(), 100 * first + 200, rtol=1e-6)
    assert table.schema.field("value").metadata[b"unit"] == b"m"


# Made once


class Interrupted:
    """Threads that stop after so many parts, as a machine does that is switched off."""

    def __init__(self, parts: int) -> None:
        self.parts = parts

    def __call__(self, task: Task, bundle: Bundle) -> MakeParts:
        make = Threads(1)(task, bundle)

        def made(parts: Sequence[Part]) -> Iterator[Made]:
            yield from make(parts[: self.parts])
            raise KeyboardInterrupt

        return made


def never(task: Task, bundle: Bundle) -> MakeParts:
    def made(parts: Sequence[Part]) -> Iterator[Made]:
        raise AssertionError(f"{len(parts)} parts are made again")

    return made


def test_a_job_begun_again_makes_what_is_missing_and_the_result_is_the_same(make, tmp_path):
    whole = make(tmp_path / "whole", region=OCEAN, h3_resolution=5)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "out", region=OCEAN, h3_resolution=5, engine=Interrupted(4))
    assert not json.loads((tmp_path / "out" / NAME).read_text())["complete"]
    kept = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in digests(tmp_path / "out") if name != NAME}
    report = make(tmp_path / "out", region=OCEAN, h3_resolution=5)
    assert 0 < len(kept) == whole.made - report.made
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in kept} == kept
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")
    again = make(tmp_path / "out", region=OCEAN, h3_resolution=5, engine=never)
    assert (again.parts, again.made, again.points) == (whole.parts, 0, 0)


def test_a_part_that_was_removed_is_made_again(make, tmp_path):
    make(tmp_path / "out", region=OCEAN, h3_resolution=5)
    before = digests(tmp_path / "out")
    next((tmp_path / "out").glob("8*.parquet")).unlink()
    assert make(tmp_path / "out", region=OCEAN, h3_resolution=5).made == 1
    assert digests(tmp_path / "out") == before


def test_what_a_killed_worker_left_is_taken_away(make, tmp_path):
    make(tmp_path / "out", region=OCEAN, h3_resolution=4)
    (tmp_path / "out" / ".8029fffffffffff.parquet.0a1b2c3d").write_text("half")
    make(tmp_path / "out", region=OCEAN, h3_resolution=4)
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"dimensions": 4}, "its dimensions is 8, not 4"),
        ({"normalize": True}, "its normalize is false, not true"),
        ({"exact": True}, "its snap_resolution is 10, not null"),
        ({"h3_resolution": 5}, "its h3_resolution is 4, not 5"),
        ({"region": "0,0,10,10"}, "its region_digest is"),
    ],
)
def test_a_job_of_other_options_is_refused(make, tmp_path, other, message):
    job = {"region": OCEAN, "h3_resolution": 4}
    make(tmp_path / "out", **job)
    before = digests(tmp_path / "out")
    with pytest.raises(OutputExists, match=f"{message}.*Choose another folder, or begin it anew with --overwrite"):
        make(tmp_path / "out", **{**job, **other})
    assert digests(tmp_path / "out") == before
    make(tmp_path / "out", **{**job, **other}, overwrite=True)
    make(tmp_path / "new", **{**job, **other})
    assert digests(tmp_path / "out") == digests(tmp_path / "new")


def test_a_job_of_another_precision_is_refused(make, tmp_path, precise_bundle):
    job = {"bundle": precise_bundle, "region": OCEAN, "h3_resolution": 4}
    make(tmp_path / "out", **job)
    before = digests(tmp_path / "out")
    with pytest.raises(OutputExists, match='its precision is "float32", not "float16"'):
        make(tmp_path / "out", **job, precision="float16")
    assert digests(tmp_path / "out") == before
    make(tmp_path / "out", **job, precision="float16", overwrite=True)
    cells = read(tmp_path / "out")["h3"].to_numpy()
    half = OnnxBackend(precise_bundle, "cpu", "float16")
    expected = half.embed(centres_of(cells_of(centres_of(cells), 10)))
    np.testing.assert_array_equal(rows_of(read(tmp_path / "out")), expected)


def test_a_dataset_that_does_not_say_its_precision_is_of_float32(make, tmp_path, precise_bundle):
    job = {"bundle": precise_bundle, "region": OCEAN, "h3_resolution": 4}
    make(tmp_path / "out", **job)
    described = json.loads((tmp_path / "out" / NAME).read_text())
    del described["job"]["precision"]
    (tmp_path / "out" / NAME).write_text(json.dumps(described))
    with pytest.raises(OutputExists, match="its precision"):
        make(tmp_path / "out", **job, precision="float16")
    assert make(tmp_path / "out", **job, engine=never).made == 0


def test_where_no_model_can_be_opened_what_was_made_before_stays(make, tmp_path):
    make(tmp_path / "out", region=OCEAN, h3_resolution=4)
    before = digests(tmp_path / "out")

    def broken(task: Task, bundle: Bundle) -> MakeParts:
        raise ProviderUnavailable("no GPU")

    for folder in ("out", "new"):
        with pytest.raises(ProviderUnavailable):
            make(tmp_path / folder, region=OCEAN, h3_resolution=4, engine=broken, overwrite=True)
    assert digests(tmp_path / "out") == before
    assert not (tmp_path / "new").exists()


def test_a_job_of_another_bundle_is_refused(make, make_bundle, tmp_path):
    make(tmp_path / "out", region=OCEAN, h3_resolution=4)
    other = make_bundle(tmp_path / "other", shift=1.0)
    with pytest.raises(OutputExists, match="its digest is"):
        make(tmp_path / "out", bundle=other, region=OCEAN, h3_resolution=4)


def test_a_job_of_another_table_is_refused(make, tmp_path):
    source = write(tmp_path / "in.parquet", places(100))
    make(tmp_path / "out", source)
    write(source, places(100, seed=1))
    with pytest.raises(OutputExists, match="its files_digest is"):
        make(tmp_path / "out", source)


def test_the_same_region_by_another_name_is_the_same_job(make, tmp_path):
    make(tmp_path / "out", region="0,0,10,10", h3_resolution=3)
    assert make(tmp_path / "out", region="0.0, 0, 1e1, 10", h3_resolution=3, engine=never).made == 0


def test_a_folder_of_something_else_is_left_alone(make, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(OutputExists, match="choose an empty folder"):
            make(tmp_path / "out", region=OCEAN, h3_resolution=4, overwrite=overwrite)
    assert digests(tmp_path / "out").keys() == {"thesis.txt"}


@pytest.mark.parametrize("content", ["{", "[]", '{"job": {"format": 1}}', '{"job": 3}'])
def test_a_damaged_description_is_refused(make, tmp_path, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / NAME).write_text(content)
    with pytest.raises(BadTable, match="is damaged"):
        make(tmp_path / "out", region=OCEAN, h3_resolution=4)


def test_a_newer_description_is_refused(make, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / NAME).write_text('{"job": {"format": 2}}')
    with pytest.raises(BadTable, match="newer satcle"):
        make(tmp_path / "out", region=OCEAN, h3_resolution=4)


def test_engines_whose_parts_are_not_here_are_found_out(make, tmp_path):
    def elsewhere(task: Task, bundle: Bundle) -> MakeParts:
        return lambda parts: (Made(part.name, 1) for part in parts)

    with pytest.raises(BadTable, match="a folder that all machines share"):
        make(tmp_path / "out", region=OCEAN, h3_resolution=4, engine=elsewhere)


def test_jobs_travel(tiny_bundle, tmp_path):
    import pickle

    jobs: list[Job] = [
        job_of(tiny_bundle, region=OCEAN, h3_resolution=4),
        job_of(tiny_bundle, write(tmp_path / "in.parquet", places(10))),
    ]
    for job in jobs:
        task = Task(job, Folder.of(str(tmp_path)), Device.of(Settings(cuda_options="gpu_mem_limit=1")))
        arrived = pickle.loads(pickle.dumps(task))
        assert (arrived.job.description, arrived.job.parts()) == (job.description, job.parts())
        assert arrived.device == task.device


# What computes


def test_a_map_is_the_same_in_batches_of_any_size(tiny_bundle):
    value = MapValue(((116.4, 39.9),), (), None)
    lonlat = centres_of(cells_of(LonLat.from_degrees(np.random.default_rng(0).uniform(-80, 80, (1000, 2))), 8))
    values = [
        value.open(tiny_bundle, Device("cpu", max_batch_points=points), with_cells=False).of(lonlat)[0].to_numpy()
        for points in (None, 1, 300, 1000)
    ]
    for each in values[1:]:
        np.testing.assert_allclose(each, values[0], atol=1e-6)


def test_with_ray_its_options_say_what_workers_compute_on():
    here = Device("auto", Cuda(index=3, options={"gpu_mem_limit": "1"}), 100)
    _, core = engine_of("ray", 2, None, None, here)
    assert (core.provider, core.max_batch_points) == ("cpu", 100)
    _, gpu = engine_of("ray", 2, None, 4, here)
    assert (gpu.provider, gpu.cuda.index, gpu.cuda.options) == ("cuda", 0, {"gpu_mem_limit": "1"})
    assert engine_of("ray", 2, 4, None, Device("cuda"))[1].provider == "cpu"
    with pytest.raises(InvalidRequest, match="SATCLE_PROVIDER=cuda: say with --gpus"):
        engine_of("ray", 2, None, None, Device("cuda"))


def test_on_this_machine_the_settings_say_it():
    asked = Device("cuda", Cuda(index=3))
    assert engine_of("local", 2, None, None, asked) == (Threads(2), asked)
