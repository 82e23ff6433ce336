import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate
from typer.testing import CliRunner

from service.bundle import LonLat
from service.cli import app
from service.errors import InvalidRequest, UnknownHead
from service.maps.files import bbox_of, layer_for, sheet_for
from service.maps.grid import BBox
from service.maps.layers import Similarity

BOX = BBox.of([100, 20, 140, 40])


def sides(**options):
    grid = sheet_for(Path("a.tif"), BOX, **options).grid
    return grid.width, grid.height


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (1024, 512)),
        ({"width": 100}, (100, 50)),
        ({"height": 100}, (200, 100)),
        ({"width": 7, "height": 9}, (7, 9)),
        ({"degrees": 0.5}, (80, 40)),
        ({"degrees": 1000}, (1, 1)),
    ],
)
def test_pixels_are_square_unless_both_sides_are_given(options, expected):
    assert sides(**options) == expected


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.xyz", {}, "only .tif, .tiff, .png"),
        ("a", {}, "only .tif"),
        ("a.parquet", {}, "give their resolution"),
        ("a.geojson", {"h3_resolution": 3, "width": 5}, "no pixels"),
        ("a.tif", {"h3_resolution": 3}, "holds pixels"),
        ("a.tif", {"degrees": 1, "width": 5}, "or their number"),
        ("a.tif", {"degrees": 0}, "no size of a pixel"),
        ("a.tif", {"degrees": float("nan")}, "no size of a pixel"),
        ("a.tif", {"degrees": 1e-300}, "from 1 to"),
        ("a.tif", {"width": 0}, "from 1 to"),
        ("a.tif", {"height": -1}, "from 1 to"),
        ("a.png", {"width": 60000, "height": 60000}, "write a .tif"),
    ],
)
def test_a_sheet_that_cannot_be_is_refused(name, options, message):
    with pytest.raises(InvalidRequest, match=message):
        sheet_for(Path(name), BOX, **options)


@pytest.mark.parametrize("text", ["", "1,2,3", "a,b,c,d", "0,0,0,0", "nan,0,1,1", "1;2;3;4"])
def test_a_box_that_is_none_is_refused(text):
    with pytest.raises(InvalidRequest):
        bbox_of(text)


@pytest.mark.parametrize(
    ("references", "head", "message"),
    [
        ([], None, "give a reference"),
        (["1,2"], "elevation", "not both"),
        (["1"], None, "is not lon,lat"),
        (["39.9,116.4"], None, "look swapped"),
        (["nan,0"], None, "must be finite"),
    ],
)
def test_a_layer_that_cannot_be_is_refused(run, drawing, references, head, message):
    async def main():
        async with drawing() as model:
            with pytest.raises(InvalidRequest, match=message):
                await layer_for(model, references, [], head)
            with pytest.raises(UnknownHead):
                await layer_for(model, [], [], "nope")

    run(main())


def test_references_and_negatives_make_a_similarity(run, drawing):
    async def main():
        async with drawing() as model:
            layer = await layer_for(model, ["1,2", "3,4"], ["5,6"], None)
            assert isinstance(layer, Similarity)
            rows = model.backend.embed(LonLat.from_degrees([[1, 2], [3, 4], [5, 6], [7, 8]]))
            np.testing.assert_array_equal(layer.values(rows), Similarity(rows[:2], rows[2:3]).values(rows))

    run(main())


@pytest.fixture
def draw(tiny_bundle, tmp_path):
    def run_command(name, *options, code=0):
        target = tmp_path / name
        arguments = ["--reference", "116.4,39.9", "--bbox", "100,20,140,40", "--model", str(tiny_bundle.path)]
        result = CliRunner().invoke(app, ["map", *arguments, "-o", str(target), *options])
        assert result.exit_code == code, result.output
        return target if code == 0 else result.output

    return run_command


def test_the_command_writes_a_geotiff(draw):
    path = draw("map.tif", "--width", "40")
    assert cog_validate(path)[0]
    with rasterio.open(path) as file:
        assert file.shape == (20, 40)
        values = file.read(1)
    row, column = int((40 - 39.9) // 1), int(116.4 - 100)
    assert values[row, column] == values.max()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # as any picture
def test_the_command_writes_a_picture(draw):
    path = draw("map.png", "--resolution", "0.5", "--colormap", "magma", "--rescale", "0,1", "--negative", "0,0")
    with rasterio.open(path) as file:
        assert (file.driver, file.shape, file.count) == ("PNG", (40, 80), 4)


def test_the_command_writes_tables_of_the_same_cells(draw):
    tables = [pq.read_table(draw("map.parquet", "--h3-resolution", "3"))]
    tables.append(pa.ipc.open_stream(draw("map.arrow", "--h3-resolution", "3").read_bytes()).read_all())
    features = json.loads(draw("map.geojson", "--h3-resolution", "3").read_text())["features"]
    assert tables[0].equals(tables[1])
    assert [int(f["properties"]["h3"], 16) for f in features] == tables[0]["h3"].to_pylist()
    np.testing.assert_array_equal(
        np.array([f["properties"]["value"] for f in features], np.float32), tables[0]["value"].to_numpy()
    )


def test_the_command_replaces_no_file_unasked(draw):
    path = draw("map.png", "--width", "4")
    before = path.read_bytes()
    assert "--overwrite" in draw("map.png", "--width", "8", code=1)
    assert path.read_bytes() == before
    assert draw("map.png", "--width", "8", "--overwrite").read_bytes() != before


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.xyz", (), "only .tif"),
        ("a.tif", ("--colormap", "nope"), "colour maps"),
        ("a.tif", ("--bbox", "0,10,1,5"), "south 10 is north"),
        ("a.tif", ("--head", "elevation"), "not both"),
        ("a.parquet", ("--h3-resolution", "15"), "choose resolution"),
        ("no/such/folder.tif", (), "No such folder"),
    ],
)
def test_the_command_says_in_a_line_what_is_wrong(draw, tmp_path, name, options, message):
    output = draw(name, *options, code=1)
    assert message in output
    assert output.startswith("satcle: ")
    assert list(tmp_path.iterdir()) == []
