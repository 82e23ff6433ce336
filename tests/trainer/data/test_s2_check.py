import json

import numpy as np
import pytest

from tests.real_s2 import s2_100k_sample
from tests.synthetic_s2 import geotiff, patch, write_index, write_s2_100k
from trainer.config import S2Data
from trainer.data.s2_check import check_s2
from trainer.data.tile_batch import FaultKind

SIDE = 32


def checked(folder, **settings):
    return check_s2(S2Data(kind="s2-100k", path=folder, size=SIDE, **settings), folder)


@pytest.mark.parametrize("layout", ["shards", "images"])
def test_a_whole_folder_has_no_fault(tmp_path, layout):
    write_s2_100k(tmp_path / "s2", 7, layout=layout, side=SIDE)
    report = checked(tmp_path / "s2")
    assert (report.layout, report.rows, report.readable, report.faults, report.ok) == (layout, 7, 7, (), True)


def test_the_real_sample_is_whole(tmp_path):
    report = check_s2(S2Data(kind="s2-100k", path=s2_100k_sample()), tmp_path)
    assert (report.rows, report.readable, report.faults, report.ok) == (23, 23, (), True)


def test_every_fault_is_named_and_counted(tmp_path):
    good = patch(0, 0, SIDE, 0)
    content = {"good.tif": good, "small.tif": good[:500], "cut.tif": good[:15_000], "stray.tif": good}
    (tmp_path / "images").mkdir()
    for name, data in content.items():
        (tmp_path / "images" / name).write_bytes(data)
    named = ["good.tif", "small.tif", "cut.tif", "gone.tif", "good.tif"]
    write_index(tmp_path, [*((name, 1.0, 2.0) for name in named), ("far.tif", 1.0, 95.0)])
    report = checked(tmp_path)
    assert (report.rows, report.readable, report.ok) == (6, 1, False)
    assert {kind: [fault.item for fault in faults] for kind, faults in report.by_kind()} == {
        FaultKind.NODATA: ["small.tif"],
        FaultKind.NOT_A_PLACE: ["far.tif"],
        FaultKind.DUPLICATE_ROW: ["good.tif"],
        FaultKind.NO_FILE: ["gone.tif"],
        FaultKind.NO_ROW: ["stray.tif"],
        FaultKind.CORRUPT: ["cut.tif"],
    }
    said = json.loads(report.as_json())
    assert (said["ok"], said["rows"], len(said["faults"])) == (False, 6, 6)
    assert {"kind": "index row without a file", "item": "gone.tif", "detail": ""} in said["faults"]


def test_what_is_no_file_is_none(tmp_path):
    write_s2_100k(tmp_path / "s2", 5, layout="images", side=SIDE)
    first, second, third, fourth, _ = sorted((tmp_path / "s2/images").iterdir())
    for patch_file in (first, second, third):
        patch_file.unlink()
    first.symlink_to(first)
    second.symlink_to(tmp_path / "nowhere")
    third.mkdir()
    fourth.rename(tmp_path / "elsewhere.tif")
    fourth.symlink_to(tmp_path / "elsewhere.tif")
    report = checked(tmp_path / "s2")
    assert report.readable == 2
    assert {fault.item for fault in report.faults} == {first.name, second.name, third.name}
    assert {fault.kind for fault in report.faults} == {FaultKind.NO_FILE}


def test_a_shard_that_is_a_folder_is_named_and_counted(tmp_path):
    write_s2_100k(tmp_path, 4, side=SIDE)
    (tmp_path / "data/shard-00001.tar").unlink()
    (tmp_path / "data/shard-00001.tar").mkdir()
    for cache in (None, tmp_path / "cache"):
        report = check_s2(S2Data(kind="s2-100k", path=tmp_path, size=SIDE), tmp_path, cache)
        kinds = {kind: [(fault.item, fault.detail) for fault in faults] for kind, faults in report.by_kind()}
        assert kinds[FaultKind.BROKEN_SHARD] == [("shard-00001.tar", "it is a folder")]
        assert report.readable == report.rows - len(kinds[FaultKind.NO_FILE]) > 0
        assert not report.ok


def test_nodata_and_shards_left_out_on_purpose_are_as_they_should_be(tmp_path):
    write_s2_100k(tmp_path, 4, side=SIDE)
    (tmp_path / "data/shard-00001.tar").unlink()
    assert not checked(tmp_path).ok
    assert checked(tmp_path, partial=True).ok
    assert not checked(tmp_path, partial=True, min_bytes=10**6).ok  # nothing at all is left


def test_a_patch_with_nothing_in_it_is_nodata(tmp_path):
    write_s2_100k(tmp_path, 3, layout="images", side=SIDE)
    (tmp_path / "images/patch_3.tif").write_bytes(geotiff(np.zeros((12, SIDE, SIDE), np.uint16)))
    report = checked(tmp_path)
    assert [(fault.kind, fault.item) for fault in report.faults] == [(FaultKind.NODATA, "patch_3.tif")]
    assert report.ok
