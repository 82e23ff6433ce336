import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.synthetic_s2 import geotiff, patch
from trainer.data.s2_patch import decode
from trainer.data.tile_batch import Fault, FaultKind

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

SIDE = 16
GOOD = patch(10, 20, SIDE, 0)


def test_reflectance_is_what_is_stored_over_ten_thousand():
    pixels = np.arange(1, 1 + 12 * SIDE * SIDE, dtype=np.uint16).reshape(12, SIDE, SIDE)
    np.testing.assert_array_equal(decode("a.tif", geotiff(pixels), SIDE), pixels.astype(np.float32) / 10_000)


@given(st.integers(0, len(GOOD) - 1))
def test_a_file_cut_anywhere_is_a_fault_or_whole(cut):
    found = decode("a.tif", GOOD[:cut], SIDE)
    assert isinstance(found, Fault)
    assert (found.kind, found.item) == (FaultKind.CORRUPT, "a.tif")
    assert "\n" not in found.detail


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_header_of_garbage_is_a_fault_or_an_image_of_the_right_shape(changes):
    content = bytearray(GOOD)
    for at, value in changes:
        content[at] = value
    found = decode("a.tif", bytes(content), SIDE)
    assert isinstance(found, Fault) or found.shape == (12, SIDE, SIDE)


@pytest.mark.parametrize("content", [b"", b"no image" * 2000, GOOD[:300], GOOD[:-1]])
def test_why_a_file_is_corrupt_is_told_the_same_each_time(content):
    first, second = decode("a.tif", content, SIDE), decode("a.tif", content, SIDE)
    assert isinstance(first, Fault)
    assert first == second
    assert "vsimem" not in first.detail
