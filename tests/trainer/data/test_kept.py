from pathlib import Path

import pytest
import torch
from torch import nn

from tests.synthetic_s2 import write_s2_100k
from tests.synthetic_world import small_config, write_world
from trainer.config import Config
from trainer.data import kept
from trainer.data.kept import KeptTiles, keep_tiles, kept_digest
from trainer.data.tiles import open_tiles
from trainer.data.views import view_by_row
from trainer.errors import ImageryError


class Corners(nn.Module):
    """An image side that can be checked by hand: the first and the last pixel of each band."""

    identity = "corners"

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        return torch.cat((tiles[:, :, 0, 0], tiles[:, :, -1, -1]), dim=1).nan_to_num(-1.0)


class Interrupted(Corners):
    """Gives up after so many tiles."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        self.left -= len(tiles)
        if self.left < 0:
            raise KeyboardInterrupt
        return super().forward(tiles)


@pytest.fixture(scope="module")
def imagery(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("imagery"))


@pytest.fixture
def patches(tmp_path):
    write_s2_100k(tmp_path / "s2", 30, layout="images", side=32)
    return tmp_path


def config(**sections) -> Config:
    given = small_config()
    for name, changes in sections.items():
        given[name] = {**given.get(name, {}), **changes}
    return Config.model_validate(given)


def s2_config(**views: object) -> Config:
    data = {"kind": "s2-100k", "path": "s2", "size": 32, "max_unreadable_share": 0.5}
    return Config.model_validate(small_config() | {"data": data, "views": views} | {"card": card()})


def card() -> dict[str, object]:
    return small_config()["card"] | {"probe_bands": []}


def keep(asked: Config, imagery: Path, side: nn.Module | None = None) -> KeptTiles:
    return keep_tiles(asked, imagery, open_tiles(asked, imagery), side or Corners())


def digest(asked: Config, imagery: Path, side: nn.Module | None = None) -> str:
    return kept_digest(asked, open_tiles(asked, imagery), side or Corners())


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a.nan_to_num(-9.0), b.nan_to_num(-9.0))


def test_every_row_has_its_place_its_features_and_its_band_means(imagery):
    tiles = open_tiles(config(), imagery)
    kept_tiles = keep(config(), imagery)
    cut = tiles.read(torch.arange(400)).tiles
    assert torch.equal(kept_tiles.lonlat, tiles.lonlat)
    assert kept_tiles.features.shape == (1, 400, 8)
    assert torch.equal(kept_tiles.features[0], Corners()(cut))
    torch.testing.assert_close(kept_tiles.band_means, cut.flatten(2).nanmean(2), equal_nan=True)
    assert torch.equal(kept_tiles.train_rows, tiles.train_rows)
    assert torch.equal(kept_tiles.validation_rows, tiles.validation_rows)


def test_views_differ_and_the_first_is_plain(patches):
    asked = s2_config(count=3, crop=24)
    tiles, found = open_tiles(asked, patches), keep(asked, patches)
    rows = torch.arange(30)
    read = tiles.read(rows).tiles
    assert torch.equal(found.features[0], Corners()(read[..., 4:28, 4:28]))
    for number in (1, 2):
        assert torch.equal(found.features[number], Corners()(view_by_row(read, rows, number, asked.views, seed=0)))
        assert not torch.equal(found.features[number], found.features[number - 1])


@pytest.mark.parametrize("at_once", [1, 7, 30])
def test_features_do_not_depend_on_how_they_are_computed(patches, monkeypatch, at_once):
    asked = s2_config(count=2, crop=20)
    monkeypatch.setattr(kept, "CHUNK", at_once)
    found = keep(asked, patches).features
    write_s2_100k(patches / "other" / "s2", 30, layout="shards", side=32)
    monkeypatch.setattr(kept, "CHUNK", 11)
    assert torch.equal(keep(asked, patches / "other").features, found)


def test_what_cannot_be_read_changes_nothing_for_the_others(patches):
    asked = s2_config(count=2)
    whole = keep(asked, patches)
    gone, held_out = int(whole.train_rows[4]), int(whole.validation_rows[0])
    for row in (gone, held_out):
        (patches / "s2/images" / f"patch_{7 * row + 3}.tif").write_bytes(b"no image" * 2000)
    found = keep(asked, patches)
    others = [row for row in range(30) if row not in (gone, held_out)]
    assert torch.equal(found.features[:, others], whole.features[:, others])
    assert torch.equal(found.band_means[others], whole.band_means[others])
    assert found.features[:, [gone, held_out]].isnan().all()
    assert found.band_means[[gone, held_out]].isnan().all()
    assert found.train_rows.tolist() == [row for row in whole.train_rows.tolist() if row != gone]
    assert found.validation_rows.tolist() == [row for row in whole.validation_rows.tolist() if row != held_out]
    again = keep(asked, patches)  # now from what was kept
    assert torch.equal(again.train_rows, found.train_rows)


def test_too_little_to_read_is_an_error_and_leaves_nothing_that_is_taken_for_whole(patches):
    asked = s2_config()
    for row in range(20):
        (patches / "s2/images" / f"patch_{7 * row + 3}.tif").write_bytes(b"no image" * 2000)
    with pytest.raises(ImageryError, match="patches cannot be used"):
        keep(asked, patches)
    assert [path for path in (patches / "kept").iterdir() if not path.name.startswith(".")] == []


def test_what_was_kept_is_not_computed_again(imagery):
    keep(config(), imagery)
    folder = imagery / "kept" / digest(config(), imagery)
    written = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    keep(config(training={"seed": 9}, refinement={"sigma_deg": 1.0}), imagery, Interrupted(0))
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == written


def test_writing_to_an_array_does_not_reach_the_disk(imagery):
    before = keep(config(), imagery).features[0, 0].clone()
    keep(config(), imagery).features[0, 0] = 1e9
    assert torch.equal(keep(config(), imagery).features[0, 0], before)


def test_other_tiles_views_or_image_side_have_another_digest(imagery):
    class Other(Corners):
        identity = "other"

    digests = [
        digest(config(), imagery),
        digest(config(data={"seed": 4}), imagery),
        digest(config(views={"count": 2}), imagery),
        digest(config(views={"crop": 4}), imagery),
        digest(config(), imagery, Other()),
    ]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("after", [0, 1, 20, 21, 45])
def test_an_interrupted_computation_goes_on_to_the_same_end(patches, monkeypatch, after):
    asked = s2_config(count=2)
    monkeypatch.setattr(kept, "CHUNK", 4)
    monkeypatch.setattr(kept, "SAVE_EVERY", 2)
    with pytest.raises(KeyboardInterrupt):
        keep(asked, patches, Interrupted(after))
    assert not (patches / "kept" / digest(asked, patches)).exists()
    resumed = keep(asked, patches)
    assert list((patches / "kept").iterdir()) == [patches / "kept" / digest(asked, patches)]
    write_s2_100k(patches / "other" / "s2", 30, layout="images", side=32)
    assert same(keep(asked, patches / "other").features, resumed.features)
    assert not resumed.features.isnan().any()


def test_what_is_done_is_not_done_again_after_an_interruption(patches, monkeypatch):
    asked = s2_config()
    monkeypatch.setattr(kept, "CHUNK", 5)
    monkeypatch.setattr(kept, "SAVE_EVERY", 1)
    with pytest.raises(KeyboardInterrupt):
        keep(asked, patches, Interrupted(1 + 20))  # one to learn the width
    rest = Interrupted(1 + 10)
    keep(asked, patches, rest)
    assert rest.left == 0


def test_a_folder_that_cannot_be_written_is_one_line(imagery, tmp_path):
    (write_world(tmp_path) / "kept").write_text("in the way")
    with pytest.raises(ImageryError, match=r"image features cannot be kept in .*: (File exists|Not a directory)"):
        keep(config(), tmp_path)
