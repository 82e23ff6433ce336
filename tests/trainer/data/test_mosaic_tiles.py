import pytest
import torch

from tests.synthetic_world import small_config, write_world
from trainer.config import Config
from trainer.data.imagery import read_mosaic
from trainer.data.tiles import open_tiles
from trainer.errors import ImageryError


def config(**data: object) -> Config:
    given = small_config()
    return Config.model_validate(given | {"data": given["data"] | data})


@pytest.fixture(scope="module")
def imagery(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("imagery"))


def test_rows_are_places_on_land_and_their_tiles(imagery):
    tiles = open_tiles(config(), imagery)
    assert tiles.bands == ("x", "y", "z", "green")
    assert tiles.lonlat.shape == (400, 2)
    assert float(tiles.lonlat[:, 0].abs().max()) <= 90
    assert sorted([*tiles.train_rows.tolist(), *tiles.validation_rows.tolist()]) == list(range(400))
    rows = torch.tensor([17, 3])
    batch = tiles.read(rows)
    assert torch.equal(batch.rows, rows)
    assert torch.equal(batch.tiles, read_mosaic(config().data, imagery).tiles(tiles.lonlat[rows]))
    assert tiles.unreadable == {}


def test_sources_are_credited_with_their_content(imagery):
    credited = open_tiles(config(), imagery).sources
    assert [source.name for source in credited] == ["positions", "greenness"]
    assert all(source.sha256 for source in credited)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"tile": {"size": 8, "footprint_km": 300}},
        {"points": {"count": 401, "land": "greenness"}},
        {"points": {"count": 400, "land": None}},
    ],
)
def test_another_mosaic_has_another_identity(imagery, change):
    assert open_tiles(config(), imagery).identity != open_tiles(config(**change), imagery).identity


def test_the_identity_is_that_of_the_content_not_of_the_place(imagery, tmp_path):
    before = open_tiles(config(), imagery).identity
    assert open_tiles(config(), write_world(tmp_path)).identity == before
    write_world(tmp_path, rows=30)
    assert open_tiles(config(), tmp_path).identity != before


def test_a_source_that_is_absent_is_told_at_once(tmp_path):
    with pytest.raises(ImageryError, match="source positions: "):
        open_tiles(config(), tmp_path)
