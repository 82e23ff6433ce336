"""Tables, rasters, polygons, grids and CoordBench's folders become the tasks that they hold."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.synthetic_world import grid, write_raster
from trainer.data.land import land
from trainer.errors import EvaluationError, ImageryError, TrainerError
from trainer.evaluation.suites import TaskRequest
from trainer.evaluation.task_data import open_task, open_tasks, read_grid
from trainer.snap import uniform_on_sphere

PLACES = uniform_on_sphere(300, 0)
LON, LAT = PLACES.T


def request(path, **changes):
    return TaskRequest(**{"name": "t", "data": path, "points": 400, **changes})


def opened(path, **changes):
    return open_task(request(path, **changes), path)


def test_a_table_is_a_task(tmp_path):
    rows = "\n".join(f"{lon},{lat},{'' if i == 2 else i},{'ab'[i % 2]}" for i, (lon, lat) in enumerate(PLACES))
    path = tmp_path / "t.csv"
    path.write_text("Lon,Lat,v,w\n" + rows)
    task = opened(path, target="v")
    assert (len(task.lonlat), task.left_out) == (299, 1)
    assert opened(path, target="w", kind="classification").targets.names == ("a", "b")
    with pytest.raises(EvaluationError, match="has no column 'z'; it has 'v', 'w'"):
        opened(path, target="z")
    with pytest.raises(EvaluationError, match="is it a classification"):
        opened(path, target="w")


def test_a_target_may_be_called_y(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("lon,lat,y\n" + "\n".join(f"{lon},{lat},{i}" for i, (lon, lat) in enumerate(PLACES)))
    assert opened(path, target="y").targets.values.tolist() == list(range(300))


def test_a_raster_is_sampled_on_land_above_60_south(tmp_path):
    lat = grid(90)[..., 1:].float().numpy()
    path = write_raster(tmp_path / "lat.tif", lat)
    task = opened(path)
    assert len(task.lonlat) == 400
    assert (task.lonlat[:, 1] > -60).all()
    np.testing.assert_allclose(task.targets.values, task.lonlat[:, 1], atol=1.001)
    assert land().has_data(torch.from_numpy(task.lonlat)).all()
    everywhere = opened(path, land=False, min_lat=-90)
    assert abs(np.sin(np.radians(everywhere.lonlat[:, 1])).mean()) < 0.1  # uniform by area
    with pytest.raises(ImageryError, match="no band 2"):
        opened(path, band=2)


def test_no_data_is_passed_over_or_filled(tmp_path):
    values = (grid(90)[..., :1] > 0).float().numpy()  # 0 in the west
    path = write_raster(tmp_path / "east.tif", values + grid(90)[..., 1:].abs().float().numpy() * values)
    east = opened(path, nodata=0)
    assert (east.lonlat[:, 0] > -1).all()
    filled = opened(path, nodata=0, fill=-5)
    west = filled.lonlat[:, 0] < -4
    assert west.sum() > 50
    assert (filled.targets.values[west] == -5).all()


def test_classes_of_a_raster_are_its_codes(tmp_path):
    codes = (1 + (grid(90)[..., :1] > 0)).byte().numpy()
    task = opened(write_raster(tmp_path / "c.tif", codes), kind="classification")
    assert task.targets.names == ("1", "2")
    assert ((task.lonlat[:, 0] > 2) <= (task.targets.values == 1)).all()


def test_polygons_name_their_places(tmp_path):
    def square(name, west):
        ring = [[west, -50], [west + 90, -50], [west + 90, 70], [west, 70], [west, -50]]
        shape = {"type": "Polygon", "coordinates": [ring]}
        return {"type": "Feature", "properties": {"name": name}, "geometry": shape}

    path = tmp_path / "a.geojson"
    features = [square("west", -90), square("east", 30)]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    task = opened(path, kind="classification")
    assert task.targets.names == ("east", "west")
    assert ((task.lonlat[:, 0] > 0) == (task.targets.values == 0)).all()


@pytest.mark.parametrize("south_first", [True, False])
def test_a_grid_is_read_whichever_way_it_runs(tmp_path, south_first):
    """Grid-registered, as ETOPO5: rows on the poles, the first column on the antimeridian."""
    lat, lon = np.linspace(-90, 90, 91), np.arange(-180, 180, 2.0)
    lat = lat if south_first else lat[::-1]
    np.savez(tmp_path / "g.npz", lat=lat, lon=lon, v=np.tile(lat[:, None], len(lon)), w=np.tile(lon, (len(lat), 1)))
    for name, column in (("v", 1), ("w", 0)):
        task = opened(tmp_path / "g.npz", target=name)
        away = np.abs(task.targets.values - task.lonlat[:, column])
        assert (np.minimum(away, 360 - away) <= 1 + 1e-5).all()
    with pytest.raises(EvaluationError, match=r"has no array None; target names one of v, w"):
        read_grid(tmp_path / "g.npz", None)


def write_config(folder, name, **columns):
    (folder / "data" / name).mkdir(parents=True)
    schema = {"lon": LON, "lat": LAT, "timestamp": pa.nulls(300, pa.int64()), "id": [str(i) for i in range(300)]}
    pq.write_table(pa.table({**schema, **columns}), folder / "data" / name / "data.parquet")


def test_every_config_of_coordbench_is_taken(tmp_path):
    write_config(tmp_path, "air", Lon=LON, Lat=LAT, meanT=LAT)
    write_config(tmp_path, "land", label=(LON > 0).astype(int), share=LAT / 90)
    write_config(tmp_path, "empty", gone=np.full(300, np.nan))
    told = []
    tasks = open_tasks((request(tmp_path),), tmp_path, told.append)
    assert {task.name: task.metric for task in tasks} == {
        "air/meanT": "R2",
        "land/label": "accuracy",
        "land/share": "R2",
    }
    assert len(told) == 1
    assert "empty/gone" in told[0]
    named = open_tasks((request(tmp_path, target="share"),), tmp_path, told.append)
    assert [task.name for task in named] == ["land/share"]


def test_a_task_without_its_file_is_skipped_with_a_line_unless_none_is_left(tmp_path):
    (tmp_path / "t.csv").write_text("lon,lat,v\n" + "".join(f"{i},{i},{i}\n" for i in range(50)))
    there, absent = request("t.csv", target="v"), request("none.csv", name="gone")
    told = []
    assert len(open_tasks((there, absent), tmp_path, told.append)) == 1
    assert told == [f"task gone skipped: {tmp_path / 'none.csv'} does not exist"]
    with pytest.raises(EvaluationError, match="no task is left"):
        open_tasks((absent,), tmp_path, told.append)


@pytest.mark.parametrize("name", ["t.xls", "t.npz", "t.csv", "t.parquet", "t.tif", "t.json"])
def test_a_file_that_is_no_data_is_one_line(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x00nothing")
    with pytest.raises(TrainerError) as raised:
        opened(tmp_path / name, target="v")
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)
