from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from trainer.config import VisionConfig
from trainer.data.tile_batch import Fault, FaultKind, TileBatch
from trainer.errors import ImageryError
from trainer.vision.tiles import batches, open_training_tiles, tile_shape


class MadeUpTiles:
    """Tile i is filled with i; those of `broken` cannot be read."""

    bands = ("a", "b")
    sources = ()

    def __init__(self, count: int, broken: tuple[int, ...] = ()) -> None:
        self.lonlat = torch.zeros(count, 2, dtype=torch.float64)
        self.train_rows = torch.arange(0, count, 2)
        self.validation_rows = torch.arange(1, count, 2)
        self.identity = {"made up": count, "broken": broken}
        self.unreadable = {row: Fault(FaultKind.CORRUPT, str(row)) for row in broken}
        self.reads = 0

    def read(self, rows: torch.Tensor) -> TileBatch:
        self.reads += 1
        there = torch.tensor([row for row in rows.tolist() if row not in self.unreadable], dtype=torch.int64)
        return TileBatch(there, there.float().view(-1, 1, 1, 1).expand(-1, 2, 3, 4).clone())


def numbers(tiles: torch.Tensor) -> list[int]:
    return tiles[:, 0, 0, 0].int().tolist()


@pytest.mark.parametrize("kept", [True, False])
def test_rows_are_read_in_the_order_asked_for(kept, tmp_path, monkeypatch):
    if not kept:
        monkeypatch.setattr("trainer.vision.tiles.MAX_KEPT_BYTES", 0)
    tiles = open_training_tiles(MadeUpTiles(40), tmp_path)
    assert torch.equal(tiles.rows, torch.arange(0, 40, 2))
    assert numbers(tiles.read(torch.tensor([8, 2, 38]))) == [8, 2, 38]
    assert [path.is_dir() for path in tmp_path.glob("kept/tiles-*")] == [True] * kept


def test_tiles_are_cut_once(tmp_path):
    tiles = MadeUpTiles(1000)
    open_training_tiles(tiles, tmp_path)
    cut = tiles.reads
    again = open_training_tiles(tiles, tmp_path)
    again.read(again.rows)
    assert tiles.reads == cut


def test_what_cannot_be_read_is_left_out_of_what_is_kept(tmp_path):
    tiles = open_training_tiles(MadeUpTiles(40, broken=(0, 6)), tmp_path)
    assert numbers(tiles.read(tiles.rows)) == tiles.rows.tolist()
    assert not {0, 6} & set(tiles.rows.tolist())


def test_an_interruption_leaves_nothing_that_is_taken_for_whole(tmp_path):
    class Interrupted(MadeUpTiles):
        def read(self, rows):
            if self.reads == 2:
                raise KeyboardInterrupt
            return super().read(rows)

    with pytest.raises(KeyboardInterrupt):
        open_training_tiles(Interrupted(1000), tmp_path)
    assert list((tmp_path / "kept").iterdir()) == []
    assert len(open_training_tiles(MadeUpTiles(1000), tmp_path).rows) == 500


def test_no_room_on_the_disk_is_no_need_to_stop(tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.vision.tiles.shutil.disk_usage", lambda _: SimpleNamespace(free=100))
    tiles = open_training_tiles(MadeUpTiles(40), tmp_path)
    assert numbers(tiles.read(torch.tensor([4, 2]))) == [4, 2]
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path):
    (tmp_path / "kept").write_text("in the way")
    with pytest.raises(ImageryError, match=r"tiles cannot be kept in .*kept"):
        open_training_tiles(MadeUpTiles(40), tmp_path)


def test_a_batch_of_next_to_nothing_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.vision.tiles.MAX_KEPT_BYTES", 0)
    tiles = open_training_tiles(MadeUpTiles(40, broken=(2, 4, 6)), tmp_path)
    with pytest.raises(ImageryError, match="only 1 of 4 tiles of a batch can be read"):
        tiles.read(torch.tensor([2, 4, 6, 8]))


def test_the_shape_is_that_of_the_first_tile_that_can_be_read():
    assert tile_shape(MadeUpTiles(100, broken=tuple(range(0, 40, 2)))) == (2, 3, 4)
    with pytest.raises(ImageryError, match="no training tile can be read"):
        tile_shape(MadeUpTiles(100, broken=tuple(range(100))))


def test_reading_ahead_keeps_the_order(tmp_path):
    tiles = open_training_tiles(MadeUpTiles(40), tmp_path)
    asked = [torch.tensor([2 * i, 2 * i + 2]) for i in range(9)]
    assert [numbers(batch) for batch in tiles.ahead(asked)] == [rows.tolist() for rows in asked]
    assert list(tiles.ahead([])) == []


def test_every_epoch_has_all_rows_but_a_remainder_in_an_order_of_its_own():
    rows, vision = torch.arange(100, 123), VisionConfig(batch_size=5)
    drawn = list(batches(rows, vision, range(8)))
    epochs = [torch.cat(drawn[:4]), torch.cat(drawn[4:])]
    assert all(len(epoch.unique()) == 20 for epoch in epochs)
    assert all(set(epoch.tolist()) <= set(rows.tolist()) for epoch in epochs)
    assert not torch.equal(*epochs)


def test_batches_from_the_middle_are_those_of_the_whole():
    rows, vision = torch.arange(23), VisionConfig(batch_size=5)
    whole, part = list(batches(rows, vision, range(11))), list(batches(rows, vision, range(6, 11)))
    assert all(map(torch.equal, whole[6:], part))
    assert len(part) == 5


def test_fewer_rows_than_a_batch_are_one_batch():
    assert [len(batch) for batch in batches(torch.arange(3), VisionConfig(batch_size=8), range(2))] == [3, 3]
