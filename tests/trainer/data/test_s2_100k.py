import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.real_s2 import s2_100k_sample
from tests.synthetic_s2 import geotiff, places, write_index, write_s2_100k, write_shard
from trainer.config import S2Data
from trainer.data.s2_100k import S2Tiles
from trainer.data.tile_batch import FaultKind
from trainer.errors import ImageryError

SIDE = 32
ALL = torch.arange(12)


@pytest.fixture
def whole(tmp_path):
    write_s2_100k(tmp_path / "s2", 12, layout="images", side=SIDE)
    return tmp_path


def opened(imagery: Path, **settings: object) -> S2Tiles:
    data = {"kind": "s2-100k", "path": "s2", "size": SIDE, "max_unreadable_share": 0.9, **settings}
    return S2Tiles(S2Data.model_validate(data), imagery)


def patch(imagery: Path, row: int) -> Path:
    return imagery / "s2" / "images" / f"patch_{7 * row + 3}.tif"


def pixels(bands: int = 12, side: int = SIDE, dtype: type = np.uint16) -> np.ndarray:
    return np.full((bands, side, side), 1000, dtype)


def test_real_patches_are_reflectance_at_their_places(tmp_path):
    tiles = S2Tiles(S2Data(kind="s2-100k", path=s2_100k_sample()), tmp_path)
    batch = tiles.read(torch.tensor([22, 0]))
    assert batch.rows.tolist() == [22, 0]
    assert batch.tiles.shape == (2, 12, 256, 256)
    assert tiles.lonlat[0].tolist() == [-111.54814700956598, 36.68126537321395]
    first = batch.tiles[1]
    stored = [545, 788, 1478, 2414, 2915, 3056, 3285, 3306, 3525, 3694, 4427, 3771]
    assert first[:, 0, 0].tolist() == pytest.approx([value / 10_000 for value in stored])
    assert (float(first.min()), float(first.max())) == (pytest.approx(0.0089), pytest.approx(0.6276))
    assert len(tiles.read(torch.arange(23)).rows) == 23
    assert (len(tiles.train_rows), len(tiles.validation_rows), tiles.unreadable) == (21, 2, {})


def test_both_layouts_hold_the_same_tiles(tmp_path, whole):
    write_s2_100k(tmp_path / "sharded", 12, layout="shards", side=SIDE)
    sharded = opened(tmp_path, path="sharded").read(ALL)
    extracted = opened(whole).read(ALL)
    assert torch.equal(sharded.rows, extracted.rows)
    assert torch.equal(sharded.tiles, extracted.tiles)


def test_tiles_come_in_the_order_in_which_they_are_asked_for(whole):
    order = torch.tensor([7, 2, 11, 0, 2])
    tiles = opened(whole)
    assert torch.equal(tiles.read(order).tiles, tiles.read(ALL).tiles[order])
    assert tiles.read(ALL[:0]).tiles.shape == (0, 12, SIDE, SIDE)


def test_a_pixel_that_is_zero_in_every_band_has_no_data(whole):
    edge = pixels()
    edge[:, :, 0] = 0
    edge[3, 5, 5] = 0
    patch(whole, 4).write_bytes(geotiff(edge))
    tile = opened(whole).read(ALL[4:5]).tiles[0]
    assert tile[:, :, 0].isnan().all()
    assert not tile[:, :, 1:].isnan().any()
    assert tile[:, 5, 5].tolist() == pytest.approx([0.1] * 3 + [0.0] + [0.1] * 8)


def test_the_split_covers_the_rows_that_may_be_read_and_does_not_move(whole):
    before = opened(whole)
    assert torch.equal(torch.cat((before.train_rows, before.validation_rows)).sort().values, ALL)
    gone = int(before.train_rows[3])
    patch(whole, gone).unlink()
    after = opened(whole)
    assert after.train_rows.tolist() == [row for row in before.train_rows.tolist() if row != gone]
    assert torch.equal(after.validation_rows, before.validation_rows)


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (b"", FaultKind.NODATA, "0 bytes"),
        (b"no image" * 2000, FaultKind.CORRUPT, ""),
        (geotiff(pixels())[:20_000], FaultKind.CORRUPT, ""),
        (geotiff(pixels(bands=13)), FaultKind.WRONG_BANDS, "13 bands, not 12"),
        (geotiff(pixels(side=64)), FaultKind.WRONG_SIZE, "64 x 64 pixels, not 32 x 32"),
        (geotiff(pixels(dtype=np.float32)), FaultKind.WRONG_TYPE, "float32, not uint16"),
        (geotiff(pixels() * 0), FaultKind.NODATA, "0 in every pixel"),
    ],
)
def test_a_patch_that_cannot_be_used_is_left_out_and_named(whole, content, kind, said):
    good = opened(whole).read(ALL).tiles
    patch(whole, 5).write_bytes(content)
    tiles = opened(whole)
    batch = tiles.read(ALL)
    assert batch.rows.tolist() == [row for row in range(12) if row != 5]
    assert torch.equal(batch.tiles, good[batch.rows])
    assert {row: (fault.kind, fault.item) for row, fault in tiles.unreadable.items()} == {5: (kind, "patch_38.tif")}
    assert said in tiles.unreadable[5].detail


def test_a_patch_that_vanishes_in_the_middle_of_a_run_is_a_fault(whole):
    tiles = opened(whole)
    patch(whole, 1).unlink()
    assert len(tiles.read(ALL).rows) == 11
    assert tiles.unreadable[1].kind is FaultKind.CORRUPT


def test_files_that_do_not_fit_the_index_are_named(tmp_path):
    good = geotiff(pixels())
    lonlat = places(3, seed=0)
    write_index(tmp_path / "s2", [("a.tif", *lonlat[0]), ("b.tif", *lonlat[1]), ("c.tif", *lonlat[2])])
    write_shard(tmp_path / "s2/data/shard-00000.tar", [("./a.tif", good), ("extra.tif", good), ("read.me", b"x")])
    write_shard(tmp_path / "s2/data/shard-00001.tar", [("a.tif", good), ("b.tif", good), ("c.tif", good)])
    shard = tmp_path / "s2/data/shard-00001.tar"
    os.truncate(shard, shard.stat().st_size - 24_000)
    tiles = opened(tmp_path)
    assert tiles.read(ALL[:3]).rows.tolist() == [0, 1]
    assert {row: str(fault) for row, fault in tiles.unreadable.items()} == {2: "c.tif"}
    assert tiles.unreadable[2].kind is FaultKind.NO_FILE
    strays = {fault.kind: str(fault) for fault in tiles.folder.strays}
    assert strays == {
        FaultKind.BROKEN_SHARD: "shard-00001.tar (unexpected end of data; 2 files before that)",
        FaultKind.DUPLICATE_FILE: "a.tif (shard-00000.tar, shard-00001.tar)",
        FaultKind.NO_ROW: "extra.tif",
    }


def test_too_much_that_cannot_be_used_ends_the_run_with_one_line(whole):
    patch(whole, 5).write_bytes(b"no image" * 2000)
    patch(whole, 6).write_bytes(b"")
    tiles = opened(whole, max_unreadable_share=0.01)  # nothing is known of row 5 before it is read
    assert len(tiles.read(ALL[:5]).rows) == 5
    with pytest.raises(ImageryError) as raised:
        tiles.read(ALL)
    message = str(raised.value)
    assert "1 of 12 patches cannot be used (1 corrupt or truncated file, e.g. patch_38.tif" in message
    assert "more than data.max_unreadable_share 0.01; see satcle data check" in message
    assert "\n" not in message


def test_shards_that_are_absent_on_purpose_are_no_fault(tmp_path):
    write_s2_100k(tmp_path / "s2", 12, side=SIDE)
    (tmp_path / "s2/data/shard-00001.tar").unlink()
    with pytest.raises(ImageryError, match=r"6 of 12 .* index row without a file.* set data.partial"):
        opened(tmp_path, max_unreadable_share=0.1)
    tiles = opened(tmp_path, max_unreadable_share=0.1, partial=True)
    assert tiles.read(ALL).rows.tolist() == list(range(6))
    assert torch.cat((tiles.train_rows, tiles.validation_rows)).sort().values.tolist() == list(range(6))


def test_the_identity_is_another_where_the_imagery_is(whole, tmp_path):
    before = opened(whole).identity
    assert opened(whole).identity == before
    moved = tmp_path / "elsewhere"
    shutil.copytree(whole / "s2", moved / "s2")
    assert opened(moved).identity == before
    assert opened(whole, max_unreadable_share=0.5, partial=True).identity == before
    assert opened(whole, seed=1).identity != before
    state = patch(whole, 0).stat()
    os.utime(patch(whole, 0), ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert opened(whole).identity != before


def test_a_folder_without_patches_is_refused(tmp_path):
    write_s2_100k(tmp_path / "s2", 2, layout="images", side=SIDE)
    shutil.rmtree(tmp_path / "s2/images")
    with pytest.raises(ImageryError, match=r"has neither data/shard-\*.tar nor images/; satcle data get s2-100k"):
        opened(tmp_path)
    with pytest.raises(ImageryError, match=r"index.csv cannot be read"):
        opened(tmp_path, path="none")
