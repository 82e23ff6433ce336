from io import BytesIO

import numpy as np
import pytest
from rasterio.io import MemoryFile

from service.errors import InvalidRequest
from service.maps.grid import BBox, Grid
from service.maps.render import COLORMAP, Style, category_colors, colored, colormap_names, gradient, palette, tile_bytes
from service.maps.tiling import tile_grid

GRID = Grid.of_bbox(BBox.of([0, 0, 3, 1]), 3, 1)


def values(*row):
    return np.array([row], np.float32)[..., None]


def opened(content):
    with MemoryFile(content) as memory, memory.open() as file:
        return file.read(), file.profile, file.transform


def test_the_ends_of_the_scale_are_the_ends_of_the_colour_map(plain):
    pixels = colored(values(-1, 0, 1), plain, Style.of(plain))
    colors = gradient(COLORMAP)
    np.testing.assert_array_equal(pixels[0, [0, 2]], colors[[0, 255]])
    np.testing.assert_array_equal(colored(values(-9, 0, 9), plain, Style.of(plain)), pixels)


def test_rescale_sets_the_ends(plain):
    style = Style.of(plain, "magma", "-3,5")
    assert (style.colormap_name, style.low, style.high) == ("magma", -3, 5)
    np.testing.assert_array_equal(colored(values(-3, 1, 5), plain, style)[0, [0, 2]], gradient("magma")[[0, 255]])


def test_the_layer_chooses_where_the_asker_does_not(plain):
    plain.colormap_name = "terrain"
    assert Style.of(plain).colormap_name == "terrain"
    assert Style.of(plain, "gray").colormap_name == "gray"


@pytest.mark.parametrize("rescale", ["", "1", "1,2,3", "a,b", "2,1", "1,1", "nan,1", "0,inf", "," * 500])
def test_a_scale_that_is_none_is_refused(plain, rescale):
    with pytest.raises(InvalidRequest, match="is not low,high") as refused:
        Style.of(plain, rescale=rescale)
    assert refused.value.items[0].pointer == "/rescale"


@pytest.mark.parametrize("name", ["nope", "../../etc/passwd", "VIRIDIS\n", "\0"])
def test_a_colour_map_that_is_not_is_refused(plain, name):
    with pytest.raises(InvalidRequest, match="is not one of rio-tiler's"):
        Style.of(plain, name)


def test_neither_colour_map_nor_scale_suits_what_has_colours_of_its_own(plain, kinds):
    plain.bands = 3
    for layer, kind in ((kinds, "kinds has classes"), (plain, "plain has bands that are red, green and blue")):
        with pytest.raises(InvalidRequest, match=kind) as refused:
            Style.of(layer, "magma", "0,1")
        assert [item.pointer for item in refused.value.items] == ["/colormap_name", "/rescale"]
        with pytest.raises(InvalidRequest, match=kind):
            Style.of(layer, "")


@pytest.mark.parametrize("name", sorted(colormap_names()))
def test_every_colour_map_is_256_colours(plain, name):
    assert gradient(Style.of(plain, name).colormap_name).shape == (256, 4)


@pytest.mark.parametrize("categories", [1, 2, 17, 250])
def test_categories_differ_in_colour(categories):
    colors = palette(categories)
    assert len(np.unique(colors, axis=0)) == categories
    assert (colors[:, 3] == 255).all()


@pytest.mark.parametrize("own", [None, ("#1c0dff", "#009900", "#F9FFA4")])
def test_a_category_has_its_colour_and_what_is_unknown_none(kinds, own):
    kinds.category_colors = own
    pixels = colored(values(2, 0, np.nan), kinds, Style.of(kinds))
    expected = palette(3) if own is None else np.array([[28, 13, 255, 255], [0, 153, 0, 255], [249, 255, 164, 255]])
    np.testing.assert_array_equal(category_colors(kinds), expected)
    np.testing.assert_array_equal(pixels[0, :2], expected[[2, 0]])
    assert pixels[0, 2].tolist() == [0, 0, 0, 0]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # as any picture
@pytest.mark.parametrize("tile_format", ["png", "webp"])
def test_a_picture_is_the_colours_without_loss(plain, tile_format):
    shown = values(-1, 0.3, np.nan)
    bands, profile, _ = opened(tile_bytes(shown, GRID, plain, Style.of(plain), tile_format))
    assert (profile["driver"], profile["dtype"]) == (tile_format.upper(), "uint8")
    expected = colored(shown, plain, Style.of(plain))[0]
    np.testing.assert_array_equal(bands[3, 0], expected[:, 3])
    np.testing.assert_array_equal(bands[:3, 0, :2], expected[:2, :3].T)


def test_a_tif_holds_the_values_where_they_are(plain):
    grid = tile_grid("WebMercatorQuad", 3, 5, 2, size=4)
    shown = np.arange(16, dtype=np.float32).reshape(4, 4, 1)
    shown[0, 0] = np.nan
    bands, profile, transform = opened(tile_bytes(shown, grid, plain, Style.of(plain), "tif"))
    np.testing.assert_array_equal(bands[0], shown[..., 0])
    assert profile["crs"].to_epsg() == 3857
    assert np.isnan(profile["nodata"])
    assert transform @ (0, 0) == pytest.approx((grid.bounds[0], grid.bounds[3]))
    assert transform @ (4, 4) == pytest.approx((grid.bounds[2], grid.bounds[1]))


def test_a_tif_of_categories_holds_bytes(kinds):
    bands, profile, _ = opened(tile_bytes(values(2, 0, np.nan), GRID, kinds, Style.of(kinds), "tif"))
    assert bands.ravel().tolist() == [2, 0, 255]
    assert profile["nodata"] == 255


def test_an_npy_holds_bands_first(plain):
    array = np.load(BytesIO(tile_bytes(values(1, 2, 3), GRID, plain, Style.of(plain), "npy")), allow_pickle=False)
    assert array.shape == (1, 1, 3)
    assert array.dtype == np.float32
