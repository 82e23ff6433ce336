import gc

import numpy as np
import pytest

from service.embedding.backends.pinned import KEPT, PinnedArrays
from tests.host_memory import HostMemory


@pytest.fixture
def memory():
    return HostMemory()


def test_an_array_is_of_the_memory_that_was_allocated_for_it(memory):
    array = PinnedArrays(memory).empty((3, 4), np.float32)
    assert array.shape == (3, 4)
    assert array.dtype == np.float32
    array[:] = 7
    (held,) = memory.allocated.values()
    np.testing.assert_array_equal(held.view(np.float32), np.full(12, 7, np.float32))


def test_memory_is_handed_out_again_once_nobody_holds_the_array(memory):
    arrays = PinnedArrays(memory)
    address = arrays.empty((5, 2), np.float64).ctypes.data
    assert arrays.empty((2, 5), np.float64).ctypes.data == address  # of as many bytes
    assert arrays.empty((3, 2), np.float64).ctypes.data != address


def test_a_view_keeps_the_memory(memory):
    arrays = PinnedArrays(memory)
    view = arrays.empty((8, 2), np.float32)[:3]
    view[:] = 1
    arrays.empty((8, 2), np.float32)[:] = 2
    gc.collect()
    np.testing.assert_array_equal(view, np.ones((3, 2), np.float32))


def test_no_more_than_so_many_buffers_are_kept(memory):
    arrays = PinnedArrays(memory)
    held = [arrays.empty((16,), np.float32) for _ in range(KEPT + 5)]
    assert len(memory.allocated) == KEPT + 5
    del held
    assert len(memory.allocated) == KEPT


def test_all_is_given_back_with_the_last_array(memory):
    arrays = PinnedArrays(memory)
    last = arrays.empty((16,), np.float32)
    arrays.empty((16,), np.float32)
    del arrays
    last[:] = 1  # still its own
    del last
    gc.collect()
    assert memory.allocated == {}
