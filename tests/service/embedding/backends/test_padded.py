"""The path of a GPU, on the CPU: real sessions with bound inputs and outputs, and memory that stands for a GPU's."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bundle import read_bundle
from service.bundles import DEFAULT, bundle_path
from service.embedding.backends.onnx import padded_batches
from service.embedding.backends.padded import SMALLEST, PaddedBatches, sizes_up_to
from tests.host_memory import HostMemory

DIM, LARGEST = 256, 512
PLACES = np.random.default_rng(0).uniform([-180, -90], [180, 90], (2000, 2))


@pytest.fixture(scope="module")
def session():
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    encoder = read_bundle(bundle_path(DEFAULT)).read("encoder.onnx")
    return ort.InferenceSession(encoder, options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def expected(session):
    return session.run(["embedding"], {"lonlat": PLACES})[0]


@given(largest=st.integers(1, 10**6), places=st.integers(1, 10**6))
def test_a_batch_is_padded_to_less_than_twice_its_size_or_the_smallest(largest, places):
    sizes = sizes_up_to(largest)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == largest
    if places <= largest:
        size = next(size for size in sizes if size >= places)
        assert size < max(2 * places, SMALLEST + 1)


@pytest.mark.parametrize("places", [0, 1, 2, 127, 128, 129, 300, 511, 512])
def test_rows_are_those_of_the_session_to_the_bit(session, expected, places):
    rows = padded_batches(session, HostMemory(), DIM, LARGEST).embed(PLACES[:places])
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, expected[:places])


def test_more_places_than_the_largest_batch_are_several(session, expected):
    np.testing.assert_array_equal(padded_batches(session, HostMemory(), DIM, LARGEST).embed(PLACES), expected)


def test_embeddings_are_copied_once_and_without_the_padding(session):
    memory = HostMemory()
    padded_batches(session, memory, DIM, LARGEST).embed(PLACES[:300])
    assert memory.downloaded_bytes == 300 * DIM * 4


def test_rows_stay_what_they_are_while_others_are_embedded(session, expected):
    padded = padded_batches(session, HostMemory(), DIM, LARGEST)
    kept = [padded.embed(PLACES[start : start + 100]) for start in range(0, 1000, 100)]
    np.testing.assert_array_equal(np.concatenate(kept), expected[:1000])


@pytest.mark.parametrize("at_once", [1, 2])
def test_many_threads_get_the_rows_that_one_gets(session, expected, at_once):
    padded = padded_batches(session, HostMemory(), DIM, LARGEST, at_once)
    starts = [int(start) for start in np.random.default_rng(1).integers(0, 1500, 64)]
    with ThreadPoolExecutor(8) as threads:
        for start, rows in zip(
            starts, threads.map(lambda start: padded.embed(PLACES[start : 2 * start + 1]), starts), strict=True
        ):
            np.testing.assert_array_equal(rows, expected[start : 2 * start + 1])


def test_memory_does_not_grow_with_the_number_of_batches(session):
    memory = HostMemory()
    padded = padded_batches(session, memory, DIM, LARGEST)
    for size in range(1, 300):
        padded.embed(PLACES[:size])
    held = len(memory.allocated)
    for size in range(1, 300):
        padded.embed(PLACES[:size])
    assert len(memory.allocated) == held <= 2 * 3  # an input and an output for each size


def test_warming_up_runs_every_size_on_all_that_may_be_in_use_at_once():
    bound = []
    padded = PaddedBatches(_recording(bound), HostMemory(), DIM, LARGEST, at_once=2)
    padded.warm_up()
    assert sorted(each.size for each in bound) == sorted(2 * sizes_up_to(LARGEST))
    assert len({each.number for each in bound}) == len(bound)
    assert all(each.runs == 2 for each in bound)
    padded.embed(PLACES)
    assert len(bound) == 2 * len(sizes_up_to(LARGEST))  # what was warmed up is what runs


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_no_more_batches_are_on_the_device_than_may_be(at_once):
    together = _Together(at_once)
    padded = PaddedBatches(lambda size, number: _Bound(size, number, together), HostMemory(), DIM, LARGEST, at_once)
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda _: padded.embed(PLACES[:5]), range(6 * at_once)))
    assert together.most == at_once


def test_a_batch_that_fails_leaves_its_place_to_others():
    class Failing:
        given = made = 0
        fails = True

        def __init__(self, memory):
            self.given, self.made = memory.allocate(LARGEST * 16), memory.allocate(LARGEST * DIM * 4)

        def run(self):
            if self.fails:
                raise RuntimeError("out of memory")

    memory = HostMemory()
    bound = Failing(memory)
    padded = PaddedBatches(lambda size, number: bound, memory, DIM, LARGEST, at_once=1)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="out of memory"):
            padded.embed(PLACES[:5])
    bound.fails = False
    assert padded.embed(PLACES[:5]).shape == (5, DIM)


class _Together:
    """Lets runs meet, as many as may be, and counts how many were under way at once."""

    def __init__(self, at_once):
        self._lock = Lock()
        self._barrier = Barrier(at_once, timeout=10)
        self._now = self.most = 0

    def run(self):
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        self._barrier.wait()
        with self._lock:
            self._now -= 1


class _Bound:
    def __init__(self, size, number, together=None):
        self.size, self.number, self.runs, self._together = size, number, 0, together
        self._memory = np.zeros(size * 16, np.uint8), np.zeros(size * DIM * 4, np.uint8)
        self.given, self.made = (memory.ctypes.data for memory in self._memory)

    def run(self):
        self.runs += 1
        if self._together:
            self._together.run()


def _recording(bound):
    def bind(size, number):
        bound.append(_Bound(size, number))
        return bound[-1]

    return bind
