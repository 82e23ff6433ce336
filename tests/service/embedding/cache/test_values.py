import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.embedding.cache.values import Values

CELLS = st.lists(st.integers(1, 2**64 - 1), unique=True, min_size=1, max_size=20)


def rows_of(cells, dim):
    return np.random.default_rng(len(cells)).normal(size=(len(cells), dim)).astype(np.float32)


@given(CELLS, st.integers(1, 9))
def test_a_row_is_read_as_it_was_written_bit_for_bit(numbers, dim):
    values, cells = Values("satcle:a", dim), np.array(numbers, np.uint64)
    rows = rows_of(cells, dim)
    written = values.encode(cells, rows)
    assert {len(value) for value in written} == {values.value_bytes}
    read, found = values.decode(cells, written)
    assert found.all()
    assert read.tobytes() == rows.tobytes()


@given(CELLS, st.data())
def test_of_absent_foreign_and_damaged_values_none_is_taken_for_a_row(numbers, data):
    values, cells = Values("satcle:a", 4), np.array(numbers, np.uint64)
    rows = rows_of(cells, 4)
    written = values.encode(cells, rows)
    damage = {
        "sound": lambda value: value,
        "absent": lambda value: None,
        "cut": lambda value: value[:-1],
        "longer": lambda value: value + b"\0",
        "empty": lambda value: b"",
        "zeros": lambda value: bytes(len(value)),
        "flipped": lambda value: value[:9] + bytes([value[9] ^ 1]) + value[10:],
        "a list": lambda value: [value],
        "a number": lambda value: 5,
        "an error": lambda value: RuntimeError("from the server"),
    }
    fates = data.draw(st.lists(st.sampled_from(sorted(damage)), min_size=len(numbers), max_size=len(numbers)))
    read, found = values.decode(cells, [damage[fate](value) for fate, value in zip(fates, written, strict=True)])
    sound = np.array([fate == "sound" for fate in fates])
    np.testing.assert_array_equal(found, sound)
    np.testing.assert_array_equal(read, rows[sound])


def test_replies_that_were_mixed_up_are_told():
    values, cells = Values("satcle:a", 4), np.array([11, 12, 13], np.uint64)
    written = values.encode(cells, rows_of(cells, 4))
    _, found = values.decode(cells, [written[1], written[0], written[2]])
    assert found.tolist() == [False, False, True]


def test_another_models_row_of_the_same_cell_is_told():
    cells = np.array([11], np.uint64)
    written = Values("satcle:a", 4).encode(cells, rows_of(cells, 4))
    assert not Values("satcle:b", 4).decode(cells, written)[1].any()


def test_the_wrong_number_of_replies_is_an_error():
    with pytest.raises(ValueError, match="1 values for 2 keys"):
        Values("satcle:a", 4).decode(np.array([1, 2], np.uint64), [None])


@given(
    hnp.arrays(np.float32, (3, 5), elements=st.floats(-(2.0**99), 2.0**99, width=32)),
    st.binary(min_size=32, max_size=32),
)
def test_no_bytes_of_a_rows_length_pass_for_it(rows, noise):
    values, cells = Values("satcle:a", 5), np.array([1, 2, 3], np.uint64)
    written = values.encode(cells, rows)
    assert values.value_bytes == 32
    _, found = values.decode(cells, [written[0], noise, written[2]])
    assert found.tolist() == [True, noise == written[1], True]


def test_a_key_is_the_namespace_and_the_cell():
    assert Values("satcle:a", 4).keys(np.array([0x8B31F, 1], np.uint64)) == [b"satcle:a:8b31f", b"satcle:a:1"]


@given(CELLS, st.integers(1, 10_000), st.floats(0, 1e9), st.floats(0, 30_000))
def test_a_key_changes_within_the_time_to_live_and_once_only(numbers, ttl_s, start, later):
    cells = np.array(numbers, np.uint64)

    def keys_at(seconds):
        return Values("satcle:a", 4, ttl_s, now=lambda: int(start) + int(seconds)).keys(cells)

    now, then, after = keys_at(0), keys_at(min(later, ttl_s)), keys_at(ttl_s)
    for first, second, third in zip(now, then, after, strict=True):
        assert first != third
        assert second in (first, third)


def test_the_rows_of_a_time_do_not_expire_all_at_once():
    cells = np.arange(1, 1001, dtype=np.uint64) << np.uint64(15)

    def at(seconds):
        return np.array(Values("satcle:a", 4, ttl_s=100, now=lambda: seconds).keys(cells))

    expired = [(at(1000) != at(1000 + step)).mean() for step in range(0, 101, 10)]
    np.testing.assert_allclose(expired, np.arange(0, 1.01, 0.1), atol=0.05)
