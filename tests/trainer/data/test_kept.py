import pytest
import torch

from tests.synthetic_world import small_config, write_world
from trainer.config import Config
from trainer.data import kept
from trainer.data.imagery import read_mosaic
from trainer.data.kept import keep_tiles, kept_digest


@pytest.fixture(scope="module")
def imagery(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("imagery"))


def config(**sections) -> Config:
    given = small_config()
    for name, changes in sections.items():
        given[name] = {**given[name], **changes}
    return Config.model_validate(given)


def test_tiles_are_on_land_and_described_row_by_row(imagery):
    tiles = keep_tiles(config(), imagery)
    assert tiles.lonlat.shape == (400, 2)
    assert float(tiles.lonlat[:, 0].abs().max()) <= 90
    assert tiles.features.shape == (400, 2 * 8 + 2 * 2 * 4)
    assert tiles.features.isfinite().all()
    assert sorted([*tiles.train_rows.tolist(), *tiles.validation_rows.tolist()]) == list(range(400))
    cut = read_mosaic(config().data, imagery).tiles(tiles.lonlat[:10])
    torch.testing.assert_close(tiles.band_means[:10], cut.flatten(2).nanmean(2))


def test_what_was_kept_is_not_computed_again(imagery):
    first = keep_tiles(config(), imagery)
    folder = imagery / "kept" / kept_digest(config(), imagery)
    written = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = keep_tiles(config(training={"seed": 9}, refinement={"sigma_deg": 1.0}), imagery)
    assert torch.equal(first.features, again.features)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == written


def test_writing_to_an_array_does_not_reach_the_disk(imagery):
    tiles = keep_tiles(config(), imagery)
    tiles.features[0] = 0
    assert keep_tiles(config(), imagery).features[0].any()


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"seed": 4}},
        {"data": {"tile": {"size": 8, "footprint_km": 300}}},
        {"data": {"points": {"count": 401, "land": "greenness"}}},
        {"data": {"points": {"count": 400, "land": None}}},
        {"image_tower": {"filters": 9}},
        {"image_tower": {"scales": (1.0,)}},
    ],
)
def test_another_mosaic_or_tower_has_another_digest(imagery, change):
    assert kept_digest(config(), imagery) != kept_digest(config(**change), imagery)


def test_the_content_of_a_source_is_in_the_digest(tmp_path):
    imagery = write_world(tmp_path)
    before = kept_digest(config(), imagery)
    write_world(tmp_path, rows=30)
    assert kept_digest(config(), imagery) != before


def test_the_digest_does_not_know_where_the_imagery_lies(imagery, tmp_path):
    assert kept_digest(config(), write_world(tmp_path)) == kept_digest(config(), imagery)


def test_an_interrupted_computation_leaves_nothing_to_be_mistaken(tmp_path, monkeypatch):
    imagery = write_world(tmp_path)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(kept, "_fill", interrupted)
        with pytest.raises(KeyboardInterrupt):
            keep_tiles(config(), imagery)
    assert list((imagery / "kept").iterdir()) == []
    assert len(keep_tiles(config(), imagery).features) == 400
